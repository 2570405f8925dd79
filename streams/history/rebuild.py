"""Drops the raw tables and fills them again from the whole log."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from threading import Event as Flag

from ringlog.health import Health
from ringlog.kafka import sync
from ringlog.settings import Settings
from schemas.catalogue import Topic
from schemas.registry import Registry
from schemas.wire import Codec
from sql.migrate import Database, migrate
from streams.history.batch import Buffer
from streams.history.clickhouse import ClickHouse
from streams.history.columns import TOPICS_KEPT
from streams.history.sink import database, rows_of
from streams.history.sorting import Bad
from streams.history.writer import SERVICE, BatchWriter, Patience


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: rows by table, records without a row, and how long it took."""

    rows: dict[str, int]
    poison: int
    seconds: float


def rebuild(config: Settings, progress: Callable[[str], None] = lambda line: None) -> Rebuilt:
    """Makes all raw tables again from the log.

    The sink may run meanwhile: it waits while the tables are away, and what both write is the same
    rows. Poison gets no second dead letter. Waits for a registry or ClickHouse that goes away;
    raises MigrationError or KafkaException. It can simply be run again.
    """
    begun_s = time.monotonic()
    there = database(config)
    drop_tables(there)
    migrate(there)
    progress("tables made anew")
    refill = _Refill(config)
    for topic in TOPICS_KEPT:
        rows = refill.topic(topic)
        progress(f"{topic.table}: {rows} rows")
    return Rebuilt(refill.rows, refill.poison, time.monotonic() - begun_s)


def drop_tables(there: Database) -> None:
    """Drops every raw table and the memory of the migrations, so that all of them run again."""
    for topic in TOPICS_KEPT:
        there.run(f"DROP TABLE IF EXISTS {topic.table} SYNC")
    there.run("DROP TABLE IF EXISTS schema_migrations SYNC")


class _Refill:
    def __init__(self, config: Settings) -> None:
        self._config = config
        self.rows: dict[str, int] = {}
        self.poison = 0
        registry = Registry(config.registry_url, config.registry_timeout_s)
        patience = Patience(Health(SERVICE), Flag())
        self._writer = BatchWriter(
            ClickHouse(config), Codec(registry), registry, patience, self._count
        )

    def _count(self, topic: Topic, poison: list[Bad]) -> None:
        self.poison += len(poison)

    def topic(self, topic: Topic) -> int:
        """Reads a topic up to its present end into its table; the number of rows."""
        config = self._config
        with closing(sync.consumer_of(config, "history-rebuild", **sync.TO_THE_END)) as consumer:
            places = [(topic.name, n) for n in sync.partitions_of(consumer, topic.name)]
            ends = sync.ends_of(consumer, places)
            begins = sync.begins_of(consumer, places)
            written, buffer = 0, Buffer()
            for polled in sync.between(consumer, begins, ends):
                for place, records in polled.items():
                    rows = rows_of(records, topic.compacted)
                    buffer.add(place, records[0].offset, records[-1].offset + 1, rows, 0.0)
                if buffer.full:
                    written += self._writer.write(buffer.take())
            written += self._writer.write(buffer.take())
            self.rows[topic.table] = written
            return written
