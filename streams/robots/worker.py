"""The host around dialogue and leadership: it reads, calls both, and writes their outputs."""

import asyncio
import os
import time
from collections.abc import Coroutine
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ringlog.clock import now_ms
from ringlog.kafka.dead_letters import TOO_LARGE
from ringlog.kafka.ends import Ends
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import TopicReader
from ringlog.lifecycle import Lifecycle
from ringlog.log import logger
from ringlog.metrics import DIRECTIVE_LATENCY, TAKEOVER
from schemas.catalogue import CALL_PARTITIONS
from schemas.events import Directive, Lease
from schemas.wire import TooLarge
from streams.robots import library, shard
from streams.robots.leadership import Action, Barrier, Beat, Leadership, Timing
from streams.robots.library import Library
from streams.robots.readers import CallReader, LeaseReader
from streams.robots.records import barrier_record, lease_record
from streams.robots.shard import LONGEST_CALL_MS, Pending, Shard, Undecidable, Work

SHARD = "robots/0"
TICK_S = 0.02
LEASES_BACK_MS = 10_000
_MOST_WAITING_BEATS = 5
_FORGET_EVERY_S = 30.0
_LAST_WORDS_S = 3.0
_AGAIN_S = 0.1

OUTAGE_S = 1.0
"""A broker that answers no fetch for this long is away; a healthy one answers within 0.1 s."""

HEARS_AFTER_MS = 4_000
"""How long after an outage the recogniser may need to catch up."""

log = logger("robots.worker")


def instance_of(service: str) -> str:
    """Name and process instance: `service.pid.start`, new with every start."""
    return f"{service}.{os.getpid()}.{time.time_ns() // 1_000_000:x}"


