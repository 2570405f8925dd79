"""Reading whole partitions without a group: fold up to the end, then follow.

For state that is rebuilt from the log at every start: the edge, the robot workers, the API.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndTimestamp

from ringlog.clock import now_ms
from ringlog.kafka.codec import decode
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings
from schemas.catalogue import Topic, topic
from schemas.envelope import Event
from schemas.partition import partition_of
from schemas.wire import Poison


@dataclass(frozen=True, slots=True)
class Received:
    """One event as read. `timestamp_ms` is Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    event: Event


Wants = Callable[[str, bytes | None, str], bool]
"""Whether a record is of interest: topic, key, kind."""

BEGINNING = 0
"""`since_ms` that reads everything."""


class TopicReader:
    """Reads all partitions of some topics from a time on.

    `async for batch in reader.batches()` yields events in the order of each partition; poison goes
    to `dead_letters`. `caught_up` is set once everything present at the start was yielded and the
    caller asks for more.
    """

    def __init__(
        self,
        config: Settings,
        producer: EventProducer,
        topics: Iterable[str],
        *,
        since_ms: int | None = BEGINNING,
        back_ms: int | None = None,
        partitions: Iterable[int] | None = None,
        resume: Mapping[TopicPartition, int] | None = None,
        at_once: int = 2_000,
        fetch_max_wait_ms: int = 100,
        dead_letters: bool = True,
        wants: Wants | None = None,
    ) -> None:
        """`since_ms` None starts at the end, `back_ms` that long before the call of `start`;
        partitions in `resume` start at these offsets, which the log must have. Without
        `dead_letters` poison is passed over. A record that `wants` refuses is not decoded; it is
        asked where the kind can be told without. A batch has `at_once` records at most, which are
        decoded without a pause."""
        self._wants = wants
        self.dead_letters = dead_letters
        self.caught_up = asyncio.Event()
        self._busy = False  # a batch is being worked
        self._producer = producer
        self._since_ms = since_ms
        self._resume = dict(resume or {})
        self._at_once = at_once
        self._back_ms = back_ms
        wanted = None if partitions is None else set(partitions)
        self._tps = [
            TopicPartition(name, p)
            for name in topics
            for p in range(topic(name).partitions)
            if wanted is None or p in wanted
        ]
        self._ends: dict[TopicPartition, int] = {}
        self._left: set[TopicPartition] = set()
        self._polled: dict[TopicPartition, tuple[int, int]] = {}
        self.done: dict[TopicPartition, tuple[int, int]] = {}
        """By partition the next offset, and Kafka's time of the record before it, once that was
        yielded and the caller asks for more; a partition of which nothing came is absent."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=config.kafka_bootstrap,
            client_id=producer.service,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=ISOLATION,
            fetch_max_wait_ms=fetch_max_wait_ms,
            metadata_max_age_ms=30_000,
            request_timeout_ms=10_000,
            check_crcs=False,
        )

    async def start(self) -> None:
        """Finds the ends and seeks to the start; call before `batches`."""
        await self._consumer.start()
        self._consumer.assign(self._tps)
        # The ends are asked before the first fetch: later, the question waits behind a long poll.
        self._ends = await self._consumer.end_offsets(self._tps)
        begins = await self._consumer.beginning_offsets(self._tps)
        at = dict(begins)
        since_ms = self._since_ms if self._back_ms is None else now_ms() - self._back_ms
        if since_ms is None:
            at = dict(self._ends)
        elif since_ms > BEGINNING:
            found: dict[TopicPartition, OffsetAndTimestamp | None]
            found = await self._consumer.offsets_for_times(dict.fromkeys(self._tps, since_ms))
            at = {tp: self._ends[tp] if o is None else o.offset for tp, o in found.items()}
        at |= {tp: offset for tp, offset in self._resume.items() if tp in at}
        for tp in self._tps:
            self._consumer.seek(tp, at[tp])
        self._left = {tp for tp in self._tps if at[tp] < self._ends[tp]}

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def batches(self) -> AsyncGenerator[list[Received], None]:
        """Events as they come; ends never, cancel it."""
        while True:
            self._busy = False
            self.done.update(self._polled)
            self._polled = {}
            await self._read_on()
            await self._look_at_ends()
            polled = await self._consumer.getmany(timeout_ms=200, max_records=self._at_once)
            self._busy = True
            batch: list[Received] = []
            for tp, records in polled.items():
                self._polled[tp] = records[-1].offset + 1, records[-1].timestamp
                for record in records:
                    event = await self._decode(tp, record)
                    if event is not None:
                        batch.append(
                            Received(tp.topic, tp.partition, record.offset, record.timestamp, event)
                        )
            if batch:
                yield batch

    @property
    def places(self) -> list[TopicPartition]:
        """The partitions that are read."""
        return list(self._tps)

    @property
    def behind(self) -> set[TopicPartition]:
        """Partitions of which records that were there at the start are not yielded yet."""
        return set(self._left)

    async def reach(self, ends: Mapping[TopicPartition, int]) -> None:
        """Waits until all records before these offsets were yielded and the caller asks for
        more."""
        self._ends.update(ends)
        self._left.update(ends)
        self.caught_up.clear()
        if not self._busy:
            await self._look_at_ends()
        await self.caught_up.wait()

    async def _read_on(self) -> None:
        """For subclasses: everything that was yielded is processed."""

    async def _look_at_ends(self) -> None:
        """All records before the consumer's positions were yielded and processed. Positions also
        pass transaction markers, which are not records."""
        for tp in tuple(self._left):
            if await self._consumer.position(tp) >= self._ends[tp]:
                self._left.discard(tp)
        if not self._left:
            self.caught_up.set()

    async def _decode(self, tp: TopicPartition, record: object) -> Event | None:
        value: bytes | None = record.value  # type: ignore[attr-defined] # ConsumerRecord, untyped
        offset: int = record.offset  # type: ignore[attr-defined] # as above
        at_ms: int = record.timestamp  # type: ignore[attr-defined] # as above
        t = topic(tp.topic)
        if value is None and t.compacted:
            return None  # a tombstone: compaction's, not ours
        if self._wants is not None:
            kind = self._producer.codec.kind_of(tp.topic, value)
            key: bytes | None = record.key  # type: ignore[attr-defined] # as above
            if kind is not None and not self._wants(tp.topic, key, kind):
                return None
        try:
            event = await decode(self._producer.codec, tp.topic, value)
            check_partition(tp.topic, event, tp.partition)
        except Poison as poison:
            if not self.dead_letters:
                return None
            await self._producer.dead(tp.topic, tp.partition, offset, str(poison), value, at_ms)
            return None
        return event


def check_partition(topic_name: str, event: Event, partition: int) -> None:
    """Raises Poison when a call's record is not on its call's partition."""
    check_call(topic(topic_name), event.kind, event.call_id, partition)


def check_call(t: Topic, kind: str, call_id: str | None, partition: int) -> None:
    """The same of a record that is not an event yet."""
    if not t.call_keyed or kind == "takeover":
        return  # the barrier is written to every partition
    if not call_id:
        raise Poison("no call_id")
    right = partition_of(call_id, t.partitions)
    if right != partition:
        raise Poison(f"call {call_id} belongs to partition {right}, not {partition}")
