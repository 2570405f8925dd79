"""ClickHouse's HTTP interface: queries, inserts, /ping, metrics and health."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from sql.server import http_coding, http_output, http_request
from sql.server.auth import check_password
from sql.server.engine import Engine, EngineSession, Result, may_read
from sql.server.errors import (
    NOT_IMPLEMENTED,
    READONLY,
    SYNTAX_ERROR,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    UNKNOWN_EXCEPTION,
    ServerError,
)
from sql.server.external import ExternalTable, external_tables, fill, input_table, of_types
from sql.server.http_body import Body
from sql.server.http_form import Form, is_form, read_form
from sql.server.http_health import add_health_routes, say_ok
from sql.server.http_request import HttpQuery
from sql.server.http_sessions import HttpSessions
from sql.server.metrics import Metrics
from sql.server.spool import Spool
from sql.server.statement import VALUES, Answer, Insert, Statement, parse
from sql.server.web_gate import WebGate

log = logging.getLogger(__name__)

_HEAD_BYTES = 1 << 16
_HOLD_BYTES = 1 << 20
_HOLD_ALL_BYTES = 1 << 26
_QUEUE_S = 30.0
_LONG_SQL = 32_768
_READING = frozenset({Answer.ROWS, Answer.TABLE})
_BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")


@dataclass(slots=True)
class Work:
    """A checked statement and, for an INSERT, the spool with its data."""

    statement: Statement
    spool: Spool | None = None
    tables: list[ExternalTable] = field(default_factory=list)


class HttpInterface:
    """The aiohttp application of one engine."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._limits = engine.config.limits
        self._sessions = HttpSessions(engine)
        self._gate = WebGate(engine.config)
        self._slots = asyncio.Semaphore(self._limits.http_queries)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/ping", say_ok)
        app.router.add_get("/replicas_status", say_ok)
        add_health_routes(app, self._engine, self._metrics)
        app.router.add_route("*", "/", self._query)
        app.router.add_route("*", "/{path:.*}", _not_found)
        return app

    async def close(self) -> None:
        """Close the sessions."""
        await self._sessions.close()

    async def _query(self, request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            refused = self._gate.preflight_refusal(request.headers)
            headers = self._gate.cors_headers(request.headers, preflight=True)
            if refused is None:
                return web.Response(status=204, headers=headers)
        else:
            refused = self._gate.refusal(request.headers)
        if refused is not None:
            self._metrics.errors.labels("http", "403").inc()
            return web.Response(status=403, text=f"Refused: {refused}.\n")
        query_id = request.query.get("query_id", "")[:200] or str(uuid.uuid4())
        try:
            with self._metrics.query("http"):
                return await self._answer(request, query_id)
        except ServerError as error:
            self._metrics.errors.labels("http", str(error.code)).inc()
            return self._failure(request, error, query_id)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("HTTP request failed")
            return self._failure(
                request, ServerError(UNKNOWN_EXCEPTION, "Internal error of the server"), query_id
            )

    async def _answer(self, request: web.Request, query_id: str) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD", "POST"):
            raise ServerError(SYNTAX_ERROR, f"Method {request.method[:20]} is not supported")
        by_form = request.method == "POST" and is_form(request.headers)
        user = self._engine.config.user
        query = http_request.read(request.query, request.headers, user, by_form)
        check_password(self._engine.config, query.user, query.password)
        if not by_form:
            body = Body(request, query, self._limits.frame_bytes, self._limits.receive_s)
            work = await self._read(query, body.parts())
            return await self._work(request, query, query_id, work)
        form = await read_form(request, self._limits, self._engine.budget)
        try:
            arguments = form.arguments(request.query)
            query = http_request.read(arguments, request.headers, user, form=True)
            tables = _tables(form, arguments)
            work = await self._read(query, _nothing())
            if work is not None:
                work.tables = tables
            return await self._work(request, query, query_id, work)
        finally:
            form.close()

    async def _work(
        self, request: web.Request, query: HttpQuery, query_id: str, work: Work | None
    ) -> web.StreamResponse:
        if work is None:
            headers = self._gate.cors_headers(request.headers)
            return web.Response(body=b"Ok.\n", content_type="text/html", headers=headers)
        try:
            if request.method != "POST" and not may_read(work.statement):
                raise ServerError(
                    READONLY, "Cannot execute query in readonly mode: use POST. (READONLY)"
                )
            async with self._slot():
                use = self._sessions.use(query.session_id, query.session_s, query.database)
                async with use as session:
                    await session.configure(query.settings, work.statement)
                    async with external_tables(self._engine, session, work.tables):
                        return await self._run(request, query, query_id, session, work)
        finally:
            if work.spool is not None:
                work.spool.close()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the places for running queries; a wait for it that is too long is an error."""
        try:
            async with asyncio.timeout(_QUEUE_S):
                await self._slots.acquire()
        except TimeoutError:
            raise ServerError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                "Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)",
            ) from None
        try:
            yield
        finally:
            self._slots.release()

    # --- reading

    async def _read(self, query: HttpQuery, parts: AsyncIterator[bytes]) -> Work | None:
        """Find the statement and its data in URL and body; None if there is no statement.

        An INSERT's statement may end anywhere in the body, with data of any format behind it.
        """
        head = query.query.encode("utf-8", "surrogateescape")
        if head.strip():
            statement = await self._parse(head)
            if statement.insert is not None and statement.insert.format != VALUES:
                return await self._with_data(statement, head, parts)
            head += b"\n"
        tried = False
        async for part in parts:
            head += part
            if len(head) > self._limits.query_bytes:
                raise ServerError(SYNTAX_ERROR, "Max query size exceeded (SYNTAX_ERROR)")
            if len(head) >= _HEAD_BYTES and not tried:
                tried = True
                insert = _try_insert(head)
                if insert is not None:
                    self._engine.policy.check(insert)
                    return await self._with_data(insert, head, parts)
        if not head.strip():
            return None
        statement = await self._parse(head)
        if statement.insert is None:
            return Work(statement)
        return await self._with_data(statement, head, parts)

    async def _parse(self, head: bytes) -> Statement:
        def work() -> Statement:
            statement = parse(head.decode("utf-8", "surrogateescape"))
            self._engine.policy.check(statement)
            return statement

        return await asyncio.to_thread(work) if len(head) > _LONG_SQL else work()

    async def _with_data(
        self, statement: Statement, head: bytes, parts: AsyncIterator[bytes]
    ) -> Work:
        assert statement.insert is not None
        spool = Spool(self._engine.budget, self._limits.insert_bytes)
        try:
            sql = statement.sql[: statement.insert.data_at]
            start = len(sql.encode("utf-8", "surrogateescape"))
            blank = _BEFORE_DATA.match(head, start)
            spool.write(head[blank.end() if blank is not None else start :])
            async for part in parts:
                spool.write(part)
        except BaseException:
            spool.close()
            raise
        return Work(statement, spool)

    # --- answering

    async def _run(
        self,
        request: web.Request,
        query: HttpQuery,
        query_id: str,
        session: EngineSession,
        work: Work,
    ) -> web.StreamResponse:
        statement = work.statement
        if statement.insert is not None and work.spool is not None:
            insert = statement.insert
            if insert.input is not None:
                result = await self._insert_input(session, insert, query, work.spool)
            else:
                result = await self._insert(session, insert, work.spool)
        elif statement.answer in _READING and statement.first != "KILL":
            return await self._stream(request, query, query_id, session, statement)
        else:
            result = await session.execute(
                statement.sql, query.default_format, parameters=query.parameters
            )
        headers = self._headers(request, query_id, query.default_format, result)
        return web.Response(body=result.data, headers=headers)

    async def _insert(self, session: EngineSession, insert: Insert, spool: Spool) -> Result:
        """Write the data; once it has arrived whole, a client's leaving no longer stops it."""
        if not spool.size:
            return Result(b"")
        writing = asyncio.ensure_future(session.insert(insert, spool))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait((writing,))
            raise

    async def _insert_input(
        self, session: EngineSession, insert: Insert, query: HttpQuery, spool: Spool
    ) -> Result:
        """INSERT SELECT from input(…): the body is the input, in the format that is named."""
        form = insert.format or query.asked_format
        if not form:
            raise ServerError(
                NOT_IMPLEMENTED,
                "input() without a format: name it by FORMAT or X-ClickHouse-Format. "
                "(NOT_IMPLEMENTED)",
            )
        async with input_table(self._engine, session, insert) as (name, sql):
            await fill(session, name, form, spool)
            return await session.execute(sql, parameters=query.parameters)

    async def _stream(
        self,
        request: web.Request,
        query: HttpQuery,
        query_id: str,
        session: EngineSession,
        statement: Statement,
    ) -> web.StreamResponse:
        form = statement.format or query.default_format
        encoder = http_coding.encoder(query.accept, query.compress)
        hold = _HOLD_ALL_BYTES if query.wait_end else _HOLD_BYTES
        async with http_output.streamed(session, statement, form, query.parameters) as output:
            # As long as nothing was sent, a failure can still be told by the status.
            held: list[bytes] = []
            size = 0
            while size < hold and (data := await output.read()):
                held.append(data)
                size += len(data)
            whole = size < hold
            result = await output.result() if whole else Result(b"")
            headers = self._headers(request, query_id, form, result)
            if encoder.name:
                headers["Content-Encoding"] = encoder.name
            start = b"".join(held)
            if whole and form in http_output.JSON_FORMATS:
                start = http_output.json_in_order(start)
            first = encoder.pack(start)
            held.clear()
            if whole:
                return web.Response(body=first + encoder.finish(), headers=headers)
            tag = secrets.token_hex(8)
            headers["X-ClickHouse-Exception-Tag"] = tag
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            await response.write(first)
            while data := await output.read():
                await response.write(encoder.pack(data))
            try:
                await output.result()
            except ServerError as error:
                # Too late for a status: say it in the body, as ClickHouse does, and break off.
                self._metrics.errors.labels("http", str(error.code)).inc()
                late = http_output.late_error(error, tag)
                await response.write(encoder.pack(late) + encoder.finish())
                if request.transport is not None:
                    request.transport.close()
                return response
            await response.write(encoder.finish())
            await response.write_eof()
            return response

    def _headers(
        self, request: web.Request, query_id: str, form: str, result: Result
    ) -> dict[str, str]:
        summary = {
            "read_rows": str(result.read_rows),
            "read_bytes": str(result.read_bytes),
            "written_rows": str(result.written_rows),
        }
        return {
            "Content-Type": http_request.content_type(form),
            "X-ClickHouse-Server-Display-Name": "ringlog",
            "X-ClickHouse-Query-Id": _header_safe(query_id),
            "X-ClickHouse-Format": form,
            "X-ClickHouse-Timezone": self._engine.time_zone,
            "X-ClickHouse-Summary": json.dumps(summary),
        } | self._gate.cors_headers(request.headers)

    def _failure(self, request: web.Request, error: ServerError, query_id: str) -> web.Response:
        return web.Response(
            status=http_request.status_of(error.code),
            body=f"{error}\n".encode("utf-8", "replace"),
            headers={
                "Content-Type": "text/plain; charset=UTF-8",
                "X-ClickHouse-Server-Display-Name": "ringlog",
                "X-ClickHouse-Query-Id": _header_safe(query_id),
                "X-ClickHouse-Exception-Code": str(error.code),
            }
            | self._gate.cors_headers(request.headers),
        )


async def _not_found(request: web.Request) -> web.Response:
    return web.Response(
        status=404, text="There is no handle for this path. Send queries to / and see /ping.\n"
    )


def _try_insert(head: bytes) -> Statement | None:
    """The INSERT in front of a body that goes on, or None if it cannot be told yet."""
    try:
        statement = parse(head.decode("utf-8", "surrogateescape"))
    except ServerError:
        return None
    good = statement.insert is not None and statement.insert.format != VALUES
    return statement if good else None


def _tables(form: Form, arguments: Mapping[str, str]) -> list[ExternalTable]:
    """The form's files, with what the arguments say of each."""
    out: list[ExternalTable] = []
    for name, spool in form.files.items():
        structure = arguments.get(f"{name}_structure") or of_types(
            arguments.get(f"{name}_types", "")
        )
        kind = http_request.format_name(arguments.get(f"{name}_format") or "TabSeparated")
        out.append(ExternalTable(name, structure, kind, spool))
    return out


async def _nothing() -> AsyncIterator[bytes]:
    """The body behind a form: there is none."""
    return
    yield b""


def _header_safe(value: str) -> str:
    return "".join(char for char in value if char.isprintable() and char.isascii())
