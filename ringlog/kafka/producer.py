"""Producing events on asyncio: a send is over when the broker has acknowledged it.

Acknowledgements carry the broker's time, which corrects this process's clock.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from ringlog.kafka import broker_time
from ringlog.kafka.codec import codec_of
from ringlog.kafka.dead_letters import dead_letter
from ringlog.metrics import DEAD_LETTERS
from ringlog.settings import Settings
from schemas.catalogue import KAFKA_MESSAGE_BYTES, topic
from schemas.envelope import Event
from schemas.partition import partition_of
from schemas.wire import Codec

_APPEND_TIME = 1
_ASK_TIME_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record as it goes to the broker."""

    topic: str
    partition: int
    key: bytes
    value: bytes


class EventProducer:
    """One idempotent producer. `send` returns (partition, offset) after acknowledgement.

    Every method that takes an event raises TooLarge if readers would refuse its record. A caller
    that knows the causing record calls `outgoing` first and sends that record to `dead_letters`.
    """

    def __init__(self, config: Settings, service: str, codec: Codec | None = None) -> None:
        self.service = service
        self.codec = codec or codec_of(config)
        self._bootstrap = config.kafka_bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._asked_ns = 0

    async def start(self) -> None:
        """Connects; raises KafkaConnectionError."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self.service,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            metadata_max_age_ms=30_000,
            request_timeout_ms=10_000,
            max_request_size=KAFKA_MESSAGE_BYTES,
        )
        await self._producer.start()

    async def announce(self) -> None:
        """Reports that this service has started, and sets the clock by the answer; raises
        KafkaError.

        Call it before any decision by time.
        """
        name, partition = broker_time.ANNOUNCED
        await self.send(name, broker_time.started(self.service), partition)

    async def stop(self) -> None:
        """Flushes and disconnects."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def outgoing(self, topic_name: str, event: Event, partition: int | None = None) -> Outgoing:
        """The record of an event, on its key's partition unless told otherwise; raises TooLarge."""
        t = topic(topic_name)
        key = t.key(event)
        if partition is None:
            partition = partition_of(key, t.partitions)
        return Outgoing(topic_name, partition, key.encode(), self.codec.encode(topic_name, event))

    async def queue(
        self, topic_name: str, event: Event, partition: int | None = None
    ) -> "asyncio.Future[object]":
        """Hands a record over in order; the future is its acknowledgement."""
        return await self._queue(self.outgoing(topic_name, event, partition))

    async def _queue(self, record: Outgoing) -> "asyncio.Future[object]":
        assert self._producer is not None, "start() first"
        sent_ns = time.monotonic_ns()
        future: asyncio.Future[object] = await self._producer.send(
            record.topic, value=record.value, key=record.key, partition=record.partition
        )
        self._learn_time(future, sent_ns)
        return future

    def _learn_time(self, acknowledged: "asyncio.Future[Any]", sent_ns: int) -> None:
        if sent_ns - self._asked_ns >= _ASK_TIME_NS:
            self._asked_ns = sent_ns
            acknowledged.add_done_callback(partial(_set_clock, sent_ns))

    async def send(
        self, topic_name: str, event: Event, partition: int | None = None
    ) -> tuple[int, int]:
        """Produces one event and waits until the broker has it; raises KafkaError."""
        done = await (await self.queue(topic_name, event, partition))
        return done.partition, done.offset  # type: ignore[attr-defined] # RecordMetadata, untyped

    async def send_all(self, records: Iterable[tuple[str, Event]]) -> None:
        """Produces many, in order, and waits until the broker has all of them."""
        await self.send_outgoing([self.outgoing(name, event) for name, event in records])

    async def send_outgoing(self, records: Iterable[Outgoing]) -> None:
        """Produces records that are ready, in order, and waits until the broker has all of them;
        raises KafkaError."""
        await asyncio.gather(*[await self._queue(record) for record in records])

    async def send_in_order(self, records: Iterable[Outgoing]) -> None:
        """Produces records that are ready and waits until the broker has all of them; raises
        KafkaError.

        A partition takes a batch whole or not at all, and is given the next one only then. So who
        sends everything again after an error repeats records, but turns none round.
        """
        assert self._producer is not None, "start() first"
        waiting: dict[tuple[str, int], deque[Outgoing]] = {}
        for record in records:
            waiting.setdefault((record.topic, record.partition), deque()).append(record)
        while waiting:
            sent = []
            for place, rest in list(waiting.items()):
                batch = self._producer.create_batch()
                while rest and _fits(batch, rest[0]):
                    rest.popleft()
                if not rest:
                    del waiting[place]
                sent_ns = time.monotonic_ns()
                sent.append(await self._producer.send_batch(batch, place[0], partition=place[1]))
                self._learn_time(sent[-1], sent_ns)
            for done in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(done, BaseException):
                    raise done

    async def dead(
        self, source: str, partition: int, offset: int, why: str, raw: bytes | None, at_ms: int
    ) -> None:
        """Sends a record that could not be read to `dead_letters`."""
        letter = dead_letter(self.service, source, partition, offset, why, raw, at_ms)
        await self.send("dead_letters", letter)
        DEAD_LETTERS.labels(source).inc()


def _fits(batch: BatchBuilder, record: Outgoing) -> bool:
    """Whether it is in the batch now; an empty batch takes any record."""
    added = batch.append(key=record.key, value=record.value, timestamp=None)
    return added is not None


def _set_clock(sent_ns: int, acknowledged: "asyncio.Future[Any]") -> None:
    if acknowledged.cancelled() or acknowledged.exception() is not None:
        return
    record = acknowledged.result()
    if record.timestamp_type == _APPEND_TIME:
        broker_time.set_clock(record.timestamp, sent_ns)
