"""Finds holes: offsets of a partition without a readable record (transaction markers, aborted
records, what retention or compaction removed).

Faust cannot tell a hole from records that it has thrown away, so we ask the log.
"""

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings

_AT_ONCE = 2_000
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The offsets of all records from `begin` to before `end`, in order."""

    begin: int
    end: int
    offsets: tuple[int, ...]

    def tells(self, begin: int, end: int) -> bool:
        """Whether it knows the first record from `begin` to before `end`."""
        return self.begin <= begin and (end <= self.end or self.first(begin) is not None)

    def first(self, begin: int) -> int | None:
        at = bisect_left(self.offsets, begin)
        return self.offsets[at] if at < len(self.offsets) else None


class Holes:
    """Asks the log with a consumer of its own. What was read last of each partition is kept, so
    that many small transactions one after another do not cost a read each."""

    def __init__(self, config: Settings) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=config.kafka_bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=ISOLATION,
            fetch_max_wait_ms=20,
            request_timeout_ms=10_000,
        )
        self._one = asyncio.Lock()
        self._known: dict[TopicPartition, _Stretch] = {}

    async def start(self) -> None:
        """Connects; raises KafkaError."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def first_between(self, topic: str, partition: int, begin: int, end: int) -> int | None:
        """Offset of the first record from `begin` to before `end`, None in a hole.

        `end` lies no later than where the partition ends. Raises KafkaError.
        """
        tp = TopicPartition(topic, partition)
        async with self._one:
            known = self._known.get(tp)
            if known is None or not known.tells(begin, end):
                known = self._known[tp] = await self._read(tp, begin, end)
        first = known.first(begin)
        return first if first is not None and first < end else None

    async def _read(self, tp: TopicPartition, begin: int, end: int) -> _Stretch:
        self._consumer.assign([tp])
        self._consumer.seek(tp, begin)
        offsets: list[int] = []
        give_up_s = time.monotonic() + _ANSWER_S
        position = begin
        while not offsets and position < end:
            if time.monotonic() > give_up_s:
                raise KafkaTimeoutError(f"{tp.topic}[{tp.partition}] is not read from {begin} on")
            polled = await self._consumer.getmany(timeout_ms=100, max_records=_AT_ONCE)
            offsets += [record.offset for record in polled.get(tp, ())]
            position = await self._consumer.position(tp)
        return _Stretch(begin, position, tuple(offsets))
