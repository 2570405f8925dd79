"""Which tables and columns are captured: those that are mapped and there, with their keys.

A table goes into PostgreSQL's publication only if its rows can be told apart there: otherwise
PostgreSQL would refuse the CRM's own updates of it (PostgreSQL documentation, "Publication").
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import jpype

from ringlog.crm.addresses import database_url, is_mysql
from ringlog.crm.mapping import Mapping
from ringlog.settings import Settings

_POSTGRES = """
    select n.nspname, c.relname, a.attname,
           c.relreplident in ('f', 'i') or (c.relreplident = 'd' and i.indexrelid is not null)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    left join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
    where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
"""
_MYSQL = """
    select t.table_schema, t.table_name, k.column_name, true
    from information_schema.tables t left join information_schema.key_column_usage k
        on k.table_schema = t.table_schema and k.table_name = t.table_name
        and k.constraint_name = 'PRIMARY'
    where t.table_schema = database() and t.table_type = 'BASE TABLE'
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the database. `schema` is the database's name at a MySQL."""

    schema: str
    name: str
    key: tuple[str, ...] = ()
    is_safe: bool = True
    """Whether capturing it harms no writer."""


class NoTables(RuntimeError):
    """There is nothing to capture; the text says what is missing."""


def found(config: Settings) -> list[Table]:
    """All tables of the database; Java runs. Raises jpype.JException. Blocks."""
    url = urlsplit(database_url(config))
    kind, port = ("mysql", 3306) if is_mysql(config) else ("postgresql", 5432)
    login = jpype.JClass("java.util.Properties")()
    login.setProperty("user", unquote(url.username or ""))
    login.setProperty("password", unquote(url.password or ""))
    query = f"?{url.query}" if url.query else ""
    address = f"jdbc:{kind}://{url.hostname}:{url.port or port}{url.path}{query}"
    connection = jpype.JClass("java.sql.DriverManager").getConnection(address, login)
    try:
        rows = connection.createStatement().executeQuery(_MYSQL if kind == "mysql" else _POSTGRES)
        tables: dict[tuple[str, str], Table] = {}
        while rows.next():
            schema, name, column = (str(rows.getString(n)) for n in (1, 2, 3))
            before = tables.get((schema, name))
            key = (*(before.key if before else ()), *((column,) if rows.getString(3) else ()))
            tables[schema, name] = Table(schema, name, key, bool(rows.getBoolean(4)))
        return list(tables.values())
    finally:
        connection.close()


def choice(mapping: Mapping, tables: Iterable[Table]) -> tuple[dict[str, str], list[str]]:
    """Debezium's lists of tables and columns, and what is wrong with other mapped tables. Raises
    NoTables."""
    wanted = [(t, fields) for t in tables if (fields := mapping.table(t.schema, t.name))]
    complaints = [
        f"table {t.schema}.{t.name} has no primary key: say `alter table {t.schema}.{t.name} "
        "replica identity full`"
        for t, _ in wanted if not t.is_safe
    ]  # fmt: skip
    names = {name for t, _ in wanted for name in (t.name, f"{t.schema}.{t.name}")}
    complaints += [f"there is no table {name}" for name in mapping.tables if name not in names]
    good = [(t, fields) for t, fields in wanted if t.is_safe]
    if not good:
        raise NoTables("; ".join(complaints) or "no table is mapped")
    columns = [
        _pattern(t.schema, t.name, column)
        for t, fields in good
        for column in dict.fromkeys([*t.key, *fields.columns])
    ]
    return {
        "table.include.list": ",".join(_pattern(t.schema, t.name) for t, _ in good),
        "column.include.list": ",".join(columns),
    }, complaints


def _pattern(*names: str) -> str:
    # A comma as itself would part the list.
    return "[.]".join(re.escape(name).replace(",", r"\x2c") for name in names)
