"""One native TCP connection: hello, the packet loop, and reading ahead while a query runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sql.server.auth import check_password
from sql.server.engine import Engine, EngineSession
from sql.server.errors import (
    ABORTED,
    NOT_IMPLEMENTED,
    SOCKET_TIMEOUT,
    UNEXPECTED_PACKET_FROM_CLIENT,
    UNKNOWN_EXCEPTION,
    UNKNOWN_PACKET_FROM_CLIENT,
    CancelledByClient,
    ProtocolError,
    ServerError,
)
from sql.server.metrics import Metrics
from sql.server.native_query import NativeQuery
from sql.server.protocol import packets
from sql.server.protocol.blocks import BlockLimits, BlockShape, block, block_info
from sql.server.protocol.compression import frame
from sql.server.protocol.wire import NEED, Buffer, Parse, text, varint

T = TypeVar("T")

log = logging.getLogger(__name__)

_READ_BYTES = 1 << 18
_DRAIN_BYTES = 64 << 20
_DRAIN_S = 2.0
_TABLE_NAME_BYTES = 4_096


class Disconnected(Exception):
    """The client has gone."""


class NativeConnection:
    """Serves one client. ``serve()`` returns when the connection is over; it never raises."""

    def __init__(
        self,
        engine: Engine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        metrics: Metrics,
    ) -> None:
        self.engine = engine
        self.limits = engine.config.limits
        self.metrics = metrics
        self.revision = packets.REVISION
        self.compressed = False
        self._reader = reader
        self._writer = writer
        self._buffer = Buffer()
        self._answering = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="native")
        self.session = EngineSession(engine, self._executor)

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

    async def _query(self) -> None:
        context = packets.QueryContext(
            self.revision,
            self.limits.query_bytes,
            self.limits.settings,
            self.engine.numeric_settings,
        )
        query = await self.read(lambda buffer: packets.query(buffer, context))
        self.compressed = query.compressed
        # External tables, ended by an empty block: the client sends at least that one.
        external = False
        while (await self._expect_block()).columns:
            external = True
            self._buffer.compact()
        with self.metrics.query("native"):
            try:
                if external:
                    raise ServerError(NOT_IMPLEMENTED, "External tables are not supported")
                await NativeQuery(self, query).run()
            except ProtocolError:
                raise
            except ServerError as error:
                self.metrics.errors.labels("native", str(error.code)).inc()
                self.write(packets.exception(error))

    async def _expect_block(self) -> BlockShape:
        packet = await self.read(varint)
        if packet != packets.CLIENT_DATA:
            raise ProtocolError(
                UNEXPECTED_PACKET_FROM_CLIENT, f"Unexpected packet {packet}: expected Data"
            )
        return (await self.read_block())[0]

    # --- what a running query uses

    async def read_block(self) -> tuple[BlockShape, memoryview]:
        """Read a Data packet behind its number: its shape and its Native bytes.

        The bytes are valid until the next read; release the view before that.
        """
        await self.read(lambda buffer: text(buffer, _TABLE_NAME_BYTES))
        limits = BlockLimits(self.limits.block_bytes, self.limits.block_columns)
        if not self.compressed:
            shape = await self.read(lambda buffer: _block(buffer, limits))
            return shape, memoryview(self._buffer.data)[shape.start : shape.end]
        inner = Buffer()
        size = self.limits.frame_bytes
        shape = await self.read(lambda buffer: _framed_block(buffer, inner, limits, size))
        return shape, memoryview(inner.data)[shape.start : shape.end]

    def compact(self) -> None:
        """Forget what has been read."""
        self._buffer.compact()

    async def read(self, parser: Callable[[Buffer], Parse[T]], timeout_s: float | None = None) -> T:
        """Run a parser over what arrives.

        Raises Disconnected, ProtocolError, or ServerError (SOCKET_TIMEOUT) when nothing arrives.
        """
        running = parser(self._buffer)
        while True:
            try:
                signal = next(running)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if signal is NEED:
                await self._more(timeout_s or self.limits.receive_s)
            else:
                await asyncio.sleep(0)

    async def _more(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                received = await self._reader.read(_READ_BYTES)
        except TimeoutError:
            raise ProtocolError(SOCKET_TIMEOUT, "Timeout exceeded while reading") from None
        if not received:
            raise Disconnected
        self._buffer.feed(received)

    def write(self, data: bytes) -> None:
        """Queue bytes for the client."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken most of what is queued."""
        await self._writer.drain()

    async def cancellable(self, work: Awaitable[T]) -> T:
        """Await ``work`` while reading ahead: Cancel or a disconnect ends it.

        Raises CancelledByClient or Disconnected.
        """
        task = asyncio.ensure_future(work)
        watch = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            gone = watch.result()
            if gone is None:  # the next packet is no matter of this query
                return await task
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.exception()
            raise gone
        finally:
            for left in (task, watch):
                if not left.done():
                    left.cancel()
                    await asyncio.wait((left,))

    async def _watch(self) -> Exception | None:
        """Wait for what ends a running query; None when another packet comes, left unread."""
        while True:
            try:
                if not len(self._buffer):
                    await self._more(self.limits.idle_s)
            except (Disconnected, ConnectionError):
                return Disconnected()
            except ProtocolError:
                continue  # silence is fine while a query runs
            packet = self._buffer.data[self._buffer.pos]
            if packet == packets.CLIENT_CANCEL:
                self._buffer.pos += 1
                return CancelledByClient()
            if packet != packets.CLIENT_PING:
                return None
            self._buffer.pos += 1
            self.write(packets.pong())

    # --- the end

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
                while left > 0 and (received := await self._reader.read(_READ_BYTES)):
                    left -= len(received)
        except (TimeoutError, OSError, asyncio.CancelledError):
            pass

    async def _close(self) -> None:
        self._writer.close()
        try:
            await self.session.close()
        finally:
            self._executor.shutdown(wait=False)


def _block(buffer: Buffer, limits: BlockLimits) -> Parse[BlockShape]:
    yield from block_info(buffer)
    return (yield from block(buffer, limits))


def _framed_block(
    outer: Buffer, inner: Buffer, limits: BlockLimits, frame_bytes: int
) -> Parse[BlockShape]:
    """A block inside compressed frames: frames are added to ``inner`` until it is complete."""
    running = _block(inner, limits)
    while True:
        try:
            signal = next(running)
        except StopIteration as stop:
            shape: BlockShape = stop.value
            return shape
        if signal is NEED:
            inner.feed((yield from frame(outer, frame_bytes)))
            outer.compact()
        else:
            yield signal
