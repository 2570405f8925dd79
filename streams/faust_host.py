"""What processors on Faust share: embedding, acknowledged work, dead letters, a table, progress.

Faust brings partitions, order within each, offsets and a table with its changelog. The rest is
ours, because of how Faust 0.15 behaves: a send that is not awaited to its acknowledgement is lost
in a crash, so records go out by our own producer; a record that cannot be decoded would stop its
agent, so topics are read as bytes; a table's row belongs to the partition of its key, not to that
of whichever event was last.

The order of work is: outputs acknowledged, then rows, then their acknowledgement, then the offset.
A crash between any two repeats work whose outputs have the same ids.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from ringlog import log
from ringlog.health import NotRebuilt
from ringlog.kafka.codec import decode
from ringlog.kafka.dead_letters import TOO_LARGE
from ringlog.kafka.producer import EventProducer, Outgoing
from ringlog.kafka.reader import check_partition
from ringlog.kafka.replay import TableAway
from ringlog.lifecycle import Lifecycle
from schemas.catalogue import CALL_PARTITIONS, KAFKA_MESSAGE_BYTES, topic
from schemas.envelope import Event
from schemas.registry import RegistryError
from schemas.wire import Poison, TooLarge
from streams.faust_parts import FencedEvent, KeyedTable, SteadyApp, SteadyConsumer, dense
from streams.holes import Holes
from streams.offset_order import OffsetOrder
from streams.progress import Progress, Stuck

# They log every start and every slow commit, which no operator needs.
for _chatty in ("mode.timers", "streams.faust_parts"):
    logging.getLogger(_chatty).setLevel(logging.ERROR)

MAX_BATCH = 500
STOP_S = 5.0
LITTLE = 1_000
"""Records for which a rebuild stops the work."""
MAX_PASSES = 20
"""Passes of a rebuild while the work goes on; a topic written faster than we read is paused
longer."""

Output = tuple[str, Event]


class FaustSettings(BaseSettings):
    """What a site may set about Faust (`RINGLOG_FAUST_*`)."""

    model_config = SettingsConfigDict(
        env_prefix="RINGLOG_FAUST_", env_file="ringlog.env", extra="ignore", frozen=True
    )

    session_timeout_s: float = Field(
        3.0,
        description="Silence after which a worker's partitions go to another, s; the broker's "
        "group.min.session.timeout.ms must allow it",
    )
    commit_interval_s: float = Field(0.3, description="How often offsets are committed, s")
    stuck_s: float = Field(
        60.0, description="A partition that waits this long without progress ends the process, s"
    )


@dataclass(slots=True)
class Record:
    """A record of a batch. `event` is None where it was poison, which is in `dead_letters` by now,
    or a tombstone. `done` is to be called in order, once everything that follows is safe."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    event: Event | None
    raw: bytes | None
    done: Callable[[], Any]


Handler = Callable[[list[Record]], Awaitable[None]]
Reread = Callable[[Mapping[int, int], Mapping[int, int] | None], None]
Found = dict[str, int]
"""The result of a rebuild."""


def _between(begins: Mapping[int, int], ends: Mapping[int, int]) -> int:
    """Records between offsets by partition."""
    return sum(max(0, end - begins.get(p, 0)) for p, end in ends.items())


