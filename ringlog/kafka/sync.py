"""Reading and producing without an event loop, with librdkafka: worker, sink, command line.

Options carry librdkafka's dotted names. Every question to the broker waits at most `ANSWER_S`.
"""

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka import Producer as LibraryProducer
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from ringlog.kafka import broker_time
from ringlog.kafka.librdkafka_log import library_logger
from ringlog.settings import Settings
from schemas.catalogue import KAFKA_MESSAGE_BYTES, topic
from schemas.envelope import Event
from schemas.partition import partition_of
from schemas.wire import Codec

ANSWER_S = 30.0
"""Longest wait for one answer of the broker."""

SILENCE_S = 60.0
"""Records known to exist come within this time, or reading has failed."""

AT_ONCE = 5_000
"""Default limit of records of one read."""

TO_THE_END: Mapping[str, Any] = {"enable.partition.eof": True}
"""Options of a consumer for `between`: it has to hear where a partition ends."""

ISOLATION = "read_committed"
"""All of our consumers read committed records only: nothing of an open or aborted transaction. For
them a partition ends where its oldest open transaction begins. Transaction markers have offsets,
but are never delivered: gaps between records are usual, also before the end."""

_POLL_S = 0.3

_PASSING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)

Place = tuple[str, int]
"""(topic, partition)."""

_T = TypeVar("_T")
_logger = library_logger()


