"""The legs of one partition of `media.audio`: where each begins, what it holds back, when it ends.

Pure: the log's records go in, in order, with Kafka's offsets and timestamps; nothing else decides.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np

from asr_worker.bank import Thresholds
from asr_worker.downsample import Halver, Piece
from asr_worker.registry import Registry
from asr_worker.rules import MARKED_HOLE, SAMPLES_PER_MS, first_begin, held_from, needed_from
from asr_worker.transcriber import Final, Partial, Transcriber
from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import Int16, decode
from schemas.events import MediaChunk

LEG = "customer"
"""The leg that is transcribed; what the robot says is known, and it has no turn to end."""

WIDE_HZ = 16_000
"""The other rate that an edge may log; it is halved on the way in."""

EXPIRY_MS = 60_000
"""A leg is over when the partition has moved on this far, in Kafka's time, without it."""

REMEMBER_MS = 600_000
"""How long, in Kafka's time, the name of an ended leg is kept, so that stragglers stay out."""

LegKey = tuple[str, str, int]
"""call_id, leg, ssrc."""


class BadChunk(ValueError):
    """A chunk that cannot be right; the text says why, for `dead_letters`."""


@dataclass(frozen=True, slots=True)
class Source:
    """The chunk that holds some sample: what an event made from it refers to."""

    at: int
    end: int
    offset: int
    timestamp_ms: int
    event_id: str
    occurred_at: int
    envelope: tuple[tuple[str, str | None], ...]


