"""What the service has folded, in a file beside it, so that a start reads only what came since.

The log is the truth: without the file, or with one of another log, everything is folded anew and
comes to the same. A checkpoint costs what has changed since the one before it.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition

from ringlog.kafka.same_log import Seen

_FORMAT: Final = 2
"""A file of another format is passed over."""

_TABLES: Final = f"""
PRAGMA user_version = {_FORMAT};
CREATE TABLE contacts (
    n INTEGER PRIMARY KEY, task TEXT NOT NULL UNIQUE, stage INTEGER NOT NULL DEFAULT 0,
    campaign TEXT NOT NULL, contact TEXT NOT NULL, customer TEXT NOT NULL, phone TEXT NOT NULL,
    priority TEXT NOT NULL, tags TEXT NOT NULL, skills TEXT NOT NULL
) STRICT;
CREATE TABLE notes (
    kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE places (
    topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (topic, part)
) STRICT, WITHOUT ROWID;
"""

ContactRow = tuple[str, int, str, str, str, str, str, str, str]
"""A contact: task, stage, campaign, contact, customer, phone, priority, and tags and skills as
JSON."""

Note = tuple[str, str]
"""Kind and name of a small part of the state, whose value is text."""


@dataclass(slots=True)
class Changes:
    """What changed since the last checkpoint; a note without a value is gone."""

    contacts: list[ContactRow] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)
    """(stage, task)."""
    notes: dict[Note, str | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.contacts or self.stages or self.notes)


class ListCheckpoint:
    """One file, which one process has. All methods raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it holds telephone numbers
        self._path = path
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        # Held by the first write until `close`: a second process folds the log for itself.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found != _FORMAT:
            self.clear()

    def close(self) -> None:
        """Gives the file back."""
        self._db.close()

    def clear(self) -> None:
        """Forgets all."""
        with self._transaction():
            for (table,) in self._db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
            ).fetchall():
                self._db.execute(f'DROP TABLE "{table}"')
            for statement in _TABLES.split(";"):
                self._db.execute(statement)

    def places(self) -> dict[TopicPartition, Seen]:
        """How far each partition was read."""
        rows = self._db.execute("SELECT topic, part, next, time FROM places")
        return {TopicPartition(topic, part): (at, ms) for topic, part, at, ms in rows}

    def contacts(self) -> Iterator[ContactRow]:
        """All contacts, in the order of the log."""
        return self._db.execute(
            "SELECT task, stage, campaign, contact, customer, phone, priority, tags, skills "
            "FROM contacts ORDER BY n"
        )

    def notes(self) -> Iterable[tuple[Note, str]]:
        """All notes."""
        rows = self._db.execute("SELECT kind, name, value FROM notes")
        return (((kind, name), value) for kind, name, value in rows)

    def save(self, changes: Changes, places: Mapping[TopicPartition, Seen]) -> None:
        """Adds what changed, as a whole or not at all."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO contacts (task, stage, campaign, contact, customer, phone, priority, "
                "tags, skills) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                changes.contacts,
            )
            self._db.executemany("UPDATE contacts SET stage = ? WHERE task = ?", changes.stages)
            gone = [note for note, value in changes.notes.items() if value is None]
            kept = [(*note, value) for note, value in changes.notes.items() if value is not None]
            self._db.executemany("DELETE FROM notes WHERE kind = ? AND name = ?", gone)
            self._db.executemany("REPLACE INTO notes VALUES (?, ?, ?)", kept)
            self._db.executemany(
                "REPLACE INTO places VALUES (?, ?, ?, ?)",
                [(tp.topic, tp.partition, *seen) for tp, seen in places.items()],
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
