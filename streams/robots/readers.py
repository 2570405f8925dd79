"""The worker's readers: leases with their freshness, and calls with their read positions."""

import time

from aiokafka import TopicPartition

from ringlog.kafka.reader import TopicReader


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
