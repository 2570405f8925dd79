"""The legs of one partition of `media.audio`: where each begins, which offset it holds back, when
it ends.

Pure: the log's records go in, in order, with Kafka's offsets and timestamps; nothing else decides.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from asr_worker.bank import Thresholds, thresholds_of
from asr_worker.downsample import Halver, Piece
from asr_worker.recogniser import Recognisers
from asr_worker.resume import Resume
from asr_worker.rules import (
    FRAME,
    LATEST,
    LONGEST_LEG,
    MARKED_HOLE,
    SAMPLES_PER_MS,
    first_begin,
    fresh_begin,
    held_from,
    needed_from,
    settled_to,
)
from asr_worker.transcriber import Final as FinalResult
from asr_worker.transcriber import Partial, Transcriber
from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import Int16, decode
from schemas.events import MediaChunk

LEG = "customer"
"""The leg that is transcribed; the robot's words are known, and it has no turn to end."""

WIDE_HZ = 16_000
"""The other rate that an edge may log; it is halved on the way in."""

EXPIRY_MS = 60_000
"""A leg is over when the partition has moved on this far, in Kafka's time, without it."""

REMEMBER_MS = 600_000
"""How long, in Kafka's time, the name of an ended leg is kept, so that stragglers stay out."""

MAX_OCCURRED_AT: Final = 1 << 53
"""Milliseconds; a time beyond this comes from a broken clock."""

CustomerLegKey = tuple[str, str, int]
"""call_id, leg, ssrc."""


class LastFinal(NamedTuple):
    """The last of a leg's finals on the log: its mark, a sample, and where its speech ended."""

    mark: int
    end_ms: int


