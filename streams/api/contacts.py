"""A campaign's contacts, read from the log when they are asked for, and what a site's terms are
where only the campaign's own matter."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, TopicReader
from ringlog.settings import Settings
from ringlog.terms import NO_COUNTS, Callee, CallSetup, Counts, Demand, Permission
from schemas.catalogue import topic
from schemas.events import CampaignContact
from schemas.partition import partition_of

TOPIC = "campaigns.contacts"


class ContactLog:
    """Reads `campaigns.contacts`. A campaign's records lie on one partition, in the order in which
    they were loaded."""

    def __init__(self, config: Settings, producer: EventProducer) -> None:
        self._config, self._producer = config, producer

    async def of(self, campaign_id: str) -> list[CampaignContact]:
        """Every contact once, in order. Costs a read of the campaign's partition."""
        partition = partition_of(campaign_id, topic(TOPIC).partitions)
        key = campaign_id.encode()
        reader = TopicReader(
            self._config, self._producer, (TOPIC,), since_ms=BEGINNING, partitions=[partition],
            dead_letters=False, wants=lambda _, found, __: found == key,
        )  # fmt: skip
        found: dict[str, CampaignContact] = {}

        async def read() -> None:
            async for batch in reader.batches():
                for received in batch:
                    event = received.event
                    if isinstance(event, CampaignContact) and event.campaign_id == campaign_id:
                        found.setdefault(event.contact_id, event)

        await reader.start()
        try:
            work = asyncio.create_task(read())
            caught_up = asyncio.create_task(reader.caught_up.wait())
            await asyncio.wait({work, caught_up}, return_when=asyncio.FIRST_COMPLETED)
            caught_up.cancel()
            if work.done():
                work.result()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            await reader.stop()
        return list(found.values())


class PlainTerms:
    """Terms of a site that asks for nothing: a dry run needs only the campaign's permission."""

    version, running = "dry-run", True
    concurrency: int | None = None
    calls_per_s: float | None = None

    def permission(
        self, callee: Callee, dials: Sequence[int], now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        """Always now."""
        return Permission(now_ms)

    def setup(self, task_id: str) -> CallSetup:
        """Nothing special."""
        return CallSetup()

    def demand(self, callee: Callee, skills: Mapping[str, int]) -> Demand:
        """What the request asks for."""
        return Demand(skills=skills)

    def retry_at(self, disposition: str, dials: int, now_ms: int) -> int | None:
        """Not again."""
        return None