@dataclass(slots=True)
class Leg:
    """One customer leg. Positions are leg time, samples at 8 kHz."""

    key: LegKey
    slot: int
    start_ms: int
    keep_from: int
    next: int
    thresholds: Thresholds
    last_ms: int
    halver: Halver | None = None
    sources: deque[Source] = field(default_factory=deque)
    holes: deque[tuple[int, int]] = field(default_factory=deque)

    def source_of(self, sample: int) -> Source:
        """The chunk that holds a sample, or the nearest before it."""
        for source in reversed(self.sources):
            if source.at <= sample:
                return source
        return self.sources[0]

    def holes_ms(self, start: int, end: int) -> list[int]:
        """Lengths of the marked holes that touch [start, end)."""
        touching = [n for at, n in self.holes if at < end and at + n > start]
        return [n // SAMPLES_PER_MS for n in touching if n > MARKED_HOLE]

    def call_ms(self, sample: int) -> int:
        """Call time of a sample."""
        return self.start_ms + sample // SAMPLES_PER_MS


_ENVELOPE = ("tenant_id", "task_id", "customer_id", "campaign_id", "pool", "robot_id")


class PartitionLegs:
    """Intake of one partition; slots are those of a transcriber that other partitions share."""

    def __init__(
        self, transcriber: Transcriber, registry: Registry, closed: dict[LegKey, int]
    ) -> None:
        """`closed` has the highest mark of each leg's finals, read back from the log."""
        self._transcriber = transcriber
        self._registry = registry
        self._closed = closed
        self._legs: OrderedDict[LegKey, Leg] = OrderedDict()  # least recently heard first
        self._by_call: dict[tuple[str, str], Leg] = {}
        self._ended: OrderedDict[LegKey, int] = OrderedDict()
        self._slots: dict[int, Leg] = {}
        self._time_ms = 0
        self.position = 0

    def accept(self, offset: int, timestamp_ms: int, chunk: MediaChunk) -> None:
        """Take in one record of any leg. Raises BadChunk for what cannot be right."""
        self.tick(offset, timestamp_ms)
        if chunk.leg != LEG:
            return
        key = (chunk.call_id or "", chunk.leg, chunk.ssrc)
        if key in self._ended:
            return
        leg = self._legs.get(key)
        if chunk.kind == "end":
            self._ended[key] = self._time_ms
            if leg is not None:
                rest = leg.halver.flush() if leg.halver is not None else []
                self._append(leg, rest, offset, chunk)
                self._end(leg)
            return
        at = chunk.rtp_ts - chunk.leg_start_ts
        samples = _samples(chunk, at)
        if leg is None:
            leg = self._first_sight(key, at, chunk)
        leg.last_ms = self._time_ms
        self._legs.move_to_end(key)
        pieces = [(at, samples)] if leg.halver is None else leg.halver.feed(at, samples)
        self._append(leg, pieces, offset, chunk)

    def tick(self, offset: int, timestamp_ms: int) -> None:
        """A record was read, whatever it held: Kafka's time moves on, and silent legs expire."""
        self.position = max(self.position, offset + 1)
        self._time_ms = max(self._time_ms, timestamp_ms)
        while self._legs and (leg := next(iter(self._legs.values()))).last_ms < (
            self._time_ms - EXPIRY_MS
        ):
            self._end(leg)
        while self._ended and next(iter(self._ended.values())) < self._time_ms - REMEMBER_MS:
            self._ended.popitem(last=False)

    def owns(self, slot: int) -> bool:
        """Whether a slot is a leg of this partition."""
        return slot in self._slots

    def leg_of(self, result: Partial | Final) -> Leg:
        """The leg that a result is of."""
        return self._slots[result.slot]

    def released(self, slot: int) -> None:
        """The transcriber is through with an ended leg."""
        del self._slots[slot]

    def commit_offset(self) -> int:
        """The smallest offset that a successor needs, once all results so far are on the log."""
        lowest = self.position
        marks = self._transcriber.bank.mark
        for slot, leg in self._slots.items():
            needed = needed_from(int(marks[slot]))
            sources, holes = leg.sources, leg.holes
            while len(sources) > 1 and sources[1].at <= needed:
                sources.popleft()
            while holes and sum(holes[0]) <= needed:
                holes.popleft()
            if sources:
                lowest = min(lowest, sources[0].offset)
        return lowest

    def drop(self) -> None:
        """Forget everything: another worker has the partition."""
        for slot in self._slots:
            self._transcriber.drop(slot)
        self._slots.clear()
        self._legs.clear()
        self._by_call.clear()

    def _first_sight(self, key: LegKey, at: int, chunk: MediaChunk) -> Leg:
        older = self._by_call.get(key[:2])
        if older is not None:  # a new SSRC is a new leg (RFC 3550 section 8), the old one is over
            self._ended[older.key] = self._time_ms
            self._end(older)
        wide = chunk.rate_hz == WIDE_HZ
        seen = -(-at // 2) if wide else at
        begin = first_begin(seen, self._closed.get(key, 0))
        thresholds = self._thresholds(chunk)
        keep_from = held_from(begin)
        slot = self._transcriber.add(begin, keep_from, thresholds)
        leg = Leg(key, slot, chunk.leg_start_ms, keep_from, seen, thresholds, self._time_ms)
        leg.halver = Halver(at) if wide else None
        self._legs[key] = self._by_call[key[:2]] = self._slots[slot] = leg
        return leg

    def _append(self, leg: Leg, pieces: list[Piece], offset: int, chunk: MediaChunk) -> None:
        for at, samples in pieces:
            if at + len(samples) > leg.next:  # else a duplicate, or too late
                new = samples[max(leg.next - at, 0) :]
                self._append_new(leg, max(at, leg.next), new, offset, chunk)

    def _append_new(
        self, leg: Leg, at: int, samples: Int16, offset: int, chunk: MediaChunk
    ) -> None:
        if at > leg.next:
            leg.holes.append((leg.next, at - leg.next))
            filled_from = max(leg.next, leg.keep_from)
            if at > filled_from:
                self._transcriber.push_silence(leg.slot, filled_from, at - filled_from)
        thresholds = self._thresholds(chunk)
        if thresholds != leg.thresholds:
            self._transcriber.bank.change(leg.slot, at, thresholds)
            leg.thresholds = thresholds
        leg.next = at + len(samples)
        envelope = tuple((name, getattr(chunk, name)) for name in _ENVELOPE)
        leg.sources.append(
            Source(at, leg.next, offset, self._time_ms, chunk.event_id, chunk.occurred_at, envelope)
        )
        self._transcriber.push(leg.slot, samples[max(leg.keep_from - at, 0) :])

    def _end(self, leg: Leg) -> None:
        del self._legs[leg.key]
        if self._by_call.get(leg.key[:2]) is leg:
            del self._by_call[leg.key[:2]]
        self._transcriber.finish(leg.slot)

    def _thresholds(self, chunk: MediaChunk) -> Thresholds:
        profile = self._registry.resolve(chunk.asr_profile)
        detector = self._registry.detectors[self._registry.profiles[profile].detector]
        return detector.thresholds(chunk.turn_silence_ms, profile)


def _samples(chunk: MediaChunk, at: int) -> Int16:
    if chunk.rate_hz not in (SAMPLE_RATE_HZ, WIDE_HZ):
        raise BadChunk(f"rate is {chunk.rate_hz} Hz; {SAMPLE_RATE_HZ} and {WIDE_HZ} are read")
    if at < 0:
        raise BadChunk(f"begins {-at} samples before its leg")
    try:
        samples = decode(chunk.codec, chunk.payload)
    except ValueError as error:
        raise BadChunk(str(error)) from None
    # The robot's own voice that came back: nobody spoke.
    return np.zeros_like(samples) if chunk.processing == "echo" else samples
