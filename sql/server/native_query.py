"""One query over the native protocol: run it and send its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing

from sql.server import native_totals
from sql.server.engine import Chunk, EngineSession, quote_string
from sql.server.errors import (
    LOGICAL_ERROR,
    UNEXPECTED_PACKET_FROM_CLIENT,
    UNKNOWN_SETTING,
    CancelledByClient,
    ProtocolError,
    ServerError,
)
from sql.server.external import ExternalTable, external_tables, input_table, into
from sql.server.native_link import NativeLink
from sql.server.protocol import packets
from sql.server.protocol.blocks import Column, first_columns, header, marked, split
from sql.server.protocol.quoted import unquoted
from sql.server.protocol.wire import Buffer, parse_all, varint
from sql.server.protocol.zones import lacks_zones, with_zones, zoned
from sql.server.spool import Spool
from sql.server.statement import Answer, Insert, Statement, parse

_PLAIN_TYPES = "SETTINGS print_pretty_type_names = 0"
_LONG_SQL = 32_768
_KEEP_ALIVE_S = 1.0
_TOKEN_SETTING = "insert_deduplication_token"
_NOT_INSERTABLE = frozenset({"MATERIALIZED", "ALIAS"})


class NativeQuery:
    """Runs one query for a connection. ``run()`` raises ServerError for the client to see."""

    def __init__(
        self,
        connection: NativeLink,
        query: packets.Query,
        tables: Sequence[ExternalTable] = (),
    ) -> None:
        self._tables = tables
        self._link = connection
        self._query = query
        self._session = connection.session
        self._parameters: dict[str, str] = {}
        self._settings: dict[str, str] = {}

    async def run(self) -> None:
        """Parse, check, run, answer."""
        sql = self._query.sql
        statement = (
            await asyncio.to_thread(self._read, sql) if len(sql) > _LONG_SQL else self._read(sql)
        )
        await self._configure(statement)
        async with external_tables(self._link.engine, self._session, self._tables):
            await self._answer(statement)

    async def _answer(self, statement: Statement) -> None:
        match statement.answer:
            case Answer.ROWS:
                await self._rows(statement)
            case Answer.TABLE:
                await self._table(statement)
            case Answer.NONE:
                await self._link.cancellable(
                    self._session.execute(statement.sql, parameters=self._parameters)
                )
                if statement.first == "USE":
                    await self._session.note_database()
                elif statement.first == "SET":
                    await self._session.note_extremes()
                self._link.write(packets.end_of_stream())
            case Answer.DATA:
                assert statement.insert is not None
                await self._insert(statement, statement.insert)

    def _read(self, sql: str) -> Statement:
        statement = parse(sql)
        self._link.engine.policy.check(statement)
        return statement

    async def _configure(self, statement: Statement) -> None:
        wanted: dict[str, str] = {}
        for name, value in self._query.parameters.items():
            self._parameters[name] = unquoted(value)
        for name, setting in self._query.settings.items():
            if name.startswith("param_"):
                value = setting.value
                self._parameters[name[6:]] = unquoted(value) if value[:1] == "'" else value
            elif name in self._link.engine.settings:
                wanted[name] = setting.value
            elif setting.important:
                raise ServerError(
                    UNKNOWN_SETTING, f"Unknown setting '{name[:200]}'. (UNKNOWN_SETTING)"
                )
        await self._session.configure(wanted, statement)
        self._settings = wanted

    # --- results

    async def _rows(self, statement: Statement) -> None:
        sql = statement.without_format
        special = native_totals.may_have_both(statement, self._settings) or self._session.extremes
        try:
            if special:
                await self._link.cancellable(self._whole(statement))
                return
            rows, blocks, size = await self._link.cancellable(self._stream(sql))
        except CancelledByClient:
            self._link.write(packets.end_of_stream())  # as ClickHouse answers a Cancel
            return
        if not blocks:
            self._send(header(await self._describe(sql)))
        self._link.write(packets.profile_info(rows, blocks, size))
        self._link.write(packets.end_of_stream())

    async def _whole(self, statement: Statement) -> None:
        """A result with totals or extremes, in ClickHouse's order of packets."""
        await self._session.configure(native_totals.settings(statement, self._settings))
        sql, budget = statement.without_format, self._link.engine.budget
        result = await native_totals.read_whole(self._session, budget, sql, self._parameters)
        self._send(header(result.columns))
        for native in result.data:
            self._send(native)
            await self._link.drain()
        if result.totals is not None:
            self._send(result.totals, packets.SERVER_TOTALS)
        if result.extremes is not None:
            self._send(result.extremes, packets.SERVER_EXTREMES)
        size = sum(len(native) for native in result.data)
        self._link.write(packets.profile_info(result.rows, len(result.data), size))
        self._link.write(packets.end_of_stream())

    async def _stream(self, sql: str) -> tuple[int, int, int]:
        rows = blocks = size = 0
        async with aclosing(self._session.stream(sql, self._parameters)) as chunks:
            pending = asyncio.ensure_future(anext(chunks, None))
            try:
                while True:
                    while not pending.done():
                        await asyncio.wait((pending,), timeout=_KEEP_ALIVE_S)
                        if not pending.done():
                            # Clients give up on a silent server.
                            self._link.write(packets.progress(self._link.revision, 0, 0))
                            await self._link.drain()
                    chunk = pending.result()
                    if chunk is None:
                        return rows, blocks, size
                    if not blocks:
                        columns, zones = await self._columns(sql, chunk)
                        self._send(header(columns))
                    native = _one_block(chunk)
                    if self._link.marked:
                        types = columns if zones else None
                        native = await asyncio.to_thread(marked, native, types)
                    elif zones:
                        native = await asyncio.to_thread(with_zones, native, columns)
                    self._link.write(packets.data(native, self._link.compressed))
                    self._link.write(
                        packets.progress(self._link.revision, chunk.rows, len(chunk.native))
                    )
                    await self._link.drain()
                    rows += chunk.rows
                    size += len(chunk.native)
                    blocks += 1
                    pending = asyncio.ensure_future(anext(chunks, None))
            finally:
                if not pending.done():
                    pending.cancel()
                    await asyncio.wait((pending,))

    async def _columns(self, sql: str, chunk: Chunk) -> tuple[tuple[Column, ...], bool]:
        """A result's columns, and whether blocks need the zones of their DateTime columns.

        They are read from the first block: DESCRIBE would run scalar subqueries a second time, so
        it is asked only where a zone may be missing.
        """
        columns = await asyncio.to_thread(first_columns, chunk.native)
        if not lacks_zones(columns):
            return columns, False
        try:
            described = await self._describe(sql, await self._session.beside())
        except ServerError:
            return columns, False  # of a temporary table, which only its own session sees
        full = zoned(columns, described)
        return (columns, False) if full is None else (full, True)

    async def _describe(self, sql: str, session: EngineSession | None = None) -> list[Column]:
        asked = session or self._session
        try:
            result = await asked.execute(
                f"DESCRIBE TABLE ({sql}\n) {_PLAIN_TYPES}", "JSONCompact", self._parameters
            )
        finally:
            if session is not None:
                await session.close()
        return [(row[0], row[1]) for row in json.loads(result.data)["data"]]

    async def _table(self, statement: Statement) -> None:
        result = await self._link.cancellable(
            self._session.execute(statement.without_format, parameters=self._parameters)
        )
        rows = blocks = 0
        for shape, native in split(result.data):
            if not blocks:
                self._send(header(shape.columns))
            self._send(native)
            blocks += 1
            rows += shape.rows
        if not blocks and statement.first != "KILL":
            self._send(header(await self._columns_of(statement)))
        self._link.write(packets.profile_info(rows, blocks, len(result.data)))
        self._link.write(packets.end_of_stream())

    async def _columns_of(self, statement: Statement) -> list[Column]:
        """The columns of an empty SHOW or the like: only a written file tells them."""
        spool = Spool(self._link.engine.budget, self._link.limits.insert_bytes)
        try:
            path = quote_string(spool.path)
            await self._session.execute(
                f"{statement.without_format} INTO OUTFILE {path} APPEND FORMAT JSONCompact",
                parameters=self._parameters,
            )
            meta = json.loads(spool.read())["meta"]
        finally:
            spool.close()
        return [(column["name"], column["type"]) for column in meta]

    # --- INSERT

    async def _insert(self, statement: Statement, insert: Insert) -> None:
        if insert.input is not None:
            async with input_table(self._link.engine, self._session, insert) as (name, sql):
                await self._receive(statement, into(name, insert.format, insert.data_at))
                await self._link.cancellable(
                    self._session.execute(sql, parameters=self._parameters)
                )
        else:
            await self._receive(statement, insert)
        self._link.write(packets.end_of_stream())

    async def _receive(self, statement: Statement, insert: Insert) -> None:
        """Write the data that stand behind the statement or come in blocks."""
        spool = Spool(self._link.engine.budget, self._link.limits.insert_bytes)
        try:
            inline = statement.sql[insert.data_at :].strip()
            if inline.strip(";"):
                spool.write(inline.encode("utf-8", "surrogateescape"))
                await self._session.insert(insert, spool)
            else:
                self._send(header(await self._insert_columns(insert)))
                await self._link.drain()
                await self._collect(insert, spool)
        finally:
            spool.close()

    async def _insert_columns(self, insert: Insert) -> list[Column]:
        if insert.columns is not None and insert.names is None:
            # * EXCEPT (…) and the like: let the engine work it out.
            return await self._describe(f"SELECT {insert.columns} FROM {insert.table}")
        result = await self._session.execute(
            f"DESCRIBE TABLE {insert.table} {_PLAIN_TYPES}", "JSONCompact"
        )
        table = [(row[0], row[1], row[2]) for row in json.loads(result.data)["data"]]
        if insert.names is None:
            excluded = _NOT_INSERTABLE | {"EPHEMERAL"}
            return [(name, kind) for name, kind, default in table if default not in excluded]
        known = {name: kind for name, kind, default in table if default not in _NOT_INSERTABLE}
        if all(name in known for name in insert.names):
            return [(name, known[name]) for name in insert.names]
        return await self._describe(f"SELECT {insert.columns} FROM {insert.table}")

    async def _collect(self, insert: Insert, spool: Spool) -> None:
        """Take the client's blocks and write them; the stream stays in step on a failure.

        A very large INSERT is written in pieces, as ClickHouse does block by block, but never when
        a deduplication token makes it one.
        """
        whole = _TOKEN_SETTING in self._query.settings or _TOKEN_SETTING in insert.settings
        flush_at = self._link.limits.insert_bytes if whole else self._link.limits.insert_flush_bytes
        failed: ServerError | None = None
        while True:
            packet = await self._link.read(varint)
            if packet == packets.CLIENT_CANCEL:
                raise CancelledByClient()
            if packet == packets.CLIENT_PING:
                self._link.write(packets.pong())
                await self._link.drain()
                continue
            if packet != packets.CLIENT_DATA:
                raise ProtocolError(
                    UNEXPECTED_PACKET_FROM_CLIENT, f"Unexpected packet {packet} during INSERT"
                )
            shape, native = await self._link.read_block()
            self._block_received()
            try:
                if not shape.columns:
                    break
                if shape.rows and failed is None:
                    spool.write(native)
            except ServerError as error:
                failed = error  # the rest is read and thrown away
            finally:
                native.release()
                self._link.compact()
            await self._link.drain()
            if spool.size >= flush_at and failed is None and not whole:
                try:
                    await self._session.insert(insert, spool, "Native")
                    spool.clear()
                except ServerError as error:
                    failed = error
        if failed is not None:
            raise failed
        if spool.size:
            await self._session.insert(insert, spool, "Native")

    def _send(self, native: bytes, packet: int = packets.SERVER_DATA) -> None:
        out = marked(native) if self._link.marked else native
        self._link.write(packets.data(out, self._link.compressed, packet))

    def _block_received(self) -> None:
        """Newer clients wait for an answer to each block of an INSERT."""
        if self._link.revision >= packets.WITH_PROFILE_EVENTS_IN_INSERT:
            self._link.write(packets.no_profile_events())


def _one_block(chunk: Chunk) -> bytes:
    buffer = Buffer(chunk.native[:20])
    parse_all(varint(buffer))
    if parse_all(varint(buffer)) != chunk.rows:
        raise ServerError(LOGICAL_ERROR, "The engine's chunk is not one block. (LOGICAL_ERROR)")
    return chunk.native