class FaustHost:
    """One Faust application inside a service of ours."""

    def __init__(self, life: Lifecycle, app_id: str) -> None:
        self.life = life
        self.tuning = FaustSettings()
        self.producer = EventProducer(life.settings, life.service)
        self.log = log.logger(f"streams.{life.service}")
        self._topics: list[str] = []
        self._queues: dict[str, asyncio.Queue[Any]] = {}
        self._workers: list[tuple[str, Handler, float | None]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._forget: list[Callable[[], None]] = []
        self._busy: dict[str, asyncio.Lock] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._order = OffsetOrder()
        self._paused: set[str] = set()
        self._revocations = 0
        self._started = False
        self._before: list[Callable[[], Awaitable[None]]] = []
        brokers = life.settings.kafka_bootstrap.split(",")
        session_s = self.tuning.session_timeout_s
        datadir = life.settings.home / "faust" / app_id  # Faust wants one, although it stays empty
        datadir.mkdir(parents=True, exist_ok=True)
        self.app = SteadyApp(
            app_id,
            broker=[f"kafka://{address.strip()}" for address in brokers],
            store="memory://",
            datadir=str(datadir),
            web_enabled=False,
            autodiscover=False,
            Table=KeyedTable,
            Event=FencedEvent,
            topic_partitions=CALL_PARTITIONS,
            table_standby_replicas=0,
            stream_wait_empty=False,
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 4,
            broker_commit_interval=self.tuning.commit_interval_s,
            broker_max_poll_interval=600.0,
            consumer_auto_offset_reset="earliest",
            consumer_metadata_max_age_ms=30_000,
            producer_max_request_size=KAFKA_MESSAGE_BYTES,
            reply_create_topic=False,
        )

        self.app.on_partitions_revoked.connect(self._revoked, weak=False)
        self.app.on_partitions_assigned.connect(self._assigned, weak=False)

    def table(self, name: str, owner_of: Callable[[str], str]) -> KeyedTable:
        """A table of text, compacted on its changelog; rows of one owner share a partition."""
        made = cast(
            KeyedTable,
            self.app.Table(name, key_type=str, value_type=str, partitions=CALL_PARTITIONS),
        )
        made.owner_of = owner_of
        return made

    def consume(self, topic_name: str, handler: Handler, *, idle_s: float | None = None) -> None:
        """Calls `handler` with batches of a topic, in the order of each partition.

        The handler marks records as `done`. With `idle_s` it is called with an empty batch after
        that long without records.
        """
        source = self.app.topic(
            topic_name, key_type=bytes, value_type=bytes, key_serializer="raw",
            value_serializer="raw",
        )  # fmt: skip
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=2 * MAX_BATCH)

        async def forward(stream: Any) -> None:
            async for event in stream.noack().events():
                await queue.put((event, self._revocations))

        self.app.agent(source, name=f"{self.app.conf.id}.{topic_name}")(forward)
        self._topics.append(topic_name)
        self._queues[topic_name] = queue
        self._busy[topic_name] = asyncio.Lock()
        self._workers.append((topic_name, handler, idle_s))

    def route(self, topic_name: str, copies: Callable[[Event, int], Iterable[Output]]) -> None:
        """Copies a topic's events to where `copies(event, offset)` says; stateless, in order.

        An event for which it raises Poison, or whose copies are too large, goes to `dead_letters`.
        """

        async def handler(batch: list[Record]) -> None:
            outputs: list[Outgoing] = []
            for record in batch:
                try:
                    if record.event is not None:
                        outputs += self.outgoing(copies(record.event, record.offset))
                except Poison as poison:
                    await self.bury(record, poison)
            await self.producer.send_outgoing(outputs)
            for record in batch:
                record.done()

        self.consume(topic_name, handler)

    def outgoing(self, outputs: Iterable[Output]) -> list[Outgoing]:
        """The output records of one record; raises Poison if any is longer than readers accept, so
        that `bury` can name it."""
        try:
            return [self.producer.outgoing(name, event) for name, event in outputs]
        except TooLarge as why:
            raise Poison(f"{TOO_LARGE}: {why}") from None

    def before(self, step: Callable[[], Awaitable[None]]) -> None:
        """Adds a step that runs after the producer is up and before records come."""
        self._before.append(step)

    def on_revoked(self, forget: Callable[[], None]) -> None:
        """Calls `forget` when partitions were taken away: their state must be read again."""

        self._forget.append(forget)

    async def worked(self, topic_name: str) -> dict[int, int]:
        """The next offset to process of each of our partitions; raises KafkaError."""
        done = await self.progress.committed()
        return {
            p: max(self._next.get((topic_name, p), 0), done.get(TopicPartition(topic_name, p), 0))
            for p in self.partitions(topic_name)
        }

    @contextlib.asynccontextmanager
    async def paused(self, topic_name: str) -> AsyncIterator[dict[int, int]]:
        """Pauses the batches of a topic meanwhile; gives the offsets of `worked`."""
        async with self._busy[topic_name]:
            self._paused.add(topic_name)
            try:
                yield await self.worked(topic_name)
            finally:
                self._paused.discard(topic_name)

    async def refold(
        self, topic_name: str, read: Reread, put_right: Callable[[set[int]], Awaitable[Found]]
    ) -> Found:
        """Folds a second state of our partitions while the work goes on, and corrects what differs.

        `read(ends, begins)` blocks. It is called for everything processed so far, then repeatedly
        for what came meanwhile until that is little, and finally, with the work paused, for the
        rest. Then `put_right` is called with the partitions. Raises NotRebuilt.
        """
        generation = self.generation
        try:
            so_far = await self.worked(topic_name)
            await asyncio.to_thread(read, so_far, None)
            for _ in range(MAX_PASSES):
                now = await self.worked(topic_name)
                if now.keys() != so_far.keys() or _between(so_far, now) <= LITTLE:
                    break
                await asyncio.to_thread(read, now, so_far)
                so_far = now
            async with self.paused(topic_name) as worked:
                await asyncio.to_thread(read, worked, so_far)
                if self.generation != generation:
                    raise NotRebuilt("partitions came or went meanwhile; run it again")
                return await put_right(set(worked))
        except (TableAway, KafkaException, KafkaError, RegistryError) as error:
            raise NotRebuilt(str(error)) from None

    async def _revoked(self, *_: Any, **__: Any) -> None:
        self._revocations += 1
        self._next.clear()
        self._order = OffsetOrder()
        for forget in self._forget:
            forget()

    async def _assigned(self, *given: Any, **__: Any) -> None:
        # Acknowledgements from before the rebalance would count for the new assignment.
        consumer: Any = self.app.consumer
        for tp in given[1]:  # after the sender
            for kept in (consumer._acked, consumer._acked_index, consumer._gap):
                kept.pop(tp, None)

    @property
    def settled(self) -> bool:
        """Whether partitions are assigned and the table is read back."""
        app: Any = self.app
        return self._started and bool(
            app.consumer.assignment()
            and not app.rebalancing
            and not app.in_recovery
            and app.tables.recovery.completed.is_set()
        )

    @property
    def generation(self) -> tuple[int, int]:
        """Changes as soon as partitions are revoked, and when they are assigned again."""
        return self._revocations, int(self.app.consumer_generation_id)

    def partitions(self, topic_name: str) -> set[int]:
        """Partitions of a topic that are ours now."""
        return {tp.partition for tp in self.app.consumer.assignment() if tp.topic == topic_name}

    async def run(self) -> None:
        """Runs until the service is to stop; raises the cause of a failure."""
        life = self.life
        self.app.holes = self.holes = Holes(life.settings)
        self.progress = Progress(
            life.settings, self.app.conf.id, self._topics, self.holes, self.tuning.stuck_s
        )
        await life.learn(self.producer.codec)
        life.health.set_waiting("broker")
        await self.producer.start()
        await self.producer.announce()
        progress = self.progress
        try:
            await self.holes.start()
            await progress.start()
            for step in self._before:
                await step()
            life.health.set_waiting("partitions")
            await self.app.start()
            self._started = True
            for name, handler, idle_s in self._workers:
                self._tasks.append(life.spawn(self._work(name, handler, idle_s), name))
            self._tasks.append(life.spawn(self._watch(progress), "watch"))
            await life.until_stopped()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._stop()
            await progress.stop()
            await self.holes.stop()
            await self.producer.stop()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.app.stop()  # commits what is done

    async def _watch(self, progress: Progress) -> None:
        """Readiness, lag, and the end of a process whose consumer has died quietly."""
        checked = 0.0
        while True:
            await asyncio.sleep(0.1)
            app = self.app
            if app.crashed or app.should_stop:
                reason = getattr(app, "_crash_reason", None)
                raise Stuck(f"the consumer stopped: {reason!r}")
            if self.settled:
                self.life.health.set_ready()
            else:
                self.life.health.set_waiting("partitions or state")
            if time.monotonic() - checked >= 2.0:
                checked = time.monotonic()
                mine = {name: self.partitions(name) for name in self._topics}
                generation = self.generation
                try:
                    over = await progress.check(mine, self._paused)
                    if over and self.settled and self.generation == generation:
                        await cast(SteadyConsumer, app.consumer).pass_over(over)
                except KafkaError as error:
                    self.log.warning("lag not known", error=str(error))

    async def _work(self, name: str, handler: Handler, idle_s: float | None) -> None:
        queue = self._queues[name]
        while True:
            events: list[Any] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(idle_s):
                    events.append(await queue.get())
            while len(events) < MAX_BATCH and not queue.empty():
                events.append(queue.get_nowait())
            # What was fetched before a rebalance comes again to the new owner.
            generation = self.app.consumer_generation_id
            current = [
                event
                for event, at in events
                if at == self._revocations and event.message.generation_id == generation
            ]
            current = await self._in_turn(name, current)
            batch = [await self._record(name, event) for event in current]
            if not batch and idle_s is None:
                continue
            async with self._busy[name]:
                at = self._revocations
                await handler(batch)
                if at == self._revocations:
                    self._next.update({(name, r.partition): r.offset + 1 for r in batch})

    async def _in_turn(self, name: str, events: list[Any]) -> list[Any]:
        """The records that are next; reading goes back to one that was left out. Raises Stuck: the
        next process begins at what is committed."""
        if not dense(name):
            return events
        consumer, order = cast(SteadyConsumer, self.app.consumer), self._order
        found = []
        for event in events:
            tp, offset = event.message.tp, event.message.offset
            begun = consumer.begun.get(tp, 0)
            position = order.take(tp, offset, begun)
            if position == "ahead":
                expected = order.expected(tp, begun)
                if await self.holes.first_between(name, tp.partition, expected, offset) is None:
                    order.begins(tp, offset)
                    position = order.take(tp, offset, begun)
            if position == "next":
                found.append(event)
            elif position == "ahead":
                expected = order.expected(tp, begun)
                if order.asks(tp, expected, time.monotonic()):
                    self.log.info("asked for again", place=str(tp), expected=expected, found=offset)
                    await consumer.back(tp, expected)
        return found

    async def _record(self, name: str, event: Any) -> Record:
        message = event.message
        partition, offset, raw = message.partition, message.offset, event.value
        at_ms = round(message.timestamp * 1000)
        decoded = None
        if raw is not None or not topic(name).compacted:
            try:
                decoded = await decode(self.producer.codec, name, raw)
                check_partition(name, decoded, partition)
            except Poison as poison:
                decoded = None
                await self.producer.dead(name, partition, offset, str(poison), raw, at_ms)
        at = self._revocations

        def done() -> None:
            if at == self._revocations:
                event.done()

        return Record(name, partition, offset, at_ms, decoded, raw, done)

    async def bury(self, record: Record, why: Poison) -> None:
        """Sends a record whose content turned out unreadable to `dead_letters`."""
        at = (record.topic, record.partition, record.offset)
        await self.producer.dead(*at, str(why), record.raw, record.timestamp_ms)
