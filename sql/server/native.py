"""One native TCP connection: hello, the packet loop, and reading ahead while a query runs."""

from __future__ import annotations

import asyncio
import logging

from sql.server.auth import check_password
from sql.server.engine import NATIVE, Engine, quote_name
from sql.server.errors import (
    ABORTED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    SOCKET_TIMEOUT,
    UNEXPECTED_PACKET_FROM_CLIENT,
    UNKNOWN_EXCEPTION,
    UNKNOWN_PACKET_FROM_CLIENT,
    ProtocolError,
    ServerError,
)
from sql.server.external import MAX_TABLES, ExternalTable
from sql.server.metrics import Metrics
from sql.server.native_link import READ_BYTES, Disconnected, NativeLink
from sql.server.native_query import NativeQuery
from sql.server.protocol import packets
from sql.server.protocol.blocks import BlockShape
from sql.server.protocol.wire import varint
from sql.server.spool import Spool

log = logging.getLogger(__name__)

_DRAIN_BYTES = 64 << 20
_DRAIN_S = 2.0


class NativeConnection(NativeLink):
    """Serves one client. ``serve()`` returns when the connection is over; it never raises."""

    def __init__(
        self,
        engine: Engine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        metrics: Metrics,
    ) -> None:
        super().__init__(engine, reader, writer, metrics)
        self._answering = False
        self._addendum_due = False

    async def serve(self) -> None:
        """Speak with the client until either side ends it."""
        try:
            await self._hello()
            while True:
                self._buffer.compact()
                packet = await self._next_packet()
                self._answering = True
                await self._packet(packet)
                await self._writer.drain()
                self._answering = False
        except (Disconnected, ConnectionError):
            pass
        except ServerError as error:
            await self._refuse(error)
        except asyncio.CancelledError:
            if self._answering:
                await self._refuse(ServerError(ABORTED, "The server is shutting down. (ABORTED)"))
        except Exception:
            # A fault of ours must not take the server down; the client is told and dropped.
            log.exception("native connection failed")
            await self._refuse(ServerError(UNKNOWN_EXCEPTION, "Internal error of the server"))
        finally:
            await self._close()

    async def _next_packet(self) -> int:
        """Wait for a packet's number. Raises Disconnected too when none comes for very long."""
        try:
            if self._addendum_due:  # some clients send it only with their first packet
                await self.read(packets.addendum, self.limits.idle_s)
                self._addendum_due = False
            return await self.read(varint, self.limits.idle_s)
        except ProtocolError as error:
            if error.code == SOCKET_TIMEOUT:
                raise Disconnected from None
            raise

    async def _packet(self, packet: int) -> None:
        if packet == packets.CLIENT_PING:
            self.write(packets.pong())
        elif packet == packets.CLIENT_QUERY:
            await self._query()
        elif packet == packets.CLIENT_DATA:
            await self.read_block()  # left over from a query that failed
        elif packet == packets.CLIENT_CANCEL:
            pass  # came after the query had ended
        elif packet == packets.CLIENT_TABLES_STATUS:
            raise ProtocolError(NOT_IMPLEMENTED, "Tables status requests are not supported")
        else:
            raise ProtocolError(UNKNOWN_PACKET_FROM_CLIENT, f"Unknown packet {packet} from client")

    async def _hello(self) -> None:
        config = self.engine.config
        try:
            # For all of it: a client must not hold a place by sending a byte now and then.
            async with asyncio.timeout(self.limits.handshake_s):
                hello = await self.read(packets.hello)
        except TimeoutError:
            raise Disconnected from None
        self.revision = min(hello.revision, packets.REVISION)
        check_password(config, hello.user, hello.password)
        database = hello.database
        await self.session.open(database or config.database)
        self.write(
            packets.server_hello(
                "ClickHouse", self.engine.version, self.revision, self.engine.time_zone, "ringlog"
            )
        )
        await self._writer.drain()
        self._addendum_due = self.revision >= packets.WITH_ADDENDUM

    async def _query(self) -> None:
        context = packets.QueryContext(
            self.revision,
            self.limits.query_bytes,
            self.limits.settings,
            self.engine.numeric_settings,
        )
        query = await self.read(lambda buffer: packets.query(buffer, context))
        self.compressed = query.compressed
        tables: dict[str, ExternalTable] = {}
        try:
            failed = await self._external(tables)
            with self.metrics.query("native"):
                try:
                    if failed is not None:
                        raise failed
                    await NativeQuery(self, query, tuple(tables.values())).run()
                except ProtocolError:
                    raise
                except ServerError as error:
                    self.metrics.errors.labels("native", str(error.code)).inc()
                    self.write(packets.exception(error))
        finally:
            for table in tables.values():
                table.spool.close()

    async def _external(self, tables: dict[str, ExternalTable]) -> ServerError | None:
        """Read external tables up to the empty block that always ends them.

        Returns what went wrong; the rest has then been read and thrown away.
        """
        failed: ServerError | None = None
        while True:
            packet = await self.read(varint)
            if packet != packets.CLIENT_DATA:
                raise ProtocolError(
                    UNEXPECTED_PACKET_FROM_CLIENT, f"Unexpected packet {packet}: expected Data"
                )
            name, shape, native = await self.read_named_block()
            try:
                if not shape.columns:
                    return failed
                if failed is None:
                    self._keep(tables, name, shape, native)
            except ServerError as error:
                failed = error
            finally:
                native.release()
                self._buffer.compact()

    def _keep(
        self,
        tables: dict[str, ExternalTable],
        name: str,
        shape: BlockShape,
        native: memoryview,
    ) -> None:
        if name not in tables:
            if len(tables) >= MAX_TABLES:
                raise ServerError(
                    BAD_ARGUMENTS, f"More than {MAX_TABLES} external tables. (BAD_ARGUMENTS)"
                )
            columns = ", ".join(f"{quote_name(one)} {kind}" for one, kind in shape.columns)
            spool = Spool(self.engine.budget, self.limits.insert_bytes)
            tables[name] = ExternalTable(name, columns, NATIVE, spool)
        if shape.rows:
            tables[name].spool.write(native)

    async def _refuse(self, error: ServerError) -> None:
        """Send an exception and see to it that the client can read it."""
        try:
            self.write(packets.exception(error))
            async with asyncio.timeout(_DRAIN_S):
                await self._writer.drain()
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                # Closing with unread input makes the kernel send RST, which discards our answer.
                left = _DRAIN_BYTES
                while left > 0 and (received := await self._reader.read(READ_BYTES)):
                    left -= len(received)
        except (TimeoutError, OSError, asyncio.CancelledError):
            pass

    async def _close(self) -> None:
        self._writer.close()
        try:
            await self.session.close()
        finally:
            self._executor.shutdown(wait=False)
