"""A consumer group's progress: lag as a metric, an alarm for a stuck partition, and whether all
records up to given ends are done.
"""

import time
from collections.abc import Collection, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ringlog.kafka.sync import ISOLATION
from ringlog.metrics import CONSUMER_LAG
from ringlog.settings import Settings
from schemas.catalogue import topic
from streams.holes import Holes


class Stuck(Exception):
    """A consumer makes no progress; a new process will."""


class Progress:
    """Asks the broker about one group. All methods raise KafkaError."""

    def __init__(
        self,
        config: Settings,
        group: str,
        topics: Iterable[str],
        holes: Holes,
        stuck_s: float = 60.0,
    ) -> None:
        self._group = group
        self._holes = holes
        self._topics = list(topics)
        self._stuck_s = stuck_s
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._admin = AIOKafkaAdminClient(bootstrap_servers=config.kafka_bootstrap)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=config.kafka_bootstrap,
            group_id=None,
            enable_auto_commit=False,
            isolation_level=ISOLATION,
        )

    async def start(self) -> None:
        """Connects."""
        await self._admin.start()
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._admin.close()
        await self._consumer.stop()

    async def ends(self, topic_name: str) -> dict[TopicPartition, int]:
        """The end offset of every partition of a topic now."""
        tps = [TopicPartition(topic_name, p) for p in range(topic(topic_name).partitions)]
        found: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        return found

    async def committed(self) -> dict[TopicPartition, int]:
        """The next offset of every partition that the group has committed anything of."""
        found = await self._admin.list_consumer_group_offsets(self._group)
        return {tp: at.offset for tp, at in found.items() if at.offset >= 0}

    async def reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether the group has done everything before those ends."""
        done = await self.committed()
        for tp, end in ends.items():
            if (at := done.get(tp, 0)) < end and not await self._hole(tp, at, end):
                return False
        return True

    async def _hole(self, tp: TopicPartition, begin: int, end: int) -> bool:
        return await self._holes.first_between(tp.topic, tp.partition, begin, end) is None

    async def check(
        self, mine: Mapping[str, set[int]], paused: Collection[str] = ()
    ) -> dict[tuple[str, int], int]:
        """Sets the lag metric; gives the ends of partitions of ours that have nothing but a hole
        before them, and raises Stuck when one waits and does not move.

        A topic that we have `paused` ourselves is not stuck.
        """
        done = await self.committed()
        over: dict[tuple[str, int], int] = {}
        now = time.monotonic()
        for name in self._topics:
            lag = 0
            for tp, end in (await self.ends(name)).items():
                at = done.get(tp, 0)
                before, since = self._since.get(tp, (-1, now))
                waits = at < end and tp.partition in mine.get(name, ())
                if waits and at == before and await self._hole(tp, at, end):
                    over[tp.topic, tp.partition] = end
                    waits = False
                else:
                    lag += max(0, end - at)
                if at != before or not waits or name in paused:
                    self._since[tp] = (at, now)
                elif now - since > self._stuck_s:
                    raise Stuck(f"{tp.topic}[{tp.partition}] stands at {at} of {end}")
            CONSUMER_LAG.labels(name, self._group).set(lag)
        return over
