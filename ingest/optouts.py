"""The do-not-call list, folded from the whole of `compliance.optouts`, read to its end on demand.

Fails closed: if the list cannot be read to its end, the answer is "unknown" and nobody is dialled.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ringlog import log
from ringlog.kafka.codec import decode
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings
from schemas.donotcall import DoNotCall
from schemas.events import OptOut
from schemas.wire import Poison

logger = log.logger("ringlog.ingest.optouts")

TOPIC: Final = "compliance.optouts"
PARTITION: Final = TopicPartition(TOPIC, 0)
READ_TIMEOUT_S: Final = 3.0


class OptOuts:
    """Follows the topic. One consumer reads, another asks for the end: on one consumer that
    question would wait behind a long poll."""

    def __init__(self, config: Settings, producer: EventProducer) -> None:
        self._config = config
        self._producer = producer
        self._list = DoNotCall()
        self._position = 0
        self._moved = asyncio.Condition()
        self._reader = self._consumer()
        self._asker = self._consumer()

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._config.kafka_bootstrap,
            client_id="edge-optouts",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=ISOLATION,
            fetch_max_wait_ms=100,
            metadata_max_age_ms=30_000,
            request_timeout_ms=5_000,
        )

    async def start(self) -> None:
        """Connects and seeks to the beginning; raises KafkaError."""
        await self._reader.start()
        await self._asker.start()
        self._reader.assign([PARTITION])
        begin = (await self._reader.beginning_offsets([PARTITION]))[PARTITION]
        self._reader.seek(PARTITION, begin)
        self._position = begin

    async def stop(self) -> None:
        """Disconnects."""
        await self._reader.stop()
        await self._asker.stop()

    async def run(self) -> None:
        """Follows the topic for ever."""
        while True:
            polled = await self._reader.getmany(timeout_ms=500)
            for record in polled.get(PARTITION, []):
                try:
                    if record.value is None:
                        continue  # a tombstone
                    event = await decode(self._producer.codec, TOPIC, record.value)
                except Poison as poison:
                    # It may be somebody's opt-out, so this is an error, not a warning.
                    logger.error("unreadable opt-out", offset=record.offset, reason=str(poison))
                    await self._producer.dead(
                        TOPIC, 0, record.offset, str(poison), record.value, record.timestamp
                    )
                    continue
                assert isinstance(event, OptOut)
                self._list.evolve(event)
            position = await self._reader.position(PARTITION)
            if position != self._position:
                async with self._moved:
                    self._position = position
                    self._moved.notify_all()

    async def caught_up(self) -> int:
        """Reads to the end as it is now; returns that offset. Raises KafkaError, TimeoutError."""
        end: int = (await self._asker.end_offsets([PARTITION]))[PARTITION]
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= end)
        return self._position

    async def look_up(
        self, hashes: Iterable[str], tenant_id: str, campaign_id: str | None
    ) -> tuple[bool | None, int | None]:
        """(opted out, offset read to); (None, None) when the list could not be read to its end."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                offset = await self.caught_up()
        except (TimeoutError, KafkaError) as error:
            logger.error("do-not-call list unreadable", error=f"{type(error).__name__}: {error}")
            return None, None
        return self._list.barred(hashes, tenant_id, campaign_id), offset
