"""The service `dispatch`: routers into the inbox, the agent that decides, snapshots and timers."""

import asyncio
import gc
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaError

from ringlog.campaigns.terms import terms_of
from ringlog.clock import now_ms
from ringlog.kafka.producer import Outgoing
from ringlog.law.site import rules_read
from ringlog.lifecycle import Lifecycle
from ringlog.metrics import TASKS
from ringlog.site_key import site_key
from schemas.catalogue import CALL_PARTITIONS
from schemas.events import DispatchInbox, TaskEvent
from schemas.partition import partition_of
from schemas.phone import Numbers
from schemas.wire import Poison
from streams.dispatch.campaigns import TermsOf
from streams.dispatch.facts import PRODUCER, Output
from streams.dispatch.policy import SitePolicy
from streams.dispatch.pools import Pools
from streams.dispatch.refold import Refold
from streams.dispatch.router import INBOX, OPTOUTS, call_copies, optout_copies, robot_copy
from streams.dispatch.snapshot import SnapshotError, Snapshots, is_head, pool_of
from streams.dispatch.surroundings import Surroundings
from streams.dispatch.timers import OF_CALLS, Timer
from streams.faust_host import FaustHost, Found, Record

APP_ID = "ringlog-dispatch"
CALLS = "calls.events"
SNAPSHOT_S = 1.0
SNAPSHOT_RECORDS = 500
TICK_S = 0.1

TERMS_OF: TermsOf = terms_of
"""What makes terms of a campaign's record."""

Due = tuple[str, Timer]
"""(pool, timer)."""


@dataclass
class Unsaved:
    """Processed records that no snapshot holds yet, in the order of each partition."""

    records: list[Record] = field(default_factory=list)
    since: float = 0.0

    def add(self, record: Record) -> None:
        """Notes a record, whether or not it changed anything."""
        if not self.records:
            self.since = time.monotonic()
        self.records.append(record)

    @property
    def due(self) -> bool:
        """Whether it is time for a snapshot."""
        if not self.records:
            return False
        waited = time.monotonic() - self.since
        return len(self.records) >= SNAPSHOT_RECORDS or waited >= SNAPSHOT_S


