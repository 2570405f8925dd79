"""Reads which calls began before the process did, slowly: frames of running calls go first."""

import asyncio
from collections.abc import Callable
from typing import Final

from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import Received, TopicReader
from ringlog.settings import Settings

_AT_ONCE: Final = 200
_PAUSE_S: Final = 0.02
"""So at most 10,000 records a second are looked at, most of which are not decoded."""

DAY_MS: Final = 86_400_000


class _Slow(TopicReader):
    async def _read_on(self) -> None:
        await asyncio.sleep(_PAUSE_S)


async def read_past_calls(
    config: Settings, producer: EventProducer, take: Callable[[Received], None]
) -> None:
    """Gives the first records and tries of calls, as far back as the site wants, up to the log's
    end as it is now. Raises KafkaError."""
    reader = _Slow(
        config, producer, ("calls.events",), back_ms=config.ring_back_days * DAY_MS,
        dead_letters=False, wants=lambda _topic, _key, kind: kind in ("dialing", "tried"),
        at_once=_AT_ONCE,
    )  # fmt: skip
    await reader.start()
    reading = asyncio.create_task(_read(reader, take))
    try:
        done = asyncio.create_task(reader.caught_up.wait())
        await asyncio.wait((reading, done), return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        if reading.done():
            await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await reader.stop()


async def _read(reader: TopicReader, take: Callable[[Received], None]) -> None:
    async for batch in reader.batches():
        for received in batch:
            take(received)
