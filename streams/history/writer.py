"""Writes batches: rows to ClickHouse, poison to `dead_letters`. Returns when both have them."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from confluent_kafka import KafkaException

from ringlog.health import Health
from ringlog.kafka.dead_letters import dead_letter
from ringlog.kafka.sync import Producer, produce, reason
from ringlog.log import logger
from ringlog.metrics import DEAD_LETTERS, ROWS
from ringlog.stopping import Stopped
from schemas.catalogue import Topic
from schemas.registry import RegistryError
from schemas.wire import Codec
from streams.history.batch import RowBatch, token
from streams.history.clickhouse import Away, ClickHouse, InsertRefused
from streams.history.columns import TOPICS_KEPT
from streams.history.container import Row, container
from streams.history.sorting import Bad, Sorter, Writer

SERVICE = "history"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_ACKNOWLEDGED_S = 30.0

_log = logger("ringlog.history")
_T = TypeVar("_T")


class Retrying:
    """Retries while a service is away, and reports that in health.

    Thread-safe: the service is ready once `started` was called and nothing is waiting.
    """

    def __init__(self, health: Health, stopping: threading.Event) -> None:
        self._health = health
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waits: dict[str, str] = {}
        self._started = False

    def started(self) -> None:
        """The service does its work from now on."""
        with self._lock:
            self._started = True
            self._tell()

    def call(self, what: str, work: Callable[[], _T]) -> _T:
        """The result of `work` once it neither raises Away, RegistryError nor KafkaException;
        raises Stopped."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                result = work()
            except (Away, RegistryError, KafkaException) as error:
                why = reason(error) if isinstance(error, KafkaException) else error
                self._wait(what, f"{what}: {why}")
            else:
                self._go_on(what)
                return result
            if self._stopping.wait(pause_s):
                raise Stopped(what)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _wait(self, what: str, why: str) -> None:
        with self._lock:
            if self._waits.get(what) != why:
                _log.warning("waiting", why=why)
            self._waits[what] = why
            self._tell()

    def _go_on(self, what: str) -> None:
        with self._lock:
            if self._waits.pop(what, None) is not None:
                _log.info("going on", what=what)
                self._tell()

    def _tell(self) -> None:
        if self._waits:
            self._health.set_waiting("; ".join(self._waits.values()))
        elif self._started:
            self._health.set_ready()


Bury = Callable[[Topic, list[Bad]], None]
"""Handles poison."""


class BatchWriter:
    """Writes batches of all topics. Not for several threads at once."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        codec: Codec,
        patience: Retrying,
        bury: Bury,
    ) -> None:
        self._clickhouse = clickhouse
        self._patience = patience
        self._bury = bury
        self._sorters = {t.name: Sorter(t, codec) for t in TOPICS_KEPT}

    def write(self, batch: RowBatch) -> int:
        """Puts every row where it belongs and returns how many reached ClickHouse; raises Stopped.

        Writing the same batch again sends the same blocks with the same tokens.
        """
        written = 0
        for name, rows in _by_topic(batch).items():
            sorter = self._sorters[name]
            done = self._patience.call("registry", partial(sorter.sort, rows))
            poison = list(done.poison)
            for writer, group in done.good:
                refused = self._insert(sorter.topic, writer, group)
                written += len(group) - len(refused)
                poison += refused
            if poison:
                self._bury(sorter.topic, poison)
        return written

    def _insert(self, topic: Topic, writer: Writer, rows: list[Row]) -> list[Bad]:
        """Inserts the rows; finds those that ClickHouse refuses by halving, and returns them."""
        body = container(writer.header, rows)
        name = token(topic.name, rows)
        try:
            self._patience.call(
                "clickhouse",
                lambda: self._clickhouse.insert(topic.table, writer.columns, body, name),
            )
        except InsertRefused as why:
            if len(rows) == 1:
                return [Bad(rows[0], str(why))]
            middle = len(rows) // 2
            return [
                *self._insert(topic, writer, rows[:middle]),
                *self._insert(topic, writer, rows[middle:]),
            ]
        ROWS.labels(topic.table).inc(len(rows))
        return []


class DeadLetterWriter:
    """Sends poison to `dead_letters`, acknowledged; the same record always under the same id."""

    def __init__(self, connect: Callable[[], Producer], codec: Codec, patience: Retrying) -> None:
        """`connect` makes a producer; it is called again after a failure."""
        self._connect = connect
        self._producer: Producer | None = None
        self._codec = codec
        self._patience = patience

    def bury(self, topic: Topic, poison: list[Bad]) -> None:
        """Returns when the broker has all of them; raises Stopped."""
        self._patience.call("kafka", lambda: self._send(topic, poison))
        DEAD_LETTERS.labels(topic.name).inc(len(poison))
        first = poison[0]
        _log.warning(
            "dead letters", topic=topic.name, count=len(poison), partition=first.row.partition,
            offset=first.row.offset, reason=first.reason,
        )  # fmt: skip

    def _send(self, topic: Topic, poison: list[Bad]) -> None:
        letters = [
            dead_letter(
                SERVICE, topic.name, bad.row.partition, bad.row.offset, bad.reason, bad.row.value,
                max(0, bad.row.timestamp_ms),
            )
            for bad in poison
        ]  # fmt: skip
        if self._producer is None:
            self._producer = self._connect()
        try:
            for letter in letters:
                produce(self._producer, self._codec, "dead_letters", letter)
            self._producer.flush(_ACKNOWLEDGED_S)
        except KafkaException:
            # A producer that has lost a record stays unusable.
            broken, self._producer = self._producer, None
            broken.close(0)
            raise


def _by_topic(batch: RowBatch) -> Mapping[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for (topic, _), rows in sorted(batch.rows.items()):
        out.setdefault(topic, []).extend(rows)
    return {topic: rows for topic, rows in out.items() if rows}
