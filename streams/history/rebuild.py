"""Drops the raw tables and fills them again from the whole log."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any

from kafka import TopicPartition

from ringlog.health import Health
from ringlog.kafka.sync import consumer_of
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

_POLL_ROWS = 10_000


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
    raises MigrationError or KafkaError. It can simply be run again.
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
        consumer: Any = consumer_of(
            self._config, "history-rebuild", group_id=None, max_poll_records=_POLL_ROWS
        )
        try:
            numbers = consumer.partitions_for_topic(topic.name) or ()
            tps = [TopicPartition(topic.name, n) for n in sorted(numbers)]
            consumer.assign(tps)
            ends = consumer.end_offsets(tps)
            for tp, begin in consumer.beginning_offsets(tps).items():
                consumer.seek(tp, begin)
            written = 0
            buffer = Buffer()
            left = [tp for tp in tps if consumer.position(tp) < ends[tp]]
            while left:
                for tp, records in consumer.poll(timeout_ms=500).items():
                    inside = [r for r in records if r.offset < ends[tp]]
                    if inside:
                        place = (tp.topic, tp.partition)
                        rows = rows_of(inside, topic.compacted)
                        buffer.add(place, inside[0].offset, inside[-1].offset + 1, rows, 0.0)
                left = [tp for tp in left if consumer.position(tp) < ends[tp]]
                if buffer.full or not left:
                    written += self._writer.write(buffer.take())
            self.rows[topic.table] = written
            return written
        finally:
            consumer.close()
