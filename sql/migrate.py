"""Brings a ClickHouse database to the newest migration. Idempotent.

`python -m sql.migrate [--host H] [--port N | --http-port N] [--database D] [--user U]`; the
password comes from `RINGLOG_CLICKHOUSE_PASSWORD`.

Migrations are `NNNN_name.sql` files, run in order, each once, and kept with their checksum in
`schema_migrations`. ClickHouse has no transactions for DDL, so every statement of a migration must
do no harm when it is run again (IF NOT EXISTS, CREATE OR REPLACE): a migration that broke off in
the middle is run again from its start.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import urllib3
from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError

MIGRATIONS = Path(__file__).parent / "migrations"

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_DATABASE_NAME = re.compile(r"[A-Za-z_]\w*")
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<quoted>  '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<end>     ; )
    | (?P<other>   . )
    """,
    re.S | re.X,
)
_LOG = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY version"""


class MigrationError(Exception):
    """The database cannot be brought to the newest migration; the text says why."""


class Database(Protocol):
    """One ClickHouse database. `run` raises MigrationError."""

    def run(self, sql: str) -> list[tuple[str, ...]]:
        """Runs one statement; the rows as text."""
        ...


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """What must not change once the migration was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations of a folder in order; raises MigrationError for a wrong name or number."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named NNNN_name.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationError(f"migration {expected:04d} is missing or there twice")
    return found


def statements(text: str) -> list[str]:
    """The statements of a file, without comments; raises MigrationError for an open quote.

    A semicolon ends a statement, except in a string, a quoted name or a comment.
    """
    out: list[str] = []
    current: list[str] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "end":
            out.append("".join(current).strip())
            current = []
        elif kind == "comment":
            current.append(" ")
        elif kind == "other" and token[0] in "'\"`":
            line = text.count("\n", 0, token.start()) + 1
            raise MigrationError(f"line {line}: {token[0]} is never closed")
        else:
            current.append(token[0])
    out.append("".join(current).strip())
    return [s for s in out if s]


def migrate(
    database: Database,
    migrations: Sequence[Migration] | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> list[Migration]:
    """Applies what is not applied yet and returns it; raises MigrationError, also when an
    applied migration's file has changed since."""
    wanted = load() if migrations is None else migrations
    database.run(_LOG)
    applied = {
        int(version): (name, checksum)
        for version, name, checksum in database.run(
            "SELECT version, name, checksum FROM schema_migrations FINAL ORDER BY version"
        )
    }
    for migration in wanted:
        name, checksum = applied.get(migration.version, (migration.name, migration.checksum))
        if checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.version:04d}_{name} was applied with checksum "
                f"{checksum[:12]}…, its file now has {migration.checksum[:12]}…: an applied "
                "migration is never changed, write a new one"
            )
    done = []
    for migration in wanted:
        if migration.version in applied:
            continue
        for statement in statements(migration.text):
            database.run(statement)
        database.run(
            "INSERT INTO schema_migrations (version, name, checksum) SELECT "
            f"{migration.version}, '{migration.name}', '{migration.checksum}'"
        )
        told(f"applied {migration.version:04d}_{migration.name}")
        done.append(migration)
    return done


class NativeDatabase:
    """A database over ClickHouse's native protocol; it is made where it is missing."""

    def __init__(self, host: str, port: int, database: str, user: str, password: str) -> None:
        self._where = f"{host}:{port}"

        def connect(name: str) -> Client:
            return Client(
                host, port, name, user, password, connect_timeout=10, client_name="migrate"
            )

        first = connect("default")
        self._client = first
        self.run(f"CREATE DATABASE IF NOT EXISTS {checked_name(database)}")
        first.disconnect()
        self._client = connect(database)

    def run(self, sql: str) -> list[tuple[str, ...]]:
        """Runs one statement; raises MigrationError."""
        try:
            rows: Any = self._client.execute(sql)
        except (DriverError, OSError) as error:
            raise MigrationError(f"ClickHouse at {self._where}: {_first_line(error)}") from None
        return [tuple(str(v) for v in row) for row in rows] if isinstance(rows, list) else []


class HttpDatabase:
    """A database over ClickHouse's HTTP interface; it is made where it is missing."""

    def __init__(self, url: str, database: str, user: str, password: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=300))
        self._database = "default"
        self.run(f"CREATE DATABASE IF NOT EXISTS {checked_name(database)}")
        self._database = database

    def run(self, sql: str) -> list[tuple[str, ...]]:
        """Runs one statement; raises MigrationError."""
        query = urlencode({"database": self._database, "default_format": "JSONCompactEachRow"})
        try:
            answer = self._http.request(
                "POST",
                f"{self._url}?{query}",
                body=sql.encode(),
                headers=self._headers,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise MigrationError(f"ClickHouse at {self._url}: {_first_line(error)}") from None
        if answer.status != 200:
            text = answer.data.decode("utf-8", "replace")
            raise MigrationError(f"ClickHouse at {self._url}: {_first_line(text)}")
        return [tuple(str(v) for v in json.loads(line)) for line in answer.data.splitlines()]


def checked_name(database: str) -> str:
    """The name of a database if it is a plain one; raises MigrationError."""
    if not _DATABASE_NAME.fullmatch(database):
        raise MigrationError(f"{database!r} is no plain database name")
    return database


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:500]


def main() -> int:
    """Exit code 0: the database is at the newest migration; 1: it is not, the message says why."""
    env = os.environ.get
    parser = argparse.ArgumentParser(description="Bring ClickHouse to the newest migration.")
    parser.add_argument("--host", default="127.0.0.1")
    ports = parser.add_mutually_exclusive_group()
    ports.add_argument("--port", "--native-port", type=int, default=19000, help="native protocol")
    ports.add_argument("--http-port", type=int, help="use HTTP instead")
    parser.add_argument("--database", default=env("RINGLOG_CLICKHOUSE_DATABASE") or "ringlog")
    parser.add_argument("--user", default=env("RINGLOG_CLICKHOUSE_USER") or "default")
    args = parser.parse_args()
    login = args.database, args.user, env("RINGLOG_CLICKHOUSE_PASSWORD") or ""
    try:
        database: Database = (
            HttpDatabase(f"http://{args.host}:{args.http_port}", *login)
            if args.http_port
            else NativeDatabase(args.host, args.port, *login)
        )
        done = migrate(database, told=print)
    except MigrationError as error:
        print(f"ClickHouse could not be migrated: {error}", file=sys.stderr)
        return 1
    print(f"{len(done)} migrations applied" if done else "nothing to migrate")
    return 0


if __name__ == "__main__":
    sys.exit(main())