class Dispatch:
    """Pools live in memory. Their inbox offset is committed only after a snapshot. After a crash
    later records are processed again and give the same events with the same ids."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._numbers = Numbers(life.settings.region, site_key(life.settings))
        self._host = FaustHost(life, APP_ID)
        self._table = self._host.table("pools", pool_of)
        self._around = Surroundings(life, self._host.producer, SitePolicy())
        self._pools = self._none()
        self._loaded = False
        self._loading = asyncio.Lock()
        self._unsaved = Unsaved()
        self._held: list[Due] = []
        self._barrier: tuple[dict[Any, int], list[Due]] | None = None
        self._host.route(CALLS, lambda event, _: call_copies(event, self._around.pools))
        self._host.route("robots.status", robot_copy)
        self._host.route(OPTOUTS, lambda event, _: optout_copies(event, self._around.pools))
        self._host.consume(INBOX, self._decide, idle_s=0.2)
        self._host.before(self._around.start)
        self._host.on_revoked(self._forget)
        life.health.rebuild = self.rebuild

    async def run(self) -> None:
        """Runs until told to stop."""
        self._life.spawn(self._timers(), "timers")
        await self._host.run()

    async def rebuild(self) -> Found:
        """Folds our pools again from the log and corrects those that differ; raises NotRebuilt."""
        refold = Refold(self._life.settings, self._numbers, TERMS_OF)
        return await self._host.refold(INBOX, refold.read, lambda _: self._put_right(refold.pools))

    def _none(self) -> Pools:
        return Pools(lambda name: Snapshots.load(name, self._table, TERMS_OF), self._numbers)

    async def _put_right(self, right: Pools) -> Found:
        differed = 0
        await self._load()
        for name in self._pools.by_name.keys() | right.by_name.keys():
            ours, other = self._pools.of(name), right.of(name)
            if parts := ours.differences(other):
                self._host.log.warning("a pool differed from its inbox", pool=name, parts=parts)
                ours.replace(other.pool)
                differed += 1
        if differed:
            await self._save(self._host.generation)
        found = right.by_name.values()
        tasks = sum(len(pool.pool.tasks) for pool in found)
        return {"pools": len(found), "open_tasks": tasks, "differed": differed}

    def _forget(self) -> None:
        self._pools = self._none()
        self._loaded = False
        self._unsaved = Unsaved()
        self._held = []
        self._barrier = None

    async def _load(self) -> None:
        """Loads every pool of our partitions, so that timers run without a new record.

        In a thread: a million tasks take seconds, and the broker must hear of us meanwhile.
        """
        async with self._loading:
            if self._loaded:
                return
            generation, pools = self._host.generation, self._pools
            mine = self._host.partitions(INBOX)
            names = [pool_of(key) for key in list(self._table.keys()) if is_head(key)]
            gc.disable()  # nothing of a load is garbage, and looking for some doubles its time
            try:
                for name in names:
                    if partition_of(name, CALL_PARTITIONS) in mine:
                        await asyncio.to_thread(pools.of, name)
            except SnapshotError:
                if self._host.generation == generation:
                    raise  # else the table was read anew meanwhile
            finally:
                gc.enable()
            gc.freeze()
            self._loaded = self._host.generation == generation

    async def _decide(self, batch: list[Record]) -> None:
        generation, outputs, kinds = self._host.generation, list[Outgoing](), Counter[str]()
        if batch and not self._loaded:
            await self._load()
            if self._host.generation != generation:
                return
        for record in batch:
            try:
                decided = self._work(record)
                # Too large: the pool stays as a rebuild folds it, and only what follows is missing.
                outputs += self._host.outgoing(decided)
                kinds.update(event.kind for _, event in decided if isinstance(event, TaskEvent))
            except Poison as poison:
                await self._host.bury(record, poison)
        await self._host.producer.send_outgoing(outputs)
        for kind, count in kinds.items():
            TASKS.labels(kind).inc(count)
        if self._host.generation != generation:
            return
        for record in batch:
            self._unsaved.add(record)
        if self._unsaved.due:
            await self._save(generation)

    def _work(self, record: Record) -> list[Output]:
        event = record.event
        if not isinstance(event, DispatchInbox):
            return []
        return self._pools.work(event, record.partition, record.offset, record.timestamp_ms)

    async def _save(self, generation: tuple[int, int]) -> None:
        """Pages, then heads, then what no head names any more, then the offsets."""
        unsaved, self._unsaved = self._unsaved, Unsaved()
        pools = [pool for pool in self._pools.by_name.values() if pool.unsaved]
        for pool in pools:
            self._set(pool.pages())
        await self._table.written()
        if self._host.generation != generation:
            return
        self._set(dict(pool.head(pool.next_offset) for pool in pools))
        await self._table.written()
        for pool in pools:
            for key in pool.garbage():
                self._table.pop(key, None)
        for record in unsaved.records:
            record.done()

    def _set(self, rows: dict[str, str]) -> None:
        for key, value in rows.items():
            self._table[key] = value

    async def _timers(self) -> None:
        """Appends due timers to the inbox: the only effect of time here."""
        while True:
            await asyncio.sleep(TICK_S)
            if not self._host.settled:
                continue
            await self._load()
            if not self._loaded:
                continue
            due = [
                (n, t)
                for n, pool in self._pools.by_name.items()
                for t in pool.pool.take_due(now_ms())
            ]
            await self._fire([d for d in due if d[1].name not in OF_CALLS])
            self._held += [d for d in due if d[1].name in OF_CALLS]
            try:
                passed = await self._past_the_barrier()
            except KafkaError as error:
                self._host.log.warning(
                    "timers of calls are waiting", why=f"{type(error).__name__}: {error}"
                )
                continue
            await self._fire(passed)

    async def _past_the_barrier(self) -> list[Due]:
        """Timers of calls that may fire: everything that `calls.events` held when they fell due is
        in the inbox, so a `dialing` or an `ended` in time comes first."""
        progress, generation = self._host.progress, self._host.generation
        if self._barrier is None and self._held:
            ends = await progress.ends(CALLS)
            if self._host.generation != generation:
                return []
            held, self._held = self._held, []
            self._barrier = (dict(ends), held)
        if self._barrier is None or not await progress.reached(self._barrier[0]):
            return []
        if self._host.generation != generation:
            return []
        (_, passed), self._barrier = self._barrier, None
        return passed

    async def _fire(self, due: list[Due]) -> None:
        await self._host.producer.send_all(
            (
                INBOX,
                DispatchInbox(
                    event_id=timer.event_id,
                    kind="timer",
                    occurred_at=timer.due_ms,
                    producer=PRODUCER,
                    causation_id=timer.set_by,
                    task_id=timer.task_id,
                    pool=pool,
                    timer=timer.name,
                    due_at=timer.due_ms,
                ),
            )
            for pool, timer in due
        )


async def main(life: Lifecycle) -> None:
    """The service's body for `ringlog.lifecycle.run`."""
    await rules_read(life)
    await Dispatch(life).run()