class RawRecord(NamedTuple):
    """A record as it lies on the log. `timestamp_ms` is Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class DeliveryFailed(KafkaException):
    """The broker does not have a record; the text names topic and cause."""


class Delivery:
    """One record on its way. `offset` is negative until the broker has acknowledged it."""

    __slots__ = ("offset", "partition", "sent_ns", "topic")

    def __init__(self, topic_name: str, partition: int) -> None:
        self.topic = topic_name
        self.partition = partition
        self.offset = -1
        self.sent_ns = time.monotonic_ns()


class Producer:
    """An idempotent producer that waits for all acknowledgements; for several threads.

    After a failed delivery every later `send` and `flush` raises DeliveryFailed, so that nothing
    after it passes for done. Make a new producer then.
    """

    def __init__(self, config: Settings, client_id: str, **options: Any) -> None:
        self._library = LibraryProducer(
            {
                **_connection(config, client_id),
                "acks": "all",
                "enable.idempotence": True,
                "message.max.bytes": KAFKA_MESSAGE_BYTES,
                "queue.buffering.max.kbytes": 65_536,
                **options,
            },
            logger=_logger,
        )
        self._lock = threading.Lock()
        self._waiting: set[Delivery] = set()
        self._failed: str | None = None

    def send(
        self,
        topic_name: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int,
        timestamp_ms: int = 0,
    ) -> Delivery:
        """Hands over one record; `timestamp_ms` counts where a topic keeps its producers' times.

        Waits for room in a full queue. Raises DeliveryFailed.
        """
        delivery = Delivery(topic_name, partition)
        done = partial(self._done, delivery)
        with self._lock:
            while True:
                self._check()
                try:
                    self._library.produce(
                        topic_name, value, key, partition, on_delivery=done, timestamp=timestamp_ms
                    )
                    self._waiting.add(delivery)
                    break
                except BufferError:
                    self._library.poll(_POLL_S)
                except KafkaException as error:
                    raise _refused(topic_name, value, error) from None
            self._library.poll(0)
        return delivery

    def flush(self, timeout_s: float = ANSWER_S) -> None:
        """Returns when the broker has every record; raises DeliveryFailed."""
        with self._lock:
            # What the library says is left may be its own events: a broker that does not answer.
            self._library.flush(timeout_s)
            self._check()
            if left := len(self._waiting):
                topics = ", ".join(sorted({delivery.topic for delivery in self._waiting}))
                raise DeliveryFailed(
                    f"{topics}: {left} records are not acknowledged after {timeout_s:g} s"
                )

    def close(self, timeout_s: float = 10.0) -> None:
        """Disconnects; what is not delivered in time is given up. Raises nothing: `flush` first."""
        with self._lock:
            if left := self._library.flush(timeout_s):
                _logger.warning("closing a producer: %d records given up", left)
                self._library.purge()
                self._library.poll(0)
            self._library.close()

    def _check(self) -> None:
        if self._failed is not None:
            raise DeliveryFailed(self._failed)

    def _done(self, delivery: Delivery, error: KafkaError | None, message: Message) -> None:
        self._waiting.discard(delivery)
        if error is None:
            delivery.offset = _known(message.offset())
            kind, at_ms = message.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                broker_time.set_clock(at_ms, delivery.sent_ns)
        elif self._failed is None:
            self._failed = f"{delivery.topic}: {error.str()}"


def consumer_of(
    config: Settings, client_id: str, group_id: str | None = None, **options: Any
) -> Consumer:
    """A consumer that commits only when told to; without a group it must not commit at all."""
    return Consumer(
        {
            **_connection(config, client_id),
            "group.id": group_id or client_id,  # the library wants one, also for `assign`
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": ISOLATION,
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 20,  # by default a full queue costs a second
            "queued.max.messages.kbytes": 32_768,
            **options,
        },
        logger=_logger,
    )


def announce(config: Settings, service: str, codec: Codec) -> None:
    """Reports that a service has started, and sets the clock by the answer; raises
    KafkaException."""
    name, partition = broker_time.ANNOUNCED
    record = broker_time.started(service)
    key = topic(name).key(record).encode()
    with closing(producer_of(config, service, **{"linger.ms": 0})) as producer:
        producer.send(name, codec.encode(name, record), key=key, partition=partition)
        producer.flush()


def producer_of(config: Settings, client_id: str, **options: Any) -> Producer:
    """An idempotent producer that waits for all acknowledgements."""
    return Producer(config, client_id, **options)


def produce(
    producer: Producer,
    codec: Codec,
    topic_name: str,
    event: Event,
    partition: int | None = None,
) -> Delivery:
    """Hands over one event, on its key's partition unless told otherwise; `flush` checks it.

    Raises TooLarge for an event whose record nobody would read, and what `send` raises.
    """
    t = topic(topic_name)
    key = t.key(event)
    if partition is None:
        partition = partition_of(key, t.partitions)
    value = codec.encode(topic_name, event)
    return producer.send(topic_name, value, key=key.encode(), partition=partition)


def take(
    consumer: Consumer,
    most: int,
    timeout_s: float,
    ended: dict[Place, int] | None = None,
    *,
    patient: bool = False,
) -> dict[Place, list[RawRecord]]:
    """Available records, by place and in order: waits for the first record, not for `most`.

    `patient` waits the whole time for `most`: fewer turns where latency does not matter. Ends that
    a consumer of `TO_THE_END` reaches are noted in `ended`. Raises KafkaException for the library's
    fatal errors; logs others, which the library retries.
    """
    messages: list[Message] = []
    if patient:
        messages = consumer.consume(most, timeout_s)
    elif (first := consumer.poll(timeout_s)) is not None:
        messages = [first, *(consumer.consume(most - 1, 0) if most > 1 else ())]
    found: dict[Place, list[RawRecord]] = {}
    for m in messages:
        error = m.error()
        if error is None:
            place = _known(m.topic()), _known(m.partition())
            record = RawRecord(*place, _known(m.offset()), m.timestamp()[1], m.key(), m.value())
            found.setdefault(place, []).append(record)
        elif error.code() == KafkaError._PARTITION_EOF:
            if ended is not None:
                ended[_known(m.topic()), _known(m.partition())] = _known(m.offset())
        elif error.fatal() or error.code() == KafkaError._FATAL:
            raise KafkaException(error)  # as the latter a consumer is told, once
        else:
            _logger.warning("reading is disturbed: %s", error.str())
    return found


def between(
    consumer: Consumer,
    begins: Mapping[Place, int],
    ends: Mapping[Place, int],
    most: int = AT_ONCE,
) -> Generator[dict[Place, list[RawRecord]]]:
    """All records from `begins` to before `ends`, as they come; the consumer is `TO_THE_END`.

    Offsets without a record, by compaction, retention or transactions, are not waited for. Raises
    KafkaException when nothing comes for `SILENCE_S`.
    """
    left = {place: end for place, end in ends.items() if begins[place] < end}
    consumer.assign([TopicPartition(*place, begins[place]) for place in left])
    reached: dict[Place, int] = {}
    heard_s = time.monotonic()
    while left:
        inside: dict[Place, list[RawRecord]] = {}
        polled = take(consumer, most, _POLL_S, reached)
        for place, records in polled.items():
            end = left.get(place, 0)
            if records[-1].offset >= end - 1:
                records = [r for r in records if r.offset < end]  # noqa: PLW2901 # of the last read
                reached[place] = end
            if records:
                inside[place] = records
        over = [place for place, end in left.items() if reached.get(place, 0) >= end]
        if over:
            consumer.incremental_unassign([TopicPartition(*place) for place in over])
            left = {place: end for place, end in left.items() if place not in over}
        if inside:
            yield inside
        if inside or over:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > SILENCE_S:
            silent = ", ".join(f"{name}[{number}]" for name, number in sorted(left))
            why = f"nothing came for {SILENCE_S:.0f} s from {silent}"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, why))
    consumer.unassign()


def first_between(consumer: Consumer, place: Place, begin: int, end: int) -> int | None:
    """Offset of the first record of a stretch; None in a hole: transaction markers, aborted
    records, or what retention and compaction have removed.

    The consumer is `TO_THE_END`, and is left without partitions. Raises KafkaException.
    """
    begin = max(begin, begins_of(consumer, [place])[place])
    polls = between(consumer, {place: begin}, {place: end}, 1)
    try:
        return next((polled[place][0].offset for polled in polls), None)
    finally:
        polls.close()
        consumer.unassign()


def read(
    config: Settings,
    topic_name: str,
    *,
    partitions: Iterable[int] | None = None,
    from_beginning: bool = True,
    follow: bool = False,
    client_id: str = "ringlog-read",
) -> Iterator[RawRecord]:
    """Records of a topic, in the order of each partition.

    Without `follow` it ends where the log ended when it began.
    """
    wanted = range(topic(topic_name).partitions) if partitions is None else partitions
    places = [(topic_name, number) for number in wanted]
    with closing(consumer_of(config, client_id, **TO_THE_END)) as consumer:
        ends = ends_of(consumer, places)
        begins = begins_of(consumer, places) if from_beginning else ends
        if follow:
            consumer.assign([TopicPartition(*place, begin) for place, begin in begins.items()])
            while True:
                for records in take(consumer, AT_ONCE, _POLL_S).values():
                    yield from records
        for polled in between(consumer, begins, ends):
            for records in polled.values():
                yield from records


def partitions_of(consumer: Consumer, topic_name: str) -> list[int]:
    """Numbers of a topic's partitions, none when there is no such topic; raises KafkaException."""
    found = consumer.list_topics(topic_name, ANSWER_S).topics.get(topic_name)
    return sorted(found.partitions) if found is not None and found.error is None else []