class Worker:
    """One robot worker of one shard: it speaks, or it follows and is ready to speak."""

    def __init__(
        self, life: Lifecycle, shard_name: str = SHARD, timing: Timing | None = None
    ) -> None:
        self.life = life
        self.name = instance_of(life.service)
        self.partitions = list(range(CALL_PARTITIONS))
        self.leadership = Leadership(shard_name, self.name, self.partitions, timing)
        self.library = Library()
        self.shard = Shard(self.library, life.service)
        self._producer = EventProducer(life.settings, life.service)
        self._writes: set[asyncio.Task[Any]] = set()
        self._beats = 0
        config, producer = life.settings, self._producer
        self._leases = LeaseReader(
            config,
            producer,
            ["robots.leases"],
            back_ms=LEASES_BACK_MS,
            fetch_max_wait_ms=int(self.leadership.timing.fetch_wait * 1000),
        )
        self._calls = CallReader(
            config,
            producer,
            shard.TOPICS,
            back_ms=LONGEST_CALL_MS,
            partitions=self.partitions,
        )
        self._settings = TopicReader(config, producer, library.TOPICS)
        tps = [TopicPartition(name, p) for name in shard.TOPICS for p in self.partitions]
        self._ends = Ends(config, life.service, tps)

    async def run(self) -> None:
        """Serves until the lifecycle stops."""
        life = self.life
        readers = (self._settings, self._calls, self._leases, self._ends)
        try:
            await life.learn(self._producer.codec)
            await self._producer.start()
            await self._producer.announce()
            for reader in readers:
                await reader.start()
            life.spawn(self._read_settings(), "settings")
            life.spawn(self._read_calls(), "calls")
            life.spawn(self._read_leases(), "leases")
            life.health.set_waiting("the log is being read")
            caught_up = asyncio.gather(
                *(r.caught_up.wait() for r in (self._settings, self._calls, self._leases))
            )
            if not await self._unless_stopped(caught_up):
                return
            self.leadership.booted(time.monotonic())
            log.info("ready", calls=len(self.shard.calls), playbooks=self.library.names)
            life.spawn(self._tick(), "tick")
            await life.until_stopped()
        finally:
            await self._leave()
            try:
                await life.close()  # no read from a stopping reader
            finally:
                for reader in readers:
                    await reader.stop()
                await self._producer.stop()

    async def _unless_stopped(self, wanted: "asyncio.Future[Any]") -> bool:
        stopped = asyncio.ensure_future(self.life.until_stopped())
        await asyncio.wait({wanted, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        done = wanted.done()
        wanted.cancel()
        return done

    async def _leave(self) -> None:
        """Stops speaking, waits for what was sent, and releases the lease."""
        actions = self.leadership.stop()
        if self._writes:
            await asyncio.wait(self._writes, timeout=_LAST_WORDS_S)
        for action in actions:
            try:
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._producer.send("robots.leases", self._lease(action))
            except (KafkaError, TimeoutError) as error:
                log.warning("the lease could not be released", error=str(error))

    # -- reading

    async def _read_settings(self) -> None:
        async for batch in self._settings.batches():
            for received in batch:
                refused = len(self.library.refused)
                self.library.evolve(received.event)
                if len(self.library.refused) > refused:
                    log.error("a published playbook is not used", why=self.library.refused)
            self._pump()

    async def _read_calls(self) -> None:
        async for batch in self._calls.batches():
            now = now_ms()
            for received in batch:
                _, standing = self.shard.fold(received, now)
                event = received.event
                if standing == "barrier" and isinstance(event, Directive):
                    self._barrier_read(received.partition, event)
            self._pump()

    async def _read_leases(self) -> None:
        async for batch in self._leases.batches():
            for received in batch:
                if not isinstance(received.event, Lease):
                    continue
                spoke = self.leadership.role
                mono = time.monotonic()
                actions = self.leadership.on_lease(received.offset, received.event, mono)
                if spoke != "follow" and self.leadership.role == "follow":
                    log.warning("silenced", epoch=self.leadership.epoch, was=spoke)
                    self.shard.silenced()
                self._act(actions)
            self._pump()

    def _barrier_read(self, partition: int, event: Directive) -> None:
        self.leadership.on_barrier(partition, event.epoch or 0, event.worker)
        if self.leadership.role == "catch_up":
            self._write(self._catch_up(self.leadership.epoch))

    async def _catch_up(self, epoch: int) -> None:
        """Reads everything written before the barrier, then speaks: turns, so that nothing is
        decided twice, and the events of customer and edge, so that no decision rests on less than
        its predecessor knew."""
        ends: dict[TopicPartition, int] | None = None
        while ends is None or not self._calls.has_read(ends):
            if self.leadership.epoch != epoch or self.leadership.role != "catch_up":
                return
            try:
                ends = ends or await self._ends.now()
            except KafkaError as error:
                log.warning("the partitions' ends are not known", error=str(error))
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(0.002)
        if self.leadership.caught_up(epoch):
            silent_since = self.leadership.silent_since
            if silent_since is not None:
                TAKEOVER.observe(time.monotonic() - silent_since)
            log.info("speaks", epoch=epoch)
            self._pump()

    # -- deciding and writing

    async def _tick(self) -> None:
        before = time.monotonic()
        forget_at = before + _FORGET_EVERY_S
        while True:
            await asyncio.sleep(TICK_S)
            mono = time.monotonic()
            late, before = mono - before - TICK_S, mono
            answered_ago = self._leases.answered_ago()
            if answered_ago > OUTAGE_S:
                self.shard.hears_from(now_ms() + HEARS_AFTER_MS)
            self._act(self.leadership.tick(mono, late, answered_ago))
            self._pump()
            health = self.life.health
            if self.leadership.has_speaker(mono):
                health.set_ready()
            else:
                health.set_waiting("no robot worker speaks yet")
            health.detail.update(role=self.leadership.role, epoch=self.leadership.epoch)
            if mono > forget_at:
                self.shard.forget_old(now_ms())
                forget_at = mono + _FORGET_EVERY_S

    def _pump(self) -> None:
        """Decides everything that waits, as long as this worker may speak."""
        now = now_ms()
        for call_id in self.shard.with_work(now):
            # Checked before every directive: the proof of the lease ages while we work.
            if not self.leadership.may_speak(time.monotonic()):
                return
            try:
                work = self.shard.next_work(call_id, now, self.leadership.epoch)
            except Undecidable as undecidable:
                self._write(self._refuse(undecidable))
                self.shard.refuse(undecidable.call_id, undecidable.input_id)
                continue
            if work is not None:
                self._write(self._send(work))

    async def _send(self, work: Work) -> None:
        try:
            turns = [] if work.turn is None else [("dialogue.turns", work.turn)]
            directives = [("dialogue.directives", d) for d in work.directives]
            await self._producer.send_all([*turns, *directives])
        except KafkaError as error:
            log.warning(
                "the broker did not accept an answer", call_id=work.call_id, error=str(error)
            )
            self.shard.failed(work)
            return
        except TooLarge as error:
            log.error("an answer is too large", call_id=work.call_id, error=str(error))
            self.shard.failed(work)
            if work.source is not None:
                # It would be too large again.
                self.shard.refuse(work.call_id, work.source.given.event_id)
                await self._bury(work.source, f"{TOO_LARGE}: {error}")
            return
        if work.source is not None and work.source.given.kind == "final" and work.directives:
            DIRECTIVE_LATENCY.observe(max(0, now_ms() - work.source.logged_ms) / 1000)

    async def _refuse(self, undecidable: Undecidable) -> None:
        """An input that our own code fails on goes to `dead_letters` with the reason."""
        error, source = undecidable.__cause__, undecidable.source
        why = f"not decided: {type(error).__name__}: {error}"
        log.error("an input could not be decided", call_id=undecidable.call_id, why=why)
        if source is not None:
            await self._bury(source, why)

    async def _bury(self, source: Pending, why: str) -> None:
        where = source.topic, source.partition, source.offset
        try:
            await self._producer.dead(*where, why, None, source.logged_ms)
        except KafkaError as lost:
            log.error("the broker did not accept a dead letter", where=where, error=str(lost))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Barrier(epoch):
                    log.info("takes over", epoch=epoch)
                    self.shard.silenced()
                    self._write(self._raise_barrier(epoch))
                case Beat():
                    # A broker must not get a backlog of heartbeats on its return.
                    if self._beats < _MOST_WAITING_BEATS:
                        self._beats += 1
                        self._write(self._beat(action))
                case _:
                    self._write(self._send_lease(action))

    async def _beat(self, action: Beat) -> None:
        try:
            await self._send_lease(action)
        finally:
            self._beats -= 1

    async def _send_lease(self, action: Action) -> None:
        try:
            await self._producer.send("robots.leases", self._lease(action))
        except KafkaError as error:
            log.warning("the broker did not accept a lease", error=str(error))

    async def _raise_barrier(self, epoch: int) -> None:
        leader, service = self.leadership, self.life.service
        while (leader.epoch, leader.role) == (epoch, "barrier"):
            now = now_ms()
            records = [
                (p, barrier_record(leader.shard, self.name, epoch, p, service, now))
                for p in self.partitions
            ]
            try:
                await asyncio.gather(
                    *(self._producer.send("dialogue.directives", r, p) for p, r in records)
                )
                return
            except KafkaError as error:
                log.warning("the broker did not accept the barrier", error=str(error))
                await asyncio.sleep(_AGAIN_S)

    def _lease(self, action: Action) -> Lease:
        return lease_record(
            action, self.leadership.shard, self.name, self.partitions, self.life.service, now_ms()
        )

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a write in the background; an error other than the broker's stops the service."""
        task = self.life.spawn(work, "write")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