Substituted = Callable[[str, str], None]
"""Called with a profile that a leg asks for and cannot get, and the one that it gets."""


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
class CustomerLeg:
    """One customer leg. Positions are leg time, samples at 8 kHz.

    `keep_from`: first sample that the bank is given. `next`: sound before it is a duplicate or too
    late. `heard_to`: end of the sound that came. `marked`: silent by a mark since then. `last_ms`:
    Kafka's time of its last record.
    """

    key: CustomerLegKey
    slot: int
    start_ms: int
    keep_from: int
    next: int
    heard_to: int
    thresholds: Thresholds
    last_ms: int
    marked: bool = False
    halver: Halver | None = None
    sources: deque[Source] = field(default_factory=deque)
    holes: deque[tuple[int, int]] = field(default_factory=deque)

    def source_of(self, sample: int) -> Source:
        """The record that brought a sample, or the last that came before it.

        The latest one counts: sound that comes after its mark lies before it.
        """
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
        self,
        transcriber: Transcriber,
        recognisers: Recognisers,
        closed: Mapping[CustomerLegKey, LastFinal],
        resume: Resume | None,
        substituted: Substituted,
    ) -> None:
        """`closed` has the last of each leg's finals, read back from the log; `resume` is the
        commit's note on the legs after it, None for a commit without one."""
        self._transcriber = transcriber
        self._recognisers = recognisers
        self._substituted = substituted
        self._closed = closed
        self._resume = resume
        self._fresh: deque[int] = deque()  # offsets of the records that began a leg in its middle
        self._legs: OrderedDict[CustomerLegKey, CustomerLeg] = (
            OrderedDict()
        )  # least recently heard first
        self._by_call: dict[tuple[str, str], CustomerLeg] = {}
        self._ended: OrderedDict[CustomerLegKey, int] = OrderedDict()
        self._slots: dict[int, CustomerLeg] = {}
        self._first_ms: int | None = None
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
        at = _position(chunk)
        if chunk.kind == "end":
            self._ended[key] = self._time_ms
            if leg is not None:
                rest = leg.halver.flush() if leg.halver is not None else []
                self._append(leg, rest, offset, chunk)
                self._end(leg)
            return
        samples = None if chunk.kind == "silent" else _samples(chunk)
        if leg is None:
            leg = self._first_sight(key, at, offset, chunk)
            if leg is None:
                return
        leg.last_ms = self._time_ms
        self._legs.move_to_end(key)
        if samples is None:
            self._silent(leg, at // 2 if leg.halver is not None else at, offset, chunk)
            return
        pieces = [(at, samples)] if leg.halver is None else leg.halver.feed(at, samples)
        self._append(leg, pieces, offset, chunk)

    def tick(self, offset: int, timestamp_ms: int) -> None:
        """A record was read, whatever it held: Kafka's time moves on, and silent legs expire."""
        self.position = max(self.position, offset + 1)
        self._time_ms = max(self._time_ms, timestamp_ms)
        if self._first_ms is None:
            self._first_ms = self._time_ms
        while self._legs and (leg := next(iter(self._legs.values()))).last_ms < (
            self._time_ms - EXPIRY_MS
        ):
            self._end(leg)
        while self._ended and next(iter(self._ended.values())) < self._time_ms - REMEMBER_MS:
            self._ended.popitem(last=False)

    def owns(self, slot: int) -> bool:
        """Whether a slot is a leg of this partition."""
        return slot in self._slots

    def leg_of(self, result: Partial | FinalResult) -> CustomerLeg:
        """The leg that a result is of."""
        return self._slots[result.slot]

    def released(self, slot: int) -> None:
        """The transcriber has finished an ended leg."""
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
        while self._fresh and self._fresh[0] < lowest:
            self._fresh.popleft()
        return lowest

    def resume(self) -> Resume:
        """The note for a successor, with the offset that `commit_offset` has just given."""
        return Resume(self.position, frozenset(self._fresh))

    def drop(self) -> None:
        """Forget everything: another worker has the partition."""
        for slot in self._slots:
            self._transcriber.drop(slot)
        self._slots.clear()
        self._legs.clear()
        self._by_call.clear()

    def _first_sight(
        self, key: CustomerLegKey, at: int, offset: int, chunk: MediaChunk
    ) -> CustomerLeg | None:
        """Take in a leg, or None for one that is over."""
        older = self._by_call.get(key[:2])
        if older is not None and chunk.leg_start_ms < older.start_ms:
            self._ended[key] = self._time_ms  # a straggler of the leg before
            return None
        if older is not None:  # a new SSRC is a new leg (RFC 3550 section 8), the old one is over
            self._ended[older.key] = self._time_ms
            self._end(older)
        wide = chunk.rate_hz == WIDE_HZ
        seen = -(-at // 2) if wide else at
        closed = self._closed.get(key, LastFinal(0, 0))
        if self._is_fresh(offset):
            if chunk.kind == "silent":  # sound from before the mark may still come
                seen = max(0, seen - LATEST) // FRAME * FRAME
                at = 2 * seen if wide else seen
            begin = fresh_begin(seen, closed.mark)
            if chunk.kind == "silent" or seen > 0:
                self._fresh.append(offset)
        else:
            begin = first_begin(seen, closed.mark)
        if begin <= seen:  # nothing lies before it
            keep_from, spoken_to = begin, 0
        else:
            keep_from = held_from(begin)
            spoken_to = max(0, closed.end_ms - chunk.leg_start_ms) * SAMPLES_PER_MS
        thresholds = self._thresholds(chunk)
        if thresholds.profile != chunk.asr_profile:
            self._substituted(chunk.asr_profile, thresholds.profile)
        slot = self._transcriber.add(begin, keep_from, thresholds, min(spoken_to, begin))
        leg = CustomerLeg(
            key, slot, chunk.leg_start_ms, keep_from, seen, seen, thresholds, self._time_ms
        )
        leg.halver = Halver(at) if wide else None
        self._legs[key] = self._by_call[key[:2]] = self._slots[slot] = leg
        if keep_from < seen:
            self._transcriber.push_silence(slot, keep_from, seen - keep_from)
        return leg

    def _is_fresh(self, offset: int) -> bool:
        """Whether no worker held the leg whose first record is this one: it has no earlier
        state."""
        if self._resume is not None:
            return self._resume.is_fresh(offset)
        return self._first_ms is not None and self._time_ms > self._first_ms + EXPIRY_MS

    def _silent(self, leg: CustomerLeg, to: int, offset: int, chunk: MediaChunk) -> None:
        """Nothing has come up to `to`: a turn may end, and what is settled is filled."""
        if to < leg.next or (to == leg.next and leg.sources):
            return  # sound came meanwhile; a leg that is first met here has no source yet
        self._transcriber.push_quiet(leg.slot, to, chunk.turn_silence_ms)
        leg.marked = True
        leg.sources.append(self._source(to, to, offset, chunk))
        settled = settled_to(to)
        if settled > leg.next:
            self._fill(leg, settled)
            leg.next = settled

    def _fill(self, leg: CustomerLeg, to: int) -> None:
        """Zeros from where the leg's sound ends."""
        begin = max(leg.next, leg.keep_from)
        if to > begin:
            since = max(leg.heard_to, leg.keep_from)
            self._transcriber.push_silence(leg.slot, since, to - begin)

    def _source(self, at: int, end: int, offset: int, chunk: MediaChunk) -> Source:
        envelope = tuple((name, getattr(chunk, name)) for name in _ENVELOPE)
        return Source(at, end, offset, self._time_ms, chunk.event_id, chunk.occurred_at, envelope)

    def _append(
        self, leg: CustomerLeg, pieces: list[Piece], offset: int, chunk: MediaChunk
    ) -> None:
        for at, samples in pieces:
            if at + len(samples) > leg.next:  # else a duplicate, or too late
                new = samples[max(leg.next - at, 0) :]
                self._append_new(leg, max(at, leg.next), new, offset, chunk)

    def _append_new(
        self, leg: CustomerLeg, at: int, samples: Int16, offset: int, chunk: MediaChunk
    ) -> None:
        if at > leg.next:
            if not leg.marked:  # else it is known to be silence, and nothing is missing
                leg.holes.append((leg.next, at - leg.next))
            self._fill(leg, at)
        thresholds = self._thresholds(chunk)
        if thresholds != leg.thresholds:
            self._transcriber.bank.change(leg.slot, at, thresholds)
            leg.thresholds = thresholds
        leg.next = leg.heard_to = at + len(samples)
        leg.marked = False
        leg.sources.append(self._source(at, leg.next, offset, chunk))
        self._transcriber.push(leg.slot, samples[max(leg.keep_from - at, 0) :])

    def _end(self, leg: CustomerLeg) -> None:
        del self._legs[leg.key]
        if self._by_call.get(leg.key[:2]) is leg:
            del self._by_call[leg.key[:2]]
        self._transcriber.finish(leg.slot)

    def _thresholds(self, chunk: MediaChunk) -> Thresholds:
        registry = self._recognisers.registry
        profile = self._recognisers.resolve(chunk.asr_profile)
        detector = registry.detectors[registry.profiles[profile].detector]
        return thresholds_of(detector, chunk.turn_silence_ms, profile)


def _position(chunk: MediaChunk) -> int:
    """Where a record lies: samples at its own rate since the leg's first; raises BadChunk."""
    if chunk.rate_hz not in (SAMPLE_RATE_HZ, WIDE_HZ):
        raise BadChunk(f"rate is {chunk.rate_hz} Hz; {SAMPLE_RATE_HZ} and {WIDE_HZ} are read")
    at = chunk.rtp_ts - chunk.leg_start_ts
    if at < 0:
        raise BadChunk(f"begins {-at} samples before its leg")
    if at >= LONGEST_LEG:
        raise BadChunk(f"lies {at} samples after its leg's first: no leg is that long")
    if not 0 <= chunk.occurred_at < MAX_OCCURRED_AT:
        raise BadChunk(f"occurred_at is {chunk.occurred_at} ms: no time")
    if not -LONGEST_LEG < chunk.leg_start_ms < LONGEST_LEG:
        raise BadChunk(f"leg_start_ms is {chunk.leg_start_ms}: no call is that long")
    return at


def _samples(chunk: MediaChunk) -> Int16:
    try:
        samples = decode(chunk.codec, chunk.payload)
    except ValueError as error:
        raise BadChunk(str(error)) from None
    # Echo of the robot's own voice: nobody spoke.
    return np.zeros_like(samples) if chunk.is_echo else samples
