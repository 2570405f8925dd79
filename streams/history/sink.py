"""The sink's host: reads every topic, hands batches to the writer, then commits.

One process reads all partitions (assigned, no group membership, so a restart waits for nobody);
`--topics` splits the work by topic. Two sinks on one topic do no harm, as a row's place on the log
is its key. While one batch is written by a thread the next is read.

Order: the ends of a batch are committed as an intent with the old offsets, the batch is written,
poison acknowledged, then the new offsets are committed.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from ringlog.health import Health
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import Place, RawRecord
from ringlog.log import logger
from ringlog.metrics import CONSUMER_LAG
from ringlog.settings import Settings
from ringlog.stopping import Stopped
from schemas.catalogue import TOPICS, Topic
from sql.migrate import MigrationError, NativeDatabase, migrate
from streams.history.batch import RowBatch, RowBuffer, intended_end, intent
from streams.history.clickhouse import Away, ClickHouse
from streams.history.columns import TOPICS_KEPT
from streams.history.container import Row
from streams.history.writer import SERVICE, BatchWriter, DeadLetterWriter, Retrying

GROUP = "history"
_POLL_ROWS = 5_000
_POLL_S = 0.1
_LAG_EVERY_S = 1.0
_READING: Mapping[str, Any] = {
    **sync.TO_THE_END,
    "queued.min.messages": 20_000,  # of a partition; the bytes of all are bounded anyway
    "session.timeout.ms": 6_000,  # how long a commit waits for an absent group coordinator
}

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
        self._patience = Retrying(health, stopping)
        self._codec = codec = codec_of(config)
        letters = DeadLetterWriter(lambda: sync.producer_of(config, SERVICE), codec, self._patience)
        self._clickhouse = ClickHouse(config)
        self._writer = BatchWriter(self._clickhouse, codec, self._patience, letters.bury)
        self._buffer = RowBuffer()
        self._compacted = {t.name for t in self._topics if t.compacted}
        self._places: list[Place] = []
        self._intended: dict[Place, int] = {}
        self._read_to: dict[Place, int] = {}
        """Offset after the last record read of each partition, and after any hole."""
        self._lag_due_s = 0.0

    def run(self) -> None:
        """Returns on request; unwritten records are read again at the next start."""
        try:
            self._patience.call("registry", lambda: self._codec.warm(*TOPICS))
            self._patience.call("clickhouse", self._migrate)
            consumer = self._patience.call("kafka", self._connect)
            ends = self._patience.call("kafka", lambda: sync.ends_of(consumer, self._places))
            self._patience.call("clickhouse", lambda: self._check_age(ends))
        except Stopped:
            return
        try:
            with ThreadPoolExecutor(1, "writer") as pool:
                try:
                    self._follow(consumer, pool)
                finally:
                    self._stopping.set()  # the writer must not wait for ever for an absent service
        except Stopped as why:
            _log.info("stopped while waiting", what=str(why))
        finally:
            consumer.close()

    def _migrate(self) -> None:
        try:
            migrate(database(self._config), told=_log.info)
        except MigrationError as error:
            raise Away(str(error)) from None

    def _connect(self) -> Consumer:
        """A consumer at the committed offsets of all partitions; raises KafkaException or Away."""
        consumer = sync.consumer_of(self._config, SERVICE, GROUP, **_READING)
        try:
            self._places = _partitions(consumer, self._topics)
            begins = sync.begins_of(consumer, self._places)
            starts = []
            self._intended, self._read_to = {}, {}
            for place, kept in sync.committed(consumer, self._places).items():
                at = max(kept.offset, begins[place])
                starts.append(TopicPartition(*place, at))
                self._read_to[place] = at
                end = intended_end(kept.metadata)
                if end is not None and end > at:
                    self._intended[place] = end
            consumer.assign(starts)
        except BaseException:
            consumer.close()
            raise
        _log.info("reading", partitions=len(starts), unfinished=len(self._intended))
        return consumer

    def _check_age(self, ends: Mapping[Place, int]) -> None:
        """Warns where a table holds offsets that the log has not reached: another log's rows."""
        newest = " UNION ALL ".join(
            f"SELECT '{t.name}', _partition, max(_offset) FROM {t.table} GROUP BY _partition"
            for t in self._topics
        )
        for topic, partition, offset in self._clickhouse.query(newest):
            end = ends.get((topic, int(partition)), 0)
            if int(offset) >= end:
                _log.error(
                    "the table is ahead of the log: it was filled from another one; "
                    "run `ringlog rebuild history`",
                    topic=topic, partition=int(partition), table_offset=int(offset), log_end=end,
                )  # fmt: skip

    def _follow(self, consumer: Consumer, pool: ThreadPoolExecutor) -> None:
        if self._intended:
            unfinished = self._read_intended(consumer)
            self._finish(consumer, unfinished, pool.submit(self._writer.write, unfinished))
        self._patience.started()
        writing: tuple[RowBatch, Future[int]] | None = None
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
        self, consumer: Consumer, writing: tuple[RowBatch, Future[int]] | None, wait_s: float | None
    ) -> None:
        """Reads more into the buffer, or waits for the writer if the buffer is full."""
        if self._buffer.full and writing:
            _wait(writing[1], _POLL_S)
            return
        pause_s = _POLL_S if wait_s is None or writing else min(_POLL_S, wait_s)
        self._poll(consumer, pause_s)

    def _poll(self, consumer: Consumer, pause_s: float) -> None:
        ended: dict[Place, int] = {}
        polled = sync.take(consumer, _POLL_ROWS, pause_s, ended, patient=True)
        now_s = time.monotonic()
        for place, records in polled.items():
            rows = rows_of(records, place[0] in self._compacted)
            self._add(place, records[-1].offset + 1, rows, now_s)
        for place, end in ended.items():
            if end > self._read_to[place]:  # the last offsets are markers of transactions
                self._add(place, end, [], now_s)

    def _add(self, place: Place, end: int, rows: list[Row], now_s: float) -> None:
        self._buffer.add(place, self._read_to[place], end, rows, now_s)
        self._read_to[place] = end

    def _read_intended(self, consumer: Consumer) -> RowBatch:
        """The batch that was being written when the last run ended; raises Stopped."""
        ends = self._patience.call("kafka", lambda: sync.ends_of(consumer, self._intended))
        wanted = {place: min(end, ends[place]) for place, end in self._intended.items()}
        while any(self._read_to[place] < end for place, end in wanted.items()):
            if self._stopping.is_set():
                raise Stopped("kafka")
            self._poll(consumer, _POLL_S)
        return self._buffer.take_to(self._intended, time.monotonic())

    def _finish(self, consumer: Consumer, batch: RowBatch, writing: "Future[int]") -> None:
        writing.result()
        self._commit(consumer, batch, None)

    def _commit(self, consumer: Consumer, done: RowBatch | None, begun: RowBatch | None) -> None:
        """One commit: the offsets after `done`, and the ranges that `begun` will write."""
        offsets = {place: (end, "") for place, end in done.ends.items()} if done else {}
        if begun:
            for place, end in begun.ends.items():
                at = offsets[place][0] if place in offsets else begun.begins[place]
                offsets[place] = at, intent(end)
        wanted = [
            TopicPartition(*place, at, metadata=note) for place, (at, note) in offsets.items()
        ]
        self._patience.call("kafka", lambda: sync.commit(consumer, wanted))

    def _tell_lag(self, consumer: Consumer, now_s: float) -> None:
        if now_s < self._lag_due_s:
            return
        self._lag_due_s = now_s + _LAG_EVERY_S
        lag: dict[str, int] = {}
        for place in self._places:
            _, high = consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            lag[place[0]] = lag.get(place[0], 0) + max(0, high - self._read_to[place])
        for topic, behind in lag.items():
            CONSUMER_LAG.labels(topic, GROUP).set(behind)


def database(config: Settings) -> NativeDatabase:
    """The database for migrations, created if missing; raises MigrationError."""
    host, port = config.clickhouse_native
    password = config.clickhouse_password.get_secret_value()
    return NativeDatabase(host, port, config.clickhouse_database, config.clickhouse_user, password)


def rows_of(records: Iterable[RawRecord], compacted: bool) -> list[Row]:
    """Rows of Kafka records, without tombstones of compacted topics."""
    return [
        Row(r.partition, r.offset, r.timestamp_ms, r.value or b"")
        for r in records
        if r.value is not None or not compacted
    ]


def _partitions(consumer: Consumer, topics: Sequence[Topic]) -> list[Place]:
    """All partitions of the topics; raises Away for a topic that does not exist."""
    places = []
    for topic in topics:
        numbers = sync.partitions_of(consumer, topic.name)
        if not numbers:
            raise Away(f"topic {topic.name} does not exist; run `python -m schemas.apply`")
        places += [(topic.name, n) for n in numbers]
    return places


def _wait(future: "Future[int]", seconds: float) -> None:
    try:
        future.result(timeout=seconds)
    except TimeoutError:
        pass
