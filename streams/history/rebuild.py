"""Makes the raw tables again from the log, and keeps rows that are older than the log.

Each table is filled aside, `<table>__new`: from the log, then with the rows of the old table that
lie before the log's beginning. Then the two are exchanged in one step and the old one is dropped.
So `<table>` has all its rows at every moment, even after a crash. The next rebuild discards a
`__new` that an interrupted one left.

The sink may run meanwhile. What it writes to the old table after the log was read is on the log,
too. After the exchange the log is read again from there, so no INSERT that raced with it is missed.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event as Flag

from confluent_kafka import Consumer

from ringlog.health import Health
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import Place
from ringlog.settings import Settings
from schemas.catalogue import Topic
from sql.migrate import Database, load, migrate, statements
from streams.history.batch import RowBuffer
from streams.history.clickhouse import ClickHouse
from streams.history.columns import OFFSET, PARTITION, TOPICS_KEPT
from streams.history.sink import database, rows_of
from streams.history.sorting import Bad
from streams.history.writer import SERVICE, BatchWriter, Retrying

_NEW = "__new"
_OFFSETS_AT_ONCE = 1_000_000  # one INSERT SELECT ends well before a client's time-out
_OFFSETS_COMPARED = 10_000
_DEFINES = re.compile(r"(CREATE TABLE IF NOT EXISTS|ALTER TABLE) (raw_\w+)\b")


class RebuildFailed(Exception):
    """A table was left unchanged; the text says which, and why."""


class AnotherLog(RebuildFailed):
    """A table's older rows belong to another log than the present one."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: rows written by table, how many of them were older than the log, records
    without a row, and how long it took."""

    rows: dict[str, int]
    kept: dict[str, int]
    poison: int
    seconds: float


def rebuild(
    config: Settings,
    progress: Callable[[str], None] = lambda line: None,
    *,
    forget_older: bool = False,
) -> Rebuilt:
    """Makes all raw tables again.

    Poison gets no second dead letter. Waits for a registry or ClickHouse that goes away; raises
    MigrationError, KafkaException or RebuildFailed, and AnotherLog for a table whose older rows
    cannot be of this log, unless they are to be forgotten. It can simply be run again.
    """
    begun_s = time.monotonic()
    there = database(config)
    there.run("DROP TABLE IF EXISTS schema_migrations SYNC")  # so that all of them run again
    migrate(there)
    progress("views made again")
    with closing(_consumer(config)) as asking:
        work = _Rebuild(config, there, asking, forget_older)
        for topic in TOPICS_KEPT:
            rows, kept = work.topic(topic)
            older = f", {kept} of them older than the log" if kept else ""
            progress(f"{topic.table}: {rows} rows{older}")
    return Rebuilt(work.rows, work.kept, work.poison, time.monotonic() - begun_s)


class _Aside(ClickHouse):
    """Inserts into the new table."""

    def insert(self, table: str, columns: Sequence[str], container: bytes, token: str) -> None:
        super().insert(table + _NEW, columns, container, token)


class _Rebuild:
    """`asking` only answers where the log begins and ends."""

    def __init__(
        self, config: Settings, there: Database, asking: Consumer, forget_older: bool
    ) -> None:
        self._config = config
        self._there = there
        self._asking = asking
        self._forget_older = forget_older
        self.rows: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.poison = 0
        self._aside = self._writer(_Aside(config))
        self._in_place = self._writer(ClickHouse(config))

    def topic(self, topic: Topic) -> tuple[int, int]:
        """Makes one table; returns rows written, and how many of them are older than the log."""
        table, new = topic.table, topic.table + _NEW
        self._there.run(f"DROP TABLE IF EXISTS {new} SYNC")
        for statement in definition(topic, new):
            self._there.run(statement)
        places = [(topic.name, n) for n in sync.partitions_of(self._asking, topic.name)]
        ends = sync.ends_of(self._asking, places)
        begins = sync.begins_of(self._asking, places)
        written = self._fill(topic, self._aside, begins, ends)
        kept = 0 if self._forget_older else self._keep(topic, begins, ends)
        self._there.run(f"EXCHANGE TABLES {table} AND {new}")
        written += self._fill(topic, self._in_place, ends, sync.ends_of(self._asking, places))
        self._there.run(f"DROP TABLE {new} SYNC")
        self.rows[table], self.kept[table] = written + kept, kept
        return written + kept, kept

    def _fill(
        self,
        topic: Topic,
        writer: BatchWriter,
        begins: Mapping[Place, int],
        ends: Mapping[Place, int],
    ) -> int:
        """Writes a stretch of the log; returns the number of rows."""
        if begins == ends:
            return 0
        written, buffer = 0, RowBuffer()
        with closing(_consumer(self._config)) as consumer:
            for polled in sync.between(consumer, begins, ends):
                for place, records in polled.items():
                    rows = rows_of(records, topic.compacted)
                    buffer.add(place, records[0].offset, records[-1].offset + 1, rows, 0.0)
                if buffer.full:
                    written += writer.write(buffer.take())
            return written + writer.write(buffer.take())

    def _keep(self, topic: Topic, begins: Mapping[Place, int], ends: Mapping[Place, int]) -> int:
        """Copies rows that the log no longer has and returns how many; raises RebuildFailed.

        They precede its beginning or, in a compacted topic, were compacted away.
        """
        present = dict(self._offsets(topic, "min"))
        limits = ends if topic.compacted else begins
        wanted = {n: end for (_, n), end in limits.items() if present.get(n, end) < end}
        if not wanted:
            return 0
        if (why := self._foreign(topic, begins, ends)) is not None:
            if topic.compacted and not any(begins.values()):
                return 0  # the log has all that counts; the rest was compacted away from another
            raise AnotherLog(f"{topic.table}: {why}")
        new = topic.table + _NEW
        from_log = self._count(f"{new} FINAL")
        for partition, end in wanted.items():
            for at in range(present[partition], end, _OFFSETS_AT_ONCE):
                self._copy(topic, partition, at, min(at + _OFFSETS_AT_ONCE, end))
            below = f"FINAL WHERE {PARTITION} = {partition} AND {OFFSET} < {end}"
            before, after = (self._count(f"{table} {below}") for table in (topic.table, new))
            if after < before:
                raise RebuildFailed(f"{topic.table}: only {after} of {before} rows were copied")
        return self._count(f"{new} FINAL") - from_log

    def _copy(self, topic: Topic, partition: int, begin: int, end: int) -> None:
        """Rows of a stretch of offsets, except those that came from the log."""
        new = topic.table + _NEW
        stretch = f"{PARTITION} = {partition} AND {OFFSET} >= {begin} AND {OFFSET} < {end}"
        if topic.compacted:
            on_log = f"SELECT {OFFSET} FROM {new} WHERE {stretch}"
            stretch += f" AND {OFFSET} NOT IN ({on_log})"
        old = self._columns(topic.table)
        names = ", ".join(f"`{name}`" for name in self._columns(new) if name in old)
        self._there.run(
            f"INSERT INTO {new} ({names}) SELECT {names} FROM {topic.table} WHERE {stretch} "
            "SETTINGS max_partitions_per_insert_block = 0"
        )

    def _foreign(
        self, topic: Topic, begins: Mapping[Place, int], ends: Mapping[Place, int]
    ) -> str | None:
        """Evidence that the table was filled from another log, or None."""
        newest = self._offsets(topic, "max")
        log_ends = sync.ends_of(self._asking, ends)  # the sink has written since `ends`
        for partition, offset in newest:
            end = log_ends.get((topic.name, partition), 0)
            if offset >= end:
                return f"it has offset {offset} of partition {partition}, the log ends at {end}"
        some = " OR ".join(
            f"{PARTITION} = {n} AND ({OFFSET} < {at + _OFFSETS_COMPARED} AND {OFFSET} >= {at} "
            f"OR {OFFSET} >= {ends[name, n] - _OFFSETS_COMPARED})"
            for (name, n), at in begins.items()
        )
        old, new = (
            f"(SELECT {PARTITION}, {OFFSET}, event_id FROM {table} WHERE {some})"
            for table in (topic.table, topic.table + _NEW)
        )
        differ = self._count(
            f"{old} AS old INNER JOIN {new} AS new USING ({PARTITION}, {OFFSET}) "
            "WHERE old.event_id != new.event_id"
        )
        return f"{differ} of its rows are other events than the log's" if differ else None

    def _offsets(self, topic: Topic, which: str) -> list[tuple[int, int]]:
        """The lowest or highest offset of each partition that the table has."""
        found = self._there.run(
            f"SELECT {PARTITION}, {which}({OFFSET}) FROM {topic.table} GROUP BY {PARTITION}"
        )
        return [(int(partition), int(offset)) for partition, offset in found]

    def _columns(self, table: str) -> list[str]:
        found = self._there.run(
            "SELECT name FROM system.columns WHERE database = currentDatabase() "
            f"AND table = '{table}' ORDER BY position"
        )
        return [name for (name,) in found]

    def _count(self, what: str) -> int:
        ((rows,),) = self._there.run(f"SELECT count() FROM {what}")
        return int(rows)

    def _writer(self, clickhouse: ClickHouse) -> BatchWriter:
        patience = Retrying(Health(SERVICE), Flag())
        return BatchWriter(clickhouse, codec_of(self._config), patience, self._bury)

    def _bury(self, topic: Topic, poison: list[Bad]) -> None:
        self.poison += len(poison)


def _consumer(config: Settings) -> Consumer:
    return sync.consumer_of(config, "history-rebuild", **sync.TO_THE_END)


def definition(topic: Topic, name: str) -> list[str]:
    """The statements by which the migrations define a topic's table, for a table of that name."""
    out = []
    for migration in load():
        for statement in statements(migration.text):
            found = _DEFINES.match(statement)
            if found is not None and found[2] == topic.table:
                out.append(f"{found[1]} {name}{statement[found.end() :]}")
    return out