def begins_of(consumer: Consumer, places: Iterable[Place]) -> dict[Place, int]:
    """Offsets of the oldest records; raises KafkaException."""
    return _offsets(consumer, list(places), OFFSET_BEGINNING)


def ends_of(consumer: Consumer, places: Iterable[Place]) -> dict[Place, int]:
    """Offsets behind the newest records; raises KafkaException."""
    return _offsets(consumer, list(places), OFFSET_END)


def offsets_since(
    consumer: Consumer, places: Iterable[Place], since_ms: int
) -> dict[Place, int | None]:
    """Offsets of the first records that are not older, by Kafka's time; None where none is.

    Raises KafkaException.
    """
    found = _offsets(consumer, list(places), max(0, since_ms))
    return {place: offset if offset >= 0 else None for place, offset in found.items()}


def commit(consumer: Consumer, offsets: Iterable[TopicPartition]) -> None:
    """Commits and waits for the answer; raises KafkaException, also when one offset is refused."""
    for tp in consumer.commit(offsets=list(offsets), asynchronous=False):
        if tp.error is not None:
            raise KafkaException(tp.error)


def committed(consumer: Consumer, places: Iterable[Place]) -> dict[Place, TopicPartition]:
    """The group's offsets, negative where there is none; raises KafkaException."""
    found = consumer.committed([TopicPartition(*place) for place in places], ANSWER_S)
    for tp in found:
        if tp.error is not None:
            raise KafkaException(tp.error)
    return {(tp.topic, tp.partition): tp for tp in found}


def code_of(error: KafkaException) -> int | None:
    """One of KafkaError's codes; None for an error of ours."""
    cause = error.args[0] if error.args else None
    return cause.code() if isinstance(cause, KafkaError) else None


def reason(error: KafkaException) -> str:
    """The error's text for people."""
    cause = error.args[0] if error.args else None
    return cause.str() if isinstance(cause, KafkaError) else str(error)


def _connection(config: Settings, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": config.kafka_bootstrap,
        "client.id": client_id,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "socket.nagle.disable": True,
        "log.connection.close": False,  # a broker hangs up on idle clients
    }


def _passes(error: BaseException) -> bool:
    """Whether a retry may help: leaders change when a broker restarts."""
    return isinstance(error, KafkaException) and code_of(error) in _PASSING


@retry(
    retry=retry_if_exception(_passes),
    stop=stop_after_delay(ANSWER_S),
    wait=wait_fixed(0.2),
    reraise=True,
)
def _offsets(consumer: Consumer, places: list[Place], at: int) -> dict[Place, int]:
    """Kafka's ListOffsets for all places in one question: a time, or the beginning or the end,
    which the protocol gives as the times -2 and -1."""
    asked = [TopicPartition(*place, at) for place in places]
    found = consumer.offsets_for_times(asked, ANSWER_S) if asked else []
    for tp in found:
        if tp.error is not None:
            raise KafkaException(tp.error)
    return {(tp.topic, tp.partition): tp.offset for tp in found}


def _refused(topic_name: str, value: bytes | None, error: KafkaException) -> DeliveryFailed:
    if code_of(error) == KafkaError.MSG_SIZE_TOO_LARGE:
        return DeliveryFailed(f"{topic_name}: a record of {len(value or b'')} bytes is too large")
    return DeliveryFailed(f"{topic_name}: {reason(error)}")


def _known(value: _T | None) -> _T:
    assert value is not None  # every record has it; the library's types say otherwise
    return value
