"""A campaign's contacts, read from the log when they are asked for, and what a site's terms are
where only the campaign's own matter."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, Received, TopicReader
from ringlog.settings import Settings
from ringlog.terms import NO_COUNTS, Callee, CallSetup, Counts, Demand, People, Permission
from schemas.catalogue import topic
from schemas.events import CampaignContact
from schemas.partition import partition_of

TOPIC = "campaigns.contacts"

AT_ONCE = 250
"""Contacts that are read at a time."""


class ContactLog:
    """Reads `campaigns.contacts`. A campaign's records lie on one partition, in the order in which
    they were loaded."""

    def __init__(self, config: Settings, producer: EventProducer) -> None:
        self._config, self._producer = config, producer

    async def of(self, campaign_id: str) -> AsyncIterator[list[CampaignContact]]:
        """Every contact once, in order, some at a time, so that other requests have their turn.
        Costs a read of the campaign's partition."""
        partition = partition_of(campaign_id, topic(TOPIC).partitions)
        key = campaign_id.encode()
        reader = TopicReader(
            self._config, self._producer, (TOPIC,), since_ms=BEGINNING, partitions=[partition],
            dead_letters=False, wants=lambda _, found, __: found == key, at_once=AT_ONCE,
        )  # fmt: skip
        known: set[str] = set()
        await reader.start()
        batches = reader.batches()
        try:
            while (batch := await _before_end(batches, reader)) is not None:
                contacts = []
                for received in batch:
                    event = received.event
                    if not isinstance(event, CampaignContact) or event.contact_id in known:
                        continue
                    known.add(event.contact_id)
                    contacts.append(event)
                yield contacts
        finally:
            await batches.aclose()
            await reader.stop()


async def _before_end(
    batches: AsyncGenerator[list[Received], None], reader: TopicReader
) -> list[Received] | None:
    """The next batch; None once all that was there at the start has come."""
    following = asyncio.ensure_future(anext(batches))
    caught_up = asyncio.create_task(reader.caught_up.wait())
    try:
        await asyncio.wait({following, caught_up}, return_when=asyncio.FIRST_COMPLETED)
        return following.result() if following.done() else None
    finally:
        caught_up.cancel()
        if not following.done():
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


class PlainTerms:
    """Terms of a site that asks for nothing: a dry run needs only the campaign's permission."""

    version, running = "dry-run", True
    concurrency: int | None = None
    calls_per_s: float | None = None
    people: People | None = None

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
