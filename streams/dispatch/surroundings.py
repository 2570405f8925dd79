"""Follows pools, playbooks, campaigns and heartbeats, and tells every pool's inbox what changed,
and the settings that this service began with.

Reads whole topics without a group, so every worker of the service does it. Two workers write the
same facts, and a pool takes each once (by the offset of the record that showed it).
"""

import asyncio

from ringlog.campaigns.aggregate import superseded
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import Received, TopicReader
from ringlog.law.site import law_of
from ringlog.lifecycle import Lifecycle
from schemas.donotcall import entry_of
from schemas.events import Campaign, Lease, OptOut, Playbook, RobotStatus
from streams.dispatch.facts import Output
from streams.dispatch.policy import Policy
from streams.dispatch.presence import Change, Heartbeats
from streams.dispatch.router import (
    OPTOUTS,
    campaign_copy,
    optout_copies,
    playbook_copy,
    presence_copy,
    settings_copy,
)

TICK_S = 0.25
AT_ONCE = 1_000
"""Opt-outs in one write."""
LATE_S = 1.0
"""A tick this late means that this process stalled, not that others did."""


class Surroundings:
    """`pools` are all that ever had a robot."""

    def __init__(self, life: Lifecycle, producer: EventProducer, policy: Policy) -> None:
        self.pools: set[str] = set()
        self._life = life
        self._producer = producer
        self._policy = policy
        self._law = law_of(life.settings)
        self._heartbeats = Heartbeats()
        self._playbooks: dict[str, tuple[Playbook, int]] = {}
        self._campaigns: dict[str, tuple[Campaign, int]] = {}
        self._told = False
        self._began_ms = 0

    async def start(self) -> None:
        """Reads up to the end, informs all pools, and goes on following."""
        self._began_ms = now_ms()
        topics = ["robots.status", "playbooks", "campaigns", "robots.leases"]
        reader = TopicReader(self._life.settings, self._producer, topics)
        await reader.start()
        self._life.spawn(self._follow(reader), "surroundings")
        await reader.caught_up.wait()
        self._heartbeats.silent(now_ms())
        self._told = True
        for pool in sorted(self.pools):
            await self._tell_all(pool)
        self._life.spawn(self._watch(), "heartbeats")

    async def _follow(self, reader: TopicReader) -> None:
        try:
            async for batch in reader.batches():
                for received in batch:
                    await self._take(received)
        finally:
            await reader.stop()

    async def _take(self, received: Received) -> None:
        event = received.event
        match event:
            case RobotStatus():
                if event.pool and event.pool not in self.pools:
                    self.pools.add(event.pool)
                    if self._told:
                        await self._tell_all(event.pool)
                        self._life.spawn(self._tell_optouts(event.pool), f"opt-outs/{event.pool}")
            case Playbook():
                known = self._playbooks.get(event.playbook)
                withdrawn = event.kind == "withdrawn"
                if withdrawn and known is not None and known[0].version != event.version:
                    return  # an older version: the newer one stays
                self._playbooks[event.playbook] = (event, received.offset)
                if self._told:
                    await self._producer.send_all(
                        playbook_copy(event, received.offset, pool) for pool in sorted(self.pools)
                    )
            case Campaign():
                before = self._campaigns.get(event.campaign_id or "")
                if before is not None and superseded(before[0], event):
                    return
                self._campaigns[event.campaign_id or ""] = (event, received.offset)
                if self._told:
                    await self._producer.send_all(
                        campaign_copy(event, received.offset, pool) for pool in sorted(self.pools)
                    )
            case Lease():
                # A record from before our start counts as heard when it was written.
                at_ms = now_ms() if self._told else received.timestamp_ms
                change = self._heartbeats.hear(event, received.offset, at_ms)
                if change is not None and self._told:
                    await self._tell([change])

    async def _tell_optouts(self, pool: str) -> None:
        """Tells a new pool the do-not-call list. Undone entries are left out, so that no older
        record overtakes an undo that the pool has already seen."""
        reader = TopicReader(self._life.settings, self._producer, [OPTOUTS])
        newest: dict[str, OptOut] = {}

        async def fold() -> None:
            async for batch in reader.batches():
                events = [r.event for r in batch if isinstance(r.event, OptOut)]
                newest.update((entry_of(event), event) for event in events)

        await reader.start()
        task = asyncio.create_task(fold())
        try:
            await reader.caught_up.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await reader.stop()
        barred = [event for event in newest.values() if event.kind == "opted_out"]
        for at in range(0, len(barred), AT_ONCE):
            some = barred[at : at + AT_ONCE]
            await self._producer.send_all(
                copy for event in some for copy in optout_copies(event, [pool])
            )

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_S)
            if loop.time() - before < LATE_S:
                await self._tell(self._heartbeats.silent(now_ms()))

    async def _tell(self, changes: list[Change]) -> None:
        await self._producer.send_all(
            presence_copy(change, pool) for change in changes for pool in sorted(self.pools)
        )

    async def _tell_all(self, pool: str) -> None:
        out: list[Output] = [settings_copy(self._policy, self._began_ms, pool, self._law)]
        out += [playbook_copy(event, offset, pool) for event, offset in self._playbooks.values()]
        out += [campaign_copy(event, offset, pool) for event, offset in self._campaigns.values()]
        out += [presence_copy(change, pool) for change in self._heartbeats.all()]
        await self._producer.send_all(out)
