"""Producing events on asyncio: a send is over when the broker has acknowledged it."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer

from ringlog.kafka.codec import codec_of
from ringlog.kafka.dead_letters import dead_letter
from ringlog.metrics import DEAD_LETTERS
from ringlog.settings import Settings
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.partition import partition_of
from schemas.wire import Codec


class EventProducer:
    """One idempotent producer. `send` returns (partition, offset) after acknowledgement."""

    def __init__(self, config: Settings, service: str, codec: Codec | None = None) -> None:
        self.service = service
        self.codec = codec or codec_of(config)
        self._bootstrap = config.kafka_bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connects; raises KafkaConnectionError."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self.service,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            retry_backoff_ms=20,
            metadata_max_age_ms=30_000,
            request_timeout_ms=10_000,
            max_request_size=2_097_152,
        )
        await self._producer.start()

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

    async def queue(
        self, topic_name: str, event: Event, partition: int | None = None
    ) -> "asyncio.Future[object]":
        """Hands a record over in order; the future is its acknowledgement."""
        assert self._producer is not None, "start() first"
        t = topic(topic_name)
        key = t.key(event)
        if partition is None:
            partition = partition_of(key, t.partitions)
        value = self.codec.encode(topic_name, event)
        future: asyncio.Future[object] = await self._producer.send(
            topic_name, value=value, key=key.encode(), partition=partition
        )
        return future

    async def send(
        self, topic_name: str, event: Event, partition: int | None = None
    ) -> tuple[int, int]:
        """Produces one event and waits until the broker has it; raises KafkaError."""
        done = await (await self.queue(topic_name, event, partition))
        return done.partition, done.offset  # type: ignore[attr-defined] # RecordMetadata, untyped

    async def send_all(self, records: Iterable[tuple[str, Event]]) -> None:
        """Produces many, in order, and waits until the broker has all of them."""
        futures = [await self.queue(name, event) for name, event in records]
        await asyncio.gather(*futures)

    async def dead(
        self, source: str, partition: int, offset: int, why: str, raw: bytes | None, at_ms: int
    ) -> None:
        """Sends a record that could not be read to `dead_letters`."""
        letter = dead_letter(self.service, source, partition, offset, why, raw, at_ms)
        await self.send("dead_letters", letter)
        DEAD_LETTERS.labels(source).inc()
