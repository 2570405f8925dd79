"""Tables that come along with one query: external tables, and the data of input(…).

Each is a temporary table of the session that runs the query. It is dropped when the query is over.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sql.server.engine import Engine, EngineSession, quote_name
from sql.server.errors import BAD_ARGUMENTS, NOT_IMPLEMENTED, ServerError
from sql.server.policy import check_input_format
from sql.server.spool import Spool
from sql.server.statement import Insert, parse

MAX_TABLES = 64
_NAME_CHARACTERS = 200


@dataclass(slots=True)
class ExternalTable:
    """A table's name, its columns as SQL (``id UInt32, s String``), and its data in a format."""

    name: str
    structure: str
    format: str
    spool: Spool


def creation(engine: Engine, name: str, structure: str) -> str:
    """The checked statement that makes the table.

    ``structure`` comes from the client. Raises ServerError when it is more than a list of columns,
    or when the policy refuses it.
    """
    if not name or len(name) > _NAME_CHARACTERS:
        raise ServerError(BAD_ARGUMENTS, "An external table needs a name. (BAD_ARGUMENTS)")
    if not structure.strip():
        raise ServerError(
            BAD_ARGUMENTS,
            f"Neither {name}_structure nor {name}_types was given for the external table {name}. "
            "(BAD_ARGUMENTS)",
        )
    statement = parse(f"CREATE TEMPORARY TABLE {quote_name(name)} ({structure}) ENGINE = Memory")
    engine.policy.check(statement)
    return statement.sql


def of_types(types: str) -> str:
    """Columns ``_1``, ``_2``, … of a list of types, as ClickHouse names them."""
    out: list[str] = []
    depth = start = 0
    quoted = False
    for at, char in enumerate(types + ","):
        quoted ^= char == "'"
        depth += 0 if quoted else (char in "([") - (char in ")]")
        if char == "," and not depth and not quoted:
            out.append(types[start:at].strip())
            start = at + 1
    return ", ".join(f"_{number} {kind}" for number, kind in enumerate(out, 1) if kind)


async def fill(session: EngineSession, name: str, form: str, spool: Spool) -> None:
    """Write a spool's data into the table. Raises ServerError if the data are not of the format."""
    check_data_format(form)
    if spool.size:
        await session.insert(into(name, form), spool)


def into(name: str, form: str, data_at: int = 0) -> Insert:
    """An INSERT of data in a format into a whole table."""
    table = quote_name(name)
    return Insert(f"INSERT INTO {table}", table, None, None, "", form, data_at)


def check_data_format(form: str) -> None:
    """Raise ServerError for a format that must not be read apart from its statement.

    Values are expressions, which the policy has to see first.
    """
    check_input_format(form)
    if form.lower() == "values":
        raise ServerError(
            NOT_IMPLEMENTED,
            "Format Values cannot be read for an external table or input(). (NOT_IMPLEMENTED)",
        )


@asynccontextmanager
async def temporary(session: EngineSession, sql: str, name: str) -> AsyncIterator[None]:
    """Make one table and drop it at the end."""
    await session.execute(sql)
    try:
        yield
    finally:
        await session.execute(f"DROP TEMPORARY TABLE IF EXISTS {quote_name(name)}")


@asynccontextmanager
async def external_tables(
    engine: Engine, session: EngineSession, tables: Sequence[ExternalTable]
) -> AsyncIterator[None]:
    """Make and fill the tables. Raises ServerError, also when a name is already taken."""
    async with AsyncExitStack() as stack:
        for table in tables:
            sql = creation(engine, table.name, table.structure)
            await stack.enter_async_context(temporary(session, sql, table.name))
            await fill(session, table.name, table.format, table.spool)
        yield


@asynccontextmanager
async def input_table(
    engine: Engine, session: EngineSession, insert: Insert
) -> AsyncIterator[tuple[str, str]]:
    """A table in the place of ``input(…)``: its name, and the statement that reads from it."""
    call = insert.input
    assert call is not None
    name = f"_input_{uuid.uuid4().hex}"
    async with temporary(session, creation(engine, name, call.structure), name):
        yield name, insert.head[: call.start] + quote_name(name) + insert.head[call.end :]
