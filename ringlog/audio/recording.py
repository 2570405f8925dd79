"""A call's sound from its audio chunks: one track a leg, both sides on the call's clock.

Tracks are what the archive keeps, so a recording made from the log and one made from the archive
are the same samples.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr

from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import Int16, decode
from schemas.events import MediaChunk

MAX_CALL_MS = 4 * 3_600_000
"""Longest recording: later sound is left out, so that one bad time cannot fill memory."""

MAX_RATE_HZ = 192_000

LegKey = tuple[str, int]
"""(leg, ssrc)."""


EDGE_MS = 10_000
"""A call that is cut, and is heard within this time after the first record that was read, may have
begun before that record; one that is heard later has merely sent nothing at first."""


@dataclass(frozen=True, slots=True)
class Track:
    """One leg: int16 [n] at its own rate, from `start_ms` of call time on, holes silent.

    `lost_ms` is how long the holes are together.
    """

    leg: str
    ssrc: int
    rate_hz: int
    start_ms: int
    samples: Int16
    lost_ms: int


class _Piece(NamedTuple):
    """The part of a chunk that is kept: an hour of a call has 72,000."""

    rtp_ts: int
    leg_start_ts: int
    leg_start_ms: int
    codec: str
    rate_hz: int
    payload: bytes


class CallSound:
    """Collects the chunks of one call. Of two chunks with one id the first counts."""

    def __init__(self) -> None:
        self.left_out = 0
        """Chunks that have no place in a recording: absurd times or rates, undecodable."""
        self._seen: set[str] = set()
        self._legs: dict[LegKey, list[_Piece]] = {}
        self._ended: set[LegKey] = set()

    def add(self, chunk: MediaChunk) -> None:
        """Takes a leg's records in any order. Silence shows as holes."""
        key = chunk.leg, chunk.ssrc
        if chunk.kind == "end":
            self._ended.add(key)
        elif chunk.kind == "silent":
            pass
        elif chunk.event_id not in self._seen:
            self._seen.add(chunk.event_id)
            if _fits(chunk):
                self._legs.setdefault(key, []).append(
                    _Piece(
                        chunk.rtp_ts,
                        chunk.leg_start_ts,
                        chunk.leg_start_ms,
                        chunk.codec,
                        chunk.rate_hz,
                        chunk.payload,
                    )
                )
            else:
                self.left_out += 1

    @property
    def empty(self) -> bool:
        """Whether there is nothing to hear."""
        return not self._legs

    @property
    def ended(self) -> bool:
        """Whether every leg with sound has ended."""
        return self._legs.keys() <= self._ended

    @property
    def cut(self) -> bool:
        """Whether a leg does not begin with its first sample: that was never sent, as on a robot's
        leg before its first prompt, or it lies before what was read, or it is gone."""
        legs = self._legs
        began = {k for k, chunks in legs.items() if any(c.rtp_ts == c.leg_start_ts for c in chunks)}
        return began != legs.keys() | self._ended

    def tracks(self) -> list[Track]:
        """A track for every leg that has sound, in the order in which they begin."""
        made = [self._track(*key, chunks) for key, chunks in self._legs.items()]
        kept = [track for track in made if len(track.samples)]
        return sorted(kept, key=lambda t: (t.start_ms, t.leg, t.ssrc))

    def _track(self, leg: str, ssrc: int, chunks: list[_Piece]) -> Track:
        rate = chunks[0].rate_hz
        start_ms = min(c.leg_start_ms for c in chunks)
        origin = start_ms * rate // 1000
        pieces: list[tuple[int, Int16]] = []
        for c in chunks:
            try:
                samples = decode(c.codec, c.payload)
            except ValueError:
                self.left_out += 1
                continue
            if c.rate_hz != rate:
                samples = soxr.resample(samples, c.rate_hz, rate)
            on_leg = (c.rtp_ts - c.leg_start_ts) * rate // c.rate_hz
            pieces.append((c.leg_start_ms * rate // 1000 - origin + on_leg, samples))
        pieces.sort(key=lambda piece: piece[0])
        length = max((at + len(samples) for at, samples in pieces), default=0)
        out = np.zeros(length, np.int16)
        heard = end = 0
        for at, samples in pieces:  # where chunks overlap the later one wins
            out[at : at + len(samples)] = samples
            heard += max(0, at + len(samples) - max(at, end))
            end = max(end, at + len(samples))
        return Track(leg, ssrc, rate, start_ms, out, (length - heard) * 1000 // rate)


def _fits(c: MediaChunk) -> bool:
    if not (0 < c.rate_hz <= MAX_RATE_HZ and 0 <= c.leg_start_ms < MAX_CALL_MS and c.payload):
        return False
    return 0 <= (c.rtp_ts - c.leg_start_ts) * 1000 // c.rate_hz < MAX_CALL_MS


def mix(tracks: Iterable[Track]) -> Int16:
    """int16 [n, 2] at 8 kHz on the call's clock: left the customer, right the robot and the agent.

    Tracks of one side that sound at once are added.
    """
    placed: list[tuple[int, int, Int16]] = []
    for track in tracks:
        samples = track.samples
        if track.rate_hz != SAMPLE_RATE_HZ:
            samples = soxr.resample(samples, track.rate_hz, SAMPLE_RATE_HZ)
        at = track.start_ms * SAMPLE_RATE_HZ // 1000
        placed.append((0 if track.leg == "customer" else 1, at, samples))
    out = np.zeros((max((at + len(x) for _, at, x in placed), default=0), 2), np.int16)
    for channel, at, x in placed:
        there = out[at : at + len(x), channel]
        there[:] = np.clip(there.astype(np.int32) + x, -32768, 32767)
    return out
