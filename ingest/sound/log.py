"""Chunks on their way to `media.audio`: one pump for all calls, in order, with a bound.

`add` never waits for the broker. At most `MAX_WAITING` chunks are queued; beyond that the oldest
are dropped and counted. The bound is 60 s of 1,000 legs at 10 chunks a second. The queue holds
sound, not records: about 1 kB a chunk, 0.7 GB in all.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from aiokafka.errors import KafkaTimeoutError

from ingest.call.types import Identity
from ingest.sound.chunker import Logged
from ingest.sound.types import SAMPLE_BYTES, Chunk, CodecName, Silent
from ringlog import log
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.metrics import MEDIA_CHUNKS_DROPPED
from schemas.events import MediaChunk
from schemas.events.calls import ECHO, NO_PROCESSING
from schemas.ids import media_chunk_id, root_id

logger = log.logger("ringlog.ingest.media")

MAX_WAITING: Final = 600_000


@dataclass(slots=True)
class Stamp:
    """What every chunk of a call carries. `turn_silence_ms` changes with the prompts."""

    identity: Identity
    turn_silence_ms: int


def media_event(stamp: Stamp, logged: Logged, at_ms: int) -> MediaChunk:
    """The record of a chunk, of a silent leg or of a leg's end. `at_ms`: when it was complete.

    Unvalidated (`model_construct`): 20,000 a second come from our own chunker.
    """
    who, leg = stamp.identity, logged.leg
    kind: Literal["chunk", "silent", "end"]
    codec: CodecName
    if isinstance(logged, Chunk):
        kind, event_id = "chunk", media_chunk_id(who.call_id, leg.name, logged.ts)
        seq, codec, lost, payload = logged.first_seq, logged.codec, logged.lost, logged.payload
        # What happened at that time is its first sample.
        at_ms -= len(payload) * 1000 // (leg.rate_hz * SAMPLE_BYTES[codec])
    elif isinstance(logged, Silent):
        kind, event_id = "silent", media_chunk_id(who.call_id, f"{leg.name}|silent", logged.ts)
        seq, codec, lost, payload = logged.seq, "pcmu", 0, b""
    else:
        kind, event_id = "end", root_id(who.call_id, leg.name, logged.ts, "end")
        seq, codec, lost, payload = logged.seq, "pcmu", 0, b""
    return MediaChunk.model_construct(
        event_id=event_id,
        kind=kind,
        occurred_at=at_ms,
        producer="edge",
        causation_id=None,
        tenant_id=who.tenant_id,
        call_id=who.call_id,
        task_id=who.task_id,
        customer_id=who.customer_id,
        campaign_id=who.campaign_id,
        pool=who.pool,
        robot_id=who.robot_id,
        epoch=None,
        leg=leg.name,
        asr_profile=who.asr_profile,
        turn_silence_ms=stamp.turn_silence_ms,
        ssrc=leg.ssrc,
        first_seq=seq,
        rtp_ts=logged.ts,
        leg_start_ts=leg.start_ts,
        leg_start_ms=leg.start_ms,
        codec=codec,
        rate_hz=leg.rate_hz,
        lost_packets=lost,
        processing=_processing(logged) if isinstance(logged, Chunk) else NO_PROCESSING,
        payload=payload,
    )


def _processing(chunk: Chunk) -> str:
    if not chunk.echo:
        return chunk.cleaned or NO_PROCESSING
    return f"{chunk.cleaned}+{ECHO}" if chunk.cleaned else ECHO


_Waiting = tuple[Identity, int, Logged, int]
"""Identity and turn silence as they were, what is logged, and when it was complete, ms."""


class MediaLog:
    """The pump. `add` never blocks; `run` sends for ever; `drain` waits until all is sent."""

    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._last: asyncio.Future[object] | None = None
        self._failure: BaseException | None = None
        self.dropped = 0

    def add(self, stamp: Stamp, logged: list[Logged]) -> None:
        """Queues what a session logged."""
        at_ms = now_ms()
        for one in logged:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self.dropped += 1
                MEDIA_CHUNKS_DROPPED.inc()
            self._waiting.append((stamp.identity, stamp.turn_silence_ms, one, at_ms))
        self._wake.set()

    async def run(self) -> None:
        """Hands chunks to the producer in order; raises KafkaError when it gives up."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                first = self._waiting[0]
                who, turn_silence_ms, logged, at_ms = first
                record = media_event(Stamp(who, turn_silence_ms), logged, at_ms)
                try:
                    sent = await self._producer.queue("media.audio", record)
                except KafkaTimeoutError:
                    logger.warning("the broker accepts no sound", waiting=len(self._waiting))
                    continue
                if self._waiting and self._waiting[0] is first:  # else dropped meanwhile
                    self._waiting.popleft()
                sent.add_done_callback(self._sent)
                self._last = sent
            if self._failure is not None:
                raise self._failure

    def _sent(self, future: "asyncio.Future[object]") -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failure = error
            self._wake.set()

    async def drain(self, timeout_s: float) -> bool:
        """Waits until everything is acknowledged; False on time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting:
                    self._wake.set()
                    await asyncio.sleep(0.01)
                if self._last is not None:
                    await asyncio.shield(self._last)
        except TimeoutError:
            return False
        return True
