"""The chDB engine: one process-wide instance, sessions, and killing what runs.

Every call into chDB blocks (and releases the interpreter lock), so each session has its own thread;
never call it in the main thread, where it would delay Python's signal handlers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from chdb.session import Session

from sql.server.config import ServerConfig
from sql.server.datapath import PathInUseError, PathLock, forget_empty_default, holder_of
from sql.server.errors import (
    LOGICAL_ERROR,
    READONLY,
    UNKNOWN_DATABASE_ENGINE,
    UNKNOWN_SETTING,
    ServerError,
    from_engine,
    moved,
)
from sql.server.policy import Policy
from sql.server.spool import Spool, SpoolBudget
from sql.server.statement import Answer, Insert, Statement
from sql.server.tokenizer import Kind

T = TypeVar("T")

log = logging.getLogger(__name__)

NATIVE = "Native"
_TABS = "TabSeparatedRaw"
_KILL_AGAIN_S = 0.2
_CONTROL_TAG = "control"
_OFF = frozenset({"0", "false"})
_READONLY = "readonly"
# An INSERT is answered when it is written, whatever the client asks for.
_IGNORED_SETTINGS = frozenset({"async_insert", "wait_for_async_insert"})
# Types whose values clients below revision 54429 send as numbers.
_NUMERIC_TYPES = frozenset(
    {"Bool", "UInt64", "Int64", "UInt32", "Int32", "Seconds", "Milliseconds", "MaxThreads"}
    | {"UInt64Auto", "BoolAuto"}
)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished query: its output and what the engine counted."""

    data: bytes
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One block of a streamed result in Native format."""

    native: bytes
    rows: int


class EngineSession:
    """One chDB session in a thread of its own: USE, SET and temporary tables are its own."""

    def __init__(self, engine: Engine, executor: ThreadPoolExecutor, tag: str = "") -> None:
        self._engine = engine
        self._executor = executor
        self._session: Any = None
        self._fixed_tag = tag
        self._tag = ""
        self._database = ""
        self._applied: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._user_set = False
        self.extremes = False  # whether the user's own SET has switched them on

    async def _call(self, work: Callable[..., T], *args: object) -> T:
        """Run a call in the session's thread. Cancelling it kills the query and waits for that."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor, work, *args)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await self._kill_until(running)
            raise
        except (RuntimeError, ValueError) as error:
            raise from_engine(error) from None

    async def open(self, database: str) -> None:
        """Open the session in ``database``. Raises ServerError (UNKNOWN_DATABASE)."""
        self._session = await self._call(Session, self._engine.url)
        await self.execute(f"USE {quote_name(database)}")
        self._database = database

    async def note_database(self) -> None:
        """Learn the database after the client's own USE."""
        self._database = (await _column(self, "SELECT currentDatabase()"))[0]

    async def note_extremes(self) -> None:
        """Learn after the client's own SET whether results come with extremes."""
        sql = "SELECT toUInt8(getSetting('extremes'))"
        self.extremes = (await _column(self, sql))[0] == "1"

    async def beside(self) -> EngineSession:
        """A session like this one, to ask something while this one streams. Close it.

        A query in a session with an open stream would silently end the stream.
        """
        other = EngineSession(self._engine, self._executor)
        try:
            await other.open(self._database)
            await other.configure(self._applied)
        except BaseException:
            await other.close()
            raise
        return other

    async def configure(
        self, settings: Mapping[str, str], statement: Statement | None = None
    ) -> None:
        """Let these settings, and none of an earlier call, hold for the statement that follows.

        What the user's own SET said holds again afterwards. ``readonly`` is judged here and never
        set: a session in readonly mode could not take its settings back.

        Raises ServerError: UNKNOWN_SETTING, ACCESS_DENIED, READONLY, or what the engine says to a
        value.
        """
        self._engine.policy.check_settings(settings)
        wanted = {k: v for k, v in settings.items() if k not in _IGNORED_SETTINGS}
        for name in wanted:
            if name not in self._engine.settings:
                raise ServerError(
                    UNKNOWN_SETTING, f"Unknown setting '{name[:200]}'. (UNKNOWN_SETTING)"
                )
        if statement is not None:
            check_readonly(wanted.get(_READONLY, "0"), statement)
        wanted.pop(_READONLY, None)
        if statement is not None and statement.first == "SET":
            wanted = {}  # they would hold for the SET alone, and hide what it sets
            self._user_set = True
        await self._apply(wanted)

    async def _apply(self, wanted: dict[str, str]) -> None:
        restored = [
            f"{name} = {self._before.get(name, 'DEFAULT')}"
            for name in self._applied
            if name not in wanted
        ]
        fresh = [name for name in wanted if name not in self._applied]
        before = dict(self._before)
        if self._user_set and fresh:
            before |= await self._users_own(fresh)
        changes = restored + [
            f"{name} = {quote_string(value)}"
            for name, value in wanted.items()
            if self._applied.get(name) != value
        ]
        if changes:
            await self.execute("SET " + ", ".join(changes))
            self._applied = wanted
            self._before = {name: old for name, old in before.items() if name in wanted}

    async def _users_own(self, listed: Sequence[str]) -> dict[str, str]:
        """The values, as SQL, of those settings that the user has set."""
        quoted = ", ".join(quote_string(name) for name in listed)
        result = await self.execute(
            f"SELECT name, value FROM system.settings WHERE changed AND name IN ({quoted})",
            "JSONCompact",
        )
        return {name: quote_string(value) for name, value in json.loads(result.data)["data"]}

    def _tagged(self, sql: str) -> str:
        """The query with a comment in front by which kill() finds it."""
        self._tag = self._fixed_tag or uuid.uuid4().hex
        return f"/*{self._tag}*/{sql}"

    async def execute(
        self, sql: str, output: str = NATIVE, parameters: Mapping[str, str] | None = None
    ) -> Result:
        """Run a query and hold its whole output. Raises ServerError."""

        def run(tagged: str) -> Result:
            out = self._session.query(tagged, output, params=dict(parameters or {}) or None)
            return Result(out.bytes() or b"", out.rows_read(), out.bytes_read(), out.rows_written())

        tagged = self._tagged(sql)
        try:
            return await self._call(run, tagged)
        except ServerError as error:
            raise moved(error, len(tagged) - len(sql)) from None

    async def explain_syntax_error(self, sql: str) -> None:
        """Raise the ServerError that the engine's parser has for this very text, if any."""
        prefix = "EXPLAIN AST "
        try:
            await self.execute(prefix + sql)
        except ServerError as error:
            raise moved(error, len(prefix)) from None

    async def stream(
        self, sql: str, parameters: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Run a SELECT and yield its blocks as they come. Raises ServerError."""
        tagged = self._tagged(sql)

        def start() -> Any:
            return self._session.send_query(tagged, NATIVE, params=dict(parameters or {}) or None)

        def fetch() -> Chunk | None:
            part = result.fetch()
            return None if part is None else Chunk(part.bytes(), part.rows_read())

        done = True
        try:
            result = await self._call(start)
            done = False
            while True:
                chunk = await self._call(fetch)
                if chunk is None:
                    done = True
                    return
                yield chunk
        except ServerError as error:
            done = True
            raise moved(error, len(tagged) - len(sql)) from None
        finally:
            if not done:
                # cancel() waits behind a running fetch, so the query is killed first.
                await self._kill_until(asyncio.ensure_future(self._call(result.cancel)))

    async def insert(self, insert: Insert, spool: Spool, form: str | None = None) -> Result:
        """Write what the spool holds. Raises ServerError if any of it could not be written.

        INFILE, because chDB's own streaming insert reports success for failed writes.
        """
        sql = f"{insert.head} FROM INFILE '{spool.path}' COMPRESSION 'none' {insert.settings} "
        return await self.execute(f"{sql}FORMAT {form or insert.format}")

    async def _kill_until(self, running: asyncio.Future[Any]) -> None:
        """Kill this session's query until ``running`` ends, however it ends.

        A kill that comes before the engine has registered the query does nothing, hence the loop.
        """
        while not running.done():
            await self._engine.kill(self._tag)
            await asyncio.wait((running,), timeout=_KILL_AGAIN_S)
        if not running.cancelled():
            running.exception()  # mark it as seen

    async def close(self) -> None:
        """Close the session; its thread goes when the executor does."""
        if self._session is not None:
            session, self._session = self._session, None
            try:
                await self._call(session.close)
            except ServerError as error:
                log.warning("session did not close: %s", error)


class Engine:
    """The engine of this process on one data path."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.url = f"{config.path.resolve()}?{config.engine.as_query()}"
        self.policy = Policy()
        self.version = (0, 0, 0)
        self.time_zone = "UTC"
        self.numeric_settings: frozenset[str] = frozenset()
        self.settings: frozenset[str] = frozenset()
        self.budget = SpoolBudget(config.limits.insert_total_bytes)
        self._lock: PathLock | None = None
        self._control: EngineSession | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="engine-control")

    async def start(self) -> None:
        """Open the data path and make the databases.

        Raises PathInUseError when another process holds the path.
        """
        self._lock = PathLock(self.config.path)
        await asyncio.to_thread(forget_empty_default, self.config.path)
        control = EngineSession(self, self._executor, _CONTROL_TAG)
        try:
            await control.open("default")
        except ServerError as error:
            holder = holder_of(self.config.path)
            raise PathInUseError(
                f"The engine cannot open {self.config.path}: "
                + (f"it is held by {holder}" if holder else str(error))
            ) from error
        self._control = control
        await _close_default_database(control)
        name = quote_name(self.config.database)
        await control.execute(f"CREATE DATABASE IF NOT EXISTS {name} ENGINE = Atomic")
        await self._learn(control)

    async def _learn(self, control: EngineSession) -> None:
        """Ask the engine for what the protocol and the policy need to know of it."""
        version, zone = await _row(control, "SELECT version(), timezone()")
        parts = [int(part) for part in version.split(".")[:3]]
        self.version = (parts[0], parts[1], parts[2])
        self.time_zone = zone
        functions = await _column(control, "SELECT name FROM system.table_functions")
        self.policy = Policy.for_engine(functions)
        types = await control.execute("SELECT name, type FROM system.settings", _TABS)
        kinds = dict(line.split("\t", 1) for line in types.data.decode().splitlines())
        self.settings = frozenset(kinds)
        self.numeric_settings = frozenset(k for k, v in kinds.items() if v in _NUMERIC_TYPES)

    async def kill(self, tag: str) -> None:
        """Kill the running query that carries ``tag``, if there is one."""
        if tag:
            await self._kill(f"startsWith(query, '/*{tag}*/')")

    async def kill_all(self) -> None:
        """Kill everything that runs."""
        await self._kill(f"NOT startsWith(query, '/*{_CONTROL_TAG}*/')")

    async def _kill(self, condition: str) -> None:
        if self._control is None:
            return
        try:
            await self._control.execute(f"KILL QUERY WHERE {condition} ASYNC")
        except ServerError as error:
            log.warning("kill failed: %s", error)

    async def ping(self) -> bool:
        """Whether the engine answers."""
        if self._control is None:
            return False
        try:
            return (await self._control.execute("SELECT 1", _TABS)).data == b"1\n"
        except ServerError:
            return False

    async def close(self) -> None:
        """Close the engine and give the path back."""
        if self._control is not None:
            await self._control.close()
            self._control = None
        self._executor.shutdown(wait=False)
        if self._lock is not None:
            self._lock.close()


