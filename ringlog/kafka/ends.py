"""Where partitions end, asked on a connection of its own."""

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings


class Ends:
    """Asks where partitions end, on a connection that no long poll blocks."""

    def __init__(self, config: Settings, client_id: str, tps: Iterable[TopicPartition]) -> None:
        self._tps = list(tps)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=config.kafka_bootstrap,
            client_id=client_id,
            group_id=None,
            enable_auto_commit=False,
            isolation_level=ISOLATION,
            request_timeout_ms=10_000,
        )

    async def start(self) -> None:
        """Connects, and learns who leads the partitions: a tenth of a second for each topic."""
        await self._consumer.start()
        await self.now()

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def now(self) -> dict[TopicPartition, int]:
        """The next offset to be written of each partition; raises KafkaError."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._tps)
        return ends
