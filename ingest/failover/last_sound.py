"""When a lost edge's calls began and what was last heard of them, as `media.audio` tells.

Another machine does not have the lost edge's journal (`journal`). But every chunk has its call time
and its time of day, so the sound of the last seconds tells the same. `LastSound` is pure.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from ingest.failover.journal import Entry, HeardLeg
from ingest.sound.types import PCMU, Format, Leg
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import TopicReader
from ringlog.settings import Settings
from schemas.events import MediaChunk

BACK_MS: Final = 5_000
"""Longer than from mark to mark on a silent leg (`ingest.sound.silence`)."""


class LastSound:
    """Folds the last chunks of some calls."""

    def __init__(self) -> None:
        self._opened_ms: dict[str, dict[str, int]] = {}  # by call and leg
        self._sounds: dict[str, Format] = {}
        self._legs: dict[str, HeardLeg] = {}

    def take(self, chunk: MediaChunk) -> None:
        """The next chunk, mark or end of a leg."""
        call_id = chunk.call_id or ""
        rate_hz = max(1, chunk.rate_hz)
        into = chunk.rtp_ts - chunk.leg_start_ts
        # Chunks are dated when they are complete, or later: the earliest is the nearest.
        opened_ms = chunk.occurred_at - chunk.leg_start_ms - into * 1000 // rate_hz
        of_call = self._opened_ms.setdefault(call_id, {})
        opened_ms = of_call[chunk.leg] = min(opened_ms, of_call.get(chunk.leg, opened_ms))
        if chunk.kind == "chunk":
            self._sounds[call_id] = Format(chunk.codec, rate_hz)
        if chunk.leg != "customer":
            return
        before = self._legs.get(call_id)
        if before is not None and before.leg.start_ms > chunk.leg_start_ms:
            return  # a straggler of an earlier leg
        leg = Leg("customer", chunk.ssrc, chunk.leg_start_ts, chunk.leg_start_ms, rate_hz)
        first_seq = chunk.first_seq - into * 50 // rate_hz
        self._legs[call_id] = HeardLeg(leg, first_seq, opened_ms + leg.start_ms)

    def sound_of(self, call_id: str) -> Format:
        """How the call's sound is coded."""
        return self._sounds.get(call_id, PCMU)

    def entry_of(self, call_id: str, began_ms: int) -> Entry:
        """What a journal would have of the call, less its port; `began_ms` is for one without any
        sound."""
        legs = [self._legs[call_id]] if call_id in self._legs else []
        of_call = self._opened_ms.get(call_id, {})
        # The robot's time counts by our ticks, which may have been late when the call began.
        opened_ms = of_call.get("customer", of_call.get("robot", began_ms))
        return Entry(call_id, 0, self.sound_of(call_id), opened_ms, legs=legs)


async def last_sound(
    config: Settings, producer: EventProducer, calls: Collection[str], since_ms: int
) -> LastSound:
    """Reads what is on the log of these calls' sound from a time on; raises KafkaError."""
    found, keys = LastSound(), {call_id.encode() for call_id in calls}
    if not keys:
        return found
    reader = TopicReader(
        config, producer, ("media.audio",), since_ms=since_ms - BACK_MS, dead_letters=False,
        wants=lambda _topic, key, _kind: key in keys,
    )  # fmt: skip
    await reader.start()

    async def read() -> None:
        async for batch in reader.batches():
            for received in batch:
                if isinstance(received.event, MediaChunk):
                    found.take(received.event)

    reading = asyncio.create_task(read())
    end = asyncio.create_task(reader.caught_up.wait())
    try:
        await asyncio.wait({reading, end}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()  # raises
    finally:
        for task in (reading, end):
            task.cancel()
        await asyncio.gather(reading, end, return_exceptions=True)
        await reader.stop()
    return found
