"""The host of succession: reads the leases, claims edges that are gone, and ends their calls.

The first `ended` of a call counts, so it does no harm when dispatch or the edge itself, come back,
ends it as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, NoReturn

from aiokafka.errors import KafkaError

from ingest.call.machine import decide
from ingest.call.types import Q850_TEMPORARY_FAILURE, Call, HungUp, Write
from ingest.failover.succession import EdgeClaim, Succession
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

LOOK_S: Final = 0.5


class Inheritance:
    """Works for one edge process while it serves."""

    def __init__(
        self,
        config: Settings,
        instance: str,
        producer: EventProducer,
        calls_of: Callable[[str], list[Call]],
        to_the_end: Callable[[], Awaitable[None]],
        hang_up: Callable[[Call], Awaitable[None]],
    ) -> None:
        """`calls_of` gives the running calls of an edge, `to_the_end` reads everything that the
        log has of them."""
        self._config = config
        self._instance = instance
        self._producer = producer
        self._calls_of = calls_of
        self._to_the_end = to_the_end
        self._hang_up = hang_up
        self._succession = Succession(config.edge_id, instance, round(config.edge_lease_s * 1000))

    async def run(self) -> NoReturn:
        """Works for ever; raises KafkaError where reading fails for good."""
        reader = TopicReader(self._config, self._producer, ("robots.leases",), dead_letters=False)
        await reader.start()
        claiming = asyncio.create_task(self._claim())
        try:
            async for batch in reader.batches():
                for received in batch:
                    if not isinstance(received.event, Lease):
                        continue
                    edge_id = self._succession.hear(
                        received.event, received.offset, received.timestamp_ms
                    )
                    if edge_id is not None:
                        await self._inherit(edge_id)
                if claiming.done():
                    await claiming
            raise AssertionError("batches never end")
        finally:
            claiming.cancel()
            await reader.stop()

    async def _claim(self) -> NoReturn:
        while True:
            await asyncio.sleep(LOOK_S)
            for claim in self._succession.due(now_ms(), lambda one: bool(self._calls_of(one))):
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

    async def _inherit(self, edge_id: str) -> None:
        while True:
            try:
                await self._to_the_end()
                calls = self._calls_of(edge_id)
                for call in calls:
                    await self._producer.send_all(ends_of(call, now_ms()))
            except KafkaError as error:
                logger.warning("calls are not ended yet", error=type(error).__name__)
                await asyncio.sleep(LOOK_S)
            else:
                break
        if calls:
            logger.warning("a dead edge's calls are ended", edge=edge_id, calls=len(calls))
        for call in calls:
            await self._hang_up(call)


def ends_of(call: Call, at_ms: int) -> list[tuple[str, Event]]:
    """(topic, event) of what ends a call that nobody serves any more."""
    gone = HungUp("failed", Q850_TEMPORARY_FAILURE)
    commands = decide(replace(call, closing=False), gone, at_ms)
    return [("calls.events", c.event) for c in commands if isinstance(c, Write)]
