"""The sink's host: reads every topic, hands batches to the writer, commits behind it.

One process reads all partitions (assigned, no group membership, so a restart waits for nobody);
`--topics` splits the work by topic. Two sinks on one topic do no harm, as a row's place on the log
is its key. While one batch is written by a thread the next is read.

Order: the ends of a batch are committed as an intent beside the old offsets, the batch is written,
poison acknowledged, then the new offsets are committed.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from ringlog.health import Health
from ringlog.kafka.sync import consumer_of, producer_of
from ringlog.log import logger
from ringlog.metrics import CONSUMER_LAG
from ringlog.settings import Settings
from schemas.catalogue import Topic
from schemas.registry import Registry
from schemas.wire import Codec
from sql.migrate import MigrationError, NativeDatabase, migrate
from streams.history.batch import Batch, Buffer, Place, intended_end, intent
from streams.history.clickhouse import Away, ClickHouse
from streams.history.columns import TOPICS_KEPT
from streams.history.container import Row
from streams.history.writer import SERVICE, BatchWriter, DeadLetters, Patience, Stopped

GROUP = "history"
_POLL_ROWS = 5_000
_POLL_S = 0.1
_LAG_EVERY_S = 1.0
_COMMIT_MS = 5_000
_CONNECTION = {"reconnect_backoff_max_ms": 1_000}  # by default it waits 30 s for a new broker

_log = logger("ringlog.history")


class Sink:
    """Runs until `stopping` is set."""

    def __init__(
        self,
        config: Settings,
        health: Health,
        stopping: threading.Event,
        topics: Sequence[Topic] = TOPICS_KEPT,
    ) -> None:
        self._config = config
        self._stopping = stopping
        self._topics = list(topics)
        self._patience = Patience(health, stopping)
        registry = Registry(config.registry_url, config.registry_timeout_s)
        codec = Codec(registry)
        letters = DeadLetters(
            lambda: producer_of(config, SERVICE, **_CONNECTION), codec, self._patience
        )
        self._clickhouse = ClickHouse(config)
        self._writer = BatchWriter(self._clickhouse, codec, registry, self._patience, letters.bury)
        self._buffer = Buffer()
        self._intended: dict[Place, int] = {}
        self._lag_due_s = 0.0

    def run(self) -> None:
        """Returns when told to stop; what was not written then is read again at the next start."""
        try:
            self._patience.call("clickhouse", self._migrate)
            consumer = self._patience.call("kafka", self._connect)
            ends = self._patience.call("kafka", lambda: consumer.end_offsets(consumer.assignment()))
            self._patience.call("clickhouse", lambda: self._check_age(ends))
        except Stopped:
            return
        try:
            with ThreadPoolExecutor(1, "writer") as pool:
                try:
                    self._follow(consumer, pool)
                finally:
                    self._stopping.set()  # the writer must not wait for ever for what is away
        except Stopped as why:
            _log.info("stopped while waiting", what=str(why))
        finally:
            consumer.close()

    def _migrate(self) -> None:
        try:
            migrate(database(self._config), told=_log.info)
        except MigrationError as error:
            raise Away(str(error)) from None

    def _connect(self) -> Any:
        """A consumer at the committed offsets of all partitions; raises KafkaError or Away."""
        consumer = consumer_of(
            self._config,
            SERVICE,
            group_id=GROUP,
            fetch_max_wait_ms=100,
            max_poll_records=_POLL_ROWS,
        )
        try:
            places = _partitions(consumer, self._topics)
            consumer.assign([TopicPartition(*place) for place in places])
            begins = consumer.beginning_offsets([TopicPartition(*place) for place in places])
            self._intended = {}
            for place in places:
                tp = TopicPartition(*place)
                kept = consumer.committed(tp, metadata=True)
                at = max(kept.offset if kept else 0, begins[tp])
                consumer.seek(tp, at)
                end = intended_end(kept.metadata) if kept else None
                if end is not None and end > at:
                    self._intended[place] = end
        except BaseException:
            consumer.close()
            raise
        _log.info("reading", partitions=len(places), unfinished=len(self._intended))
        return consumer

    def _check_age(self, ends: Mapping[Any, int]) -> None:
        """Warns where a table holds offsets that the log has not reached: another log's rows."""
        newest = " UNION ALL ".join(
            f"SELECT '{t.name}', _partition, max(_offset) FROM {t.table} GROUP BY _partition"
            for t in self._topics
        )
        for topic, partition, offset in self._clickhouse.query(newest):
            end = ends.get(TopicPartition(topic, int(partition)), 0)
            if int(offset) >= end:
                _log.error(
                    "the table is ahead of the log: it was filled from another one; "
                    "run `ringlog rebuild history`",
                    topic=topic, partition=int(partition), table_offset=int(offset), log_end=end,
                )  # fmt: skip

    def _follow(self, consumer: Any, pool: ThreadPoolExecutor) -> None:
        if self._intended:
            unfinished = self._read_intended(consumer)
            self._finish(consumer, unfinished, pool.submit(self._writer.write, unfinished))
        self._patience.started()
        writing: tuple[Batch, Future[int]] | None = None
        while not self._stopping.is_set():
            done = None
            if writing and writing[1].done():
                writing[1].result()  # raises Stopped, or what is a bug
                done, writing = writing[0], None
            now_s = time.monotonic()
            wait_s = self._buffer.wait_s(now_s)
            batch = self._buffer.take() if writing is None and wait_s == 0.0 else None
            if done or batch:
                self._commit(consumer, done, batch)
            if batch:
                writing = batch, pool.submit(self._writer.write, batch)
            else:
                self._read(consumer, writing, wait_s)
            self._tell_lag(consumer, now_s)
        if writing:
            self._finish(consumer, *writing)

    def _read(
        self, consumer: Any, writing: tuple[Batch, Future[int]] | None, wait_s: float | None
    ) -> None:
        """Reads more into the buffer; waits for the writer instead where the buffer is full."""
        if self._buffer.full and writing:
            _wait(writing[1], _POLL_S)
            return
        pause_s = _POLL_S if wait_s is None or writing else min(_POLL_S, wait_s)
        self._poll(consumer, pause_s)

    def _poll(self, consumer: Any, pause_s: float) -> None:
        polled = consumer.poll(timeout_ms=int(pause_s * 1000))
        now_s = time.monotonic()
        compacted = {t.name for t in self._topics if t.compacted}
        for tp, records in polled.items():
            place = (tp.topic, tp.partition)
            rows = rows_of(records, tp.topic in compacted)
            self._buffer.add(place, records[0].offset, records[-1].offset + 1, rows, now_s)

    def _read_intended(self, consumer: Any) -> Batch:
        """The batch that was being written when the last run ended; raises Stopped."""
        tps = {TopicPartition(*place): end for place, end in self._intended.items()}
        ends = self._patience.call("kafka", lambda: consumer.end_offsets(list(tps)))
        while any(consumer.position(tp) < min(end, ends[tp]) for tp, end in tps.items()):
            if self._stopping.is_set():
                raise Stopped("kafka")
            self._poll(consumer, _POLL_S)
        return self._buffer.take_to(self._intended, time.monotonic())

    def _finish(self, consumer: Any, batch: Batch, writing: "Future[int]") -> None:
        writing.result()
        self._commit(consumer, batch, None)

    def _commit(self, consumer: Any, done: Batch | None, begun: Batch | None) -> None:
        """One commit: the offsets behind `done`, and what `begun` is going to write."""
        offsets = {place: (end, "") for place, end in done.ends.items()} if done else {}
        if begun:
            for place, end in begun.ends.items():
                at = offsets[place][0] if place in offsets else begun.begins[place]
                offsets[place] = at, intent(end)
        wanted = {
            TopicPartition(*place): OffsetAndMetadata(at, note, -1)
            for place, (at, note) in offsets.items()
        }
        self._patience.call("kafka", lambda: consumer.commit(wanted, timeout_ms=_COMMIT_MS))

    def _tell_lag(self, consumer: Any, now_s: float) -> None:
        if now_s < self._lag_due_s:
            return
        self._lag_due_s = now_s + _LAG_EVERY_S
        lag: dict[str, int] = {}
        for tp in consumer.assignment():
            high = consumer.highwater(tp)
            read = self._buffer.end_of((tp.topic, tp.partition))
            if high is not None and read:
                lag[tp.topic] = lag.get(tp.topic, 0) + max(0, high - read)
        for topic, behind in lag.items():
            CONSUMER_LAG.labels(topic, GROUP).set(behind)


def database(config: Settings) -> NativeDatabase:
    """The database for migrations, made where it is missing; raises MigrationError."""
    host, port = config.clickhouse_native
    password = config.clickhouse_password.get_secret_value()
    return NativeDatabase(host, port, config.clickhouse_database, config.clickhouse_user, password)


def rows_of(records: Sequence[Any], compacted: bool) -> list[Row]:
    """Rows of Kafka records; a tombstone of a compacted topic is none."""
    return [
        Row(r.partition, r.offset, r.timestamp, r.value or b"")
        for r in records
        if r.value is not None or not compacted
    ]


def _partitions(consumer: Any, topics: Sequence[Topic]) -> list[Place]:
    """All partitions of the topics; raises Away for a topic that does not exist."""
    places = []
    for topic in topics:
        numbers = consumer.partitions_for_topic(topic.name)
        if not numbers:
            raise Away(f"topic {topic.name} does not exist; run `python -m schemas.apply`")
        places += [(topic.name, n) for n in sorted(numbers)]
    return places


def _wait(future: "Future[int]", seconds: float) -> None:
    try:
        future.result(timeout=seconds)
    except TimeoutError:
        pass
