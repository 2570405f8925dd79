"""Parts of Faust 0.15 that we replace, each with the fault it mends.

- `KeyedTable`: a row belongs to the partition of its key, not to that of whichever event was last,
  and its changelog record can be waited for.
- `FencedEvent`: Faust acknowledges events that it throws away in a rebalance, and while it starts.
- `SteadyConsumer`: a fetch that began before a rebalance and ended after it brings records from
  behind the place that was sought; Faust then takes what lies between for a gap in the log, skips
  it and in the end commits past it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from ringlog import log
from ringlog.kafka.sync import ISOLATION
from schemas.catalogue import CALL_PARTITIONS, TOPICS
from schemas.partition import partition_of
from streams.holes import Holes

logger = log.logger("streams.faust")


class KeyedTable(faust.Table[str, str]):
    """A table whose rows belong to the partition of what `owner_of` finds in their key, and whose
    changelog writes can be waited for. Keys and values are text."""

    owner_of: Callable[[str], str] = staticmethod(lambda key: key)

    def partition_for_key(self, key: str) -> int:
        """By the contract's partitioner, as the records that the row is folded from."""
        return partition_of(self.owner_of(key), CALL_PARTITIONS)

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        """As Faust's; keeps the promise for `written`."""
        promise = super().send_changelog(*args, **kwargs)
        self.__dict__.setdefault("promises", []).append(promise)
        return promise

    async def written(self) -> None:
        """Waits until the broker has every row set or deleted so far; raises KafkaError."""
        promises, self.__dict__["promises"] = self.__dict__.get("promises", []), []
        await asyncio.gather(*promises)


class FencedEvent(faust.Event):
    """An event that counts as done only when we say so, and only in the generation in which it was
    fetched: Faust acknowledges by itself what it throws away unread."""

    def ack(self) -> bool:
        """Called by Faust when it throws the event away unprocessed."""
        return False

    def done(self) -> None:
        """The event was processed."""
        if self.message.generation_id == self.app.consumer_generation_id:
            super().ack()


class CommittedThread(AIOKafkaConsumerThread):
    """Reads of transactions only what is committed, which Faust does only in its exactly-once
    mode."""

    def _create_worker_consumer(self, transport: Transport) -> Any:
        made = super()._create_worker_consumer(transport)
        made._isolation_level = ISOLATION
        return made


class SteadyConsumer(Consumer):
    """A consumer that hands on the records of a partition in order, none left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun: dict[Any, int] = {}
        """Committed offsets with which partitions were begun."""
        self._next: dict[Any, int] = {}
        self._asked_again: dict[Any, int] = {}

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """As Faust's; notes the offset that every partition now has to go on with."""
        await super().perform_seek()
        self._next = {tp: at for tp, at in self._read_offset.items() if at and dense(tp.topic)}
        self.begun = dict(self._next)

    async def back(self, tp: Any, offset: int) -> None:
        """Reads a partition again from an offset on."""
        self._next[tp] = offset
        self._asked_again.pop(tp, None)
        await self.seek(tp, offset)

    async def pass_over(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Commits offsets after which no record is left: only a hole precedes them."""
        await self.maybe_wait_for_commit_to_finish()
        ours = {(tp.topic, tp.partition): tp for tp in self.assignment()}
        over = {ours[place]: end for place, end in ends.items() if place in ours}
        ahead = {tp: end for tp, end in over.items() if (self._committed_offset[tp] or 0) < end}
        if ahead:
            await self._commit_offsets(ahead, start_new_transaction=False)

    async def _is_hole(self, tp: Any, begin: int, end: int) -> bool:
        holes = cast(SteadyApp, self.app).holes
        try:
            return await holes.first_between(tp.topic, tp.partition, begin, end) is None
        except KafkaError as error:
            logger.warning("cannot tell a hole from missing records", why=str(error))
            return False

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        """As Faust's; where records are missing, it goes back to them instead.

        If they still do not come, it accepts the second answer.
        """
        left: set[Any] = set()
        async for tp, message in super().getmany(timeout):
            if tp in left:
                continue
            expected = self._next.get(tp)
            ahead = expected is not None and message.offset > expected
            if (
                expected is not None
                and ahead
                and self._asked_again.get(tp) != expected
                and not await self._is_hole(tp, expected, message.offset)
            ):
                logger.info(
                    "records came out of order", topic=tp.topic, partition=tp.partition,
                    expected=expected, found=message.offset,
                )  # fmt: skip
                self._asked_again[tp] = expected
                left.add(tp)
                await self.seek(tp, expected)
                continue
            if dense(tp.topic):
                self._next[tp] = message.offset + 1
            yield tp, message


def dense(topic_name: str) -> bool:
    """Whether a hole in the offsets of a topic is rare: it is ours, and not compacted."""
    found = TOPICS.get(topic_name)
    return found is not None and not found.compacted


class SteadyTransport(Transport):
    """Kafka, with that consumer."""

    Consumer = SteadyConsumer


class SteadyApp(faust.App):
    """A Faust application on that transport. `holes` is to be set before it starts."""

    holes: Holes

    def _new_transport(self) -> Any:
        return SteadyTransport(self.conf.broker_consumer, self)
