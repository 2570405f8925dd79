"""The worker's readers: leases with their freshness, and calls with their read positions."""

import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from ringlog.kafka.reader import TopicReader
from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings


class LeaseReader(TopicReader):
    """Reads `robots.leases`; knows when the broker last answered."""

    _answer_ms: int | None = None
    _answered_at = 0.0

    def answered_ago(self) -> float:
        """Seconds since the broker answered a fetch, with records or without; ask it often.

        The library gives the answer's time of day; a change means that there was an answer, even if
        the clock was stepped.
        """
        at_ms = self._consumer.last_poll_timestamp(TopicPartition("robots.leases", 0))
        now = time.monotonic()
        if at_ms != self._answer_ms:
            self._answer_ms, self._answered_at = at_ms, now
        return float("inf") if at_ms is None else now - self._answered_at


class CallReader(TopicReader):
    """Reads the topics of calls; `read_to` is the next offset of each partition."""

    read_to: dict[TopicPartition, int]

    async def start(self) -> None:
        """Connects, and notes where each partition stands."""
        await super().start()
        # Not 0: a partition without records since then yields nothing to read.
        self.read_to = {tp: await self._consumer.position(tp) for tp in self._tps}

    async def _read_on(self) -> None:
        self.read_to = {tp: await self._consumer.position(tp) for tp in self._tps}

    def has_read(self, ends: dict[TopicPartition, int]) -> bool:
        """Whether everything before these offsets was read."""
        return all(self.read_to[tp] >= end for tp, end in ends.items())


class Ends:
    """Asks where partitions end, on a connection that no long poll blocks."""

    def __init__(self, config: Settings, client_id: str, tps: list[TopicPartition]) -> None:
        self._tps = tps
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