async def _close_default_database(control: EngineSession) -> None:
    """Put an Atomic database in the place of chDB's ``default``.

    chDB's own is an overlay in which any path of the machine is a table.
    """
    await control.execute("DETACH DATABASE default")
    try:
        await control.execute("ATTACH DATABASE default")
    except ServerError as error:
        if error.code != UNKNOWN_DATABASE_ENGINE:  # it has no definition yet
            raise
        await control.execute("CREATE DATABASE default ENGINE = Atomic")
    engines = await _column(control, "SELECT engine FROM system.databases WHERE name = 'default'")
    if engines != ["Atomic"]:
        raise ServerError(LOGICAL_ERROR, f"The default database is of engine {engines}, not Atomic")


async def _row(session: EngineSession, sql: str) -> list[str]:
    result = await session.execute(sql, _TABS)
    return result.data.decode().rstrip("\n").split("\t")


async def _column(session: EngineSession, sql: str) -> list[str]:
    result = await session.execute(sql, _TABS)
    return result.data.decode().splitlines()


def extremes_on(statement: Statement) -> bool:
    """Whether a SETTINGS clause of the statement, also of a subquery, switches extremes on.

    A column of that name does not count. What follows the clause may, which costs no more than a
    detour.
    """
    depth, clause_depth = 0, -1
    words = statement.tokens
    for at, token in enumerate(words):
        depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
        if depth < clause_depth:
            clause_depth = -1
        before = words[at - 1] if at else token
        if token.upper == "SETTINGS":
            clause_depth = depth
        elif (
            depth == clause_depth
            and token.is_name
            and token.text.lower() == "extremes"
            and (before.upper == "SETTINGS" or before.kind is Kind.COMMA)
        ):
            value = words[at + 1 : at + 3]
            off = len(value) == 2 and value[0].text == "=" and value[1].text.lower() in _OFF
            if not off:
                return True
    return False


def may_read(statement: Statement) -> bool:
    """Whether the statement only reads, or only changes the session."""
    reading = statement.answer in (Answer.ROWS, Answer.TABLE) and statement.first != "KILL"
    return reading or statement.first in ("SET", "USE")


def check_readonly(level: str, statement: Statement) -> None:
    """Raise ServerError (READONLY) for what ``readonly`` of 1 or 2 forbids; 1 also forbids SET."""
    if level.strip().lower() in ("", "0", "false"):
        return
    strict = level.strip().lower() in ("1", "true")
    words = statement.tokens
    clause = any(
        a.upper == "SETTINGS" and c.text == "="
        for a, _, c in zip(words, words[1:], words[2:], strict=False)
    )
    sets = statement.first == "SET" or clause
    if not may_read(statement) or (strict and sets):
        raise ServerError(READONLY, "Cannot execute query in readonly mode. (READONLY)")


def quote_name(name: str) -> str:
    """An identifier in back quotes."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def quote_string(value: str) -> str:
    """A string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
