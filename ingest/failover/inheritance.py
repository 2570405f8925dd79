"""The host of succession: reads the leases, claims edges that are gone, takes their calls over
where the switch still holds them, and ends the others.

A call is taken over by a record that moves it (`moved`), read back before anything is done. The
first `ended` of a call counts, so it does no harm when dispatch or the edge itself, come back,
ends a call as well.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NoReturn, Protocol

from aiokafka.errors import KafkaError

from ingest.call.machine import decide
from ingest.call.records import moved_to
from ingest.call.types import Q850_TEMPORARY_FAILURE, Call, HungUp, Write
from ingest.failover.fence import Fence
from ingest.failover.last_sound import LastSound, last_sound
from ingest.failover.succession import EdgeClaim, Succession, Won
from ringlog import log
from ringlog.clock import now_ms
from ringlog.edges import PREFIX
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import TopicReader
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import Lease
from schemas.ids import root_id

logger = log.logger("ringlog.ingest.inheritance")

AGAIN_S: Final = 0.5

_OFTEN_MS: Final = 50
"""Longest wait of the broker for the next record."""


class Heir(Protocol):
    """The edge that inherits."""

    def calls_of(self, edge_id: str) -> list[Call]:
        """The running calls of an edge."""
        ...

    def can_take_over(self, call: Call) -> bool:
        """Whether a switch of ours holds the call, whatever became of its edge."""
        ...

    async def to_the_end(self) -> None:
        """Reads everything that the log has of calls; raises KafkaError."""
        ...

    def unserved(self) -> list[str]:
        """Calls that are ours by the log, and that nobody serves."""
        ...

    async def take_over(self, calls: Iterable[str], heard: LastSound) -> None:
        """Goes on with calls, where they are ours by now."""
        ...

    async def hang_up_inherited(self, call: Call) -> None:
        """Tells the switch that a call is over."""
        ...


class Inheritance:
    """Works for one edge process while it serves."""

    def __init__(
        self, config: Settings, instance: str, producer: EventProducer, fence: Fence, heir: Heir
    ) -> None:
        self._config = config
        self._instance = instance
        self._producer = producer
        self._fence = fence
        self._heir = heir
        self._succession = Succession(
            config.edge_id, instance, config.edge_takeover_ms, round(config.edge_lease_s * 1000)
        )
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> NoReturn:
        """Works for ever; raises KafkaError where reading fails for good."""
        reader = TopicReader(
            self._config, self._producer, ("robots.leases",), dead_letters=False,
            fetch_max_wait_ms=_OFTEN_MS,
        )  # fmt: skip
        await reader.start()
        try:
            async for batch in reader.batches():
                heard_ourselves = False
                for received in batch:
                    if isinstance(received.event, Lease):
                        self._hear(received.event, received.offset, received.timestamp_ms)
                        heard_ourselves |= received.event.worker == self._instance
                if heard_ourselves:  # silence grows by our own heartbeats alone
                    for claim in self._succession.due(self._has_calls, self._holds_calls):
                        await self._claim(claim)
            raise AssertionError("batches never end")
        finally:
            for task in self._work:
                task.cancel()
            await reader.stop()

    def _hear(self, lease: Lease, offset: int, at_ms: int) -> None:
        if lease.kind == "heartbeat":
            self._fence.came_back(lease.worker, lease.n)
        won = self._succession.hear(lease, offset, at_ms)
        if won is not None:
            # Meanwhile leases are read on: another edge may die, and we must hear ourselves.
            task = asyncio.create_task(self._inherit(won), name=f"inheritance {won.edge_id}")
            self._work.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("not inherited", error=f"{type(error).__name__}: {error}")

    def _has_calls(self, edge_id: str) -> bool:
        return bool(self._heir.calls_of(edge_id))

    def _holds_calls(self, edge_id: str) -> bool:
        return any(map(self._heir.can_take_over, self._heir.calls_of(edge_id)))

    async def _claim(self, claim: EdgeClaim) -> None:
        logger.warning("an edge is gone; its calls are claimed", edge=claim.edge_id)
        try:
            await self._producer.send("robots.leases", self._record(claim))
        except KafkaError as error:  # written or not: a repeat has the same id
            logger.warning("claim not acknowledged", error=type(error).__name__)
            self._succession.try_again(claim.edge_id)

    def _record(self, claim: EdgeClaim) -> Lease:
        return Lease(
            event_id=root_id(self._instance, claim.edge_id, "claim", claim.after),
            kind="claim",
            occurred_at=now_ms(),
            producer="edge",
            tenant_id=self._config.tenant_id,
            shard=f"{PREFIX}{claim.edge_id}",
            worker=self._instance,
            after=claim.after,
        )

    async def _inherit(self, won: Won) -> None:
        while True:
            try:
                await self._heir.to_the_end()
                await self._take_over(won)
                ended = await self._end(won.edge_id) if won.all_ else []
            except KafkaError as error:
                logger.warning("calls are not inherited yet", error=type(error).__name__)
                await asyncio.sleep(AGAIN_S)
            else:
                break
        for call in ended:
            await self._heir.hang_up_inherited(call)

    async def _take_over(self, won: Won) -> None:
        calls = [c for c in self._heir.calls_of(won.edge_id) if self._heir.can_take_over(c)]
        # Those of an earlier attempt have moved to us already.
        names = [call.identity.call_id for call in calls] + self._heir.unserved()
        if not names:
            return
        since_ms = now_ms() - won.silent_ms
        moves: list[tuple[str, Event]] = [
            ("calls.events", moved_to(call, self._config.edge_id, now_ms())) for call in calls
        ]
        reading = asyncio.create_task(
            last_sound(self._config, self._producer, names, since_ms), name="last sound"
        )
        try:
            await self._producer.send_all(moves)
            await self._heir.to_the_end()
            await self._heir.take_over(names, await reading)
        finally:
            reading.cancel()
        logger.warning("a lost edge's calls are taken over", edge=won.edge_id, calls=len(names))

    async def _end(self, edge_id: str) -> list[Call]:
        calls = self._heir.calls_of(edge_id)
        for call in calls:
            await self._producer.send_all(ends_of(call, now_ms()))
        if calls:
            logger.warning("a lost edge's calls are ended", edge=edge_id, calls=len(calls))
        return calls


def ends_of(call: Call, at_ms: int) -> list[tuple[str, Event]]:
    """(topic, event) of what ends a call that nobody serves any more."""
    gone = HungUp("failed", Q850_TEMPORARY_FAILURE)
    commands = decide(replace(call, closing=False), gone, at_ms)
    return [("calls.events", c.event) for c in commands if isinstance(c, Write)]
