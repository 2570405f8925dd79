"""A call's recording from its audio chunks: both legs on the call's clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import soxr

from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import Int16, decode

MAX_CALL_MS = 4 * 3_600_000
"""Longest call that is mixed: one bad time must not fill memory, so later chunks are left out."""


@dataclass
class MediaLeg:
    """One leg's sound: (call time ms, codec, payload) of each chunk, in any order."""

    leg: str
    rate_hz: int
    chunks: list[tuple[int, str, bytes]] = field(default_factory=list)


def mix(legs: Iterable[MediaLeg]) -> Int16:
    """int16 [n, 2] at 8 kHz: left the customer, right the robot and the agent.

    Holes are silence; where chunks of one side overlap the later one in call time wins.
    """
    sides: list[list[tuple[int, Int16]]] = [[], []]
    for leg in legs:
        side = sides[0 if leg.leg == "customer" else 1]
        for at_ms, codec, payload in sorted(leg.chunks, key=lambda c: c[0]):
            if not 0 <= at_ms < MAX_CALL_MS:
                continue
            samples = decode(codec, payload)
            if leg.rate_hz != SAMPLE_RATE_HZ:
                samples = soxr.resample(samples, leg.rate_hz, SAMPLE_RATE_HZ)
            side.append((at_ms * SAMPLE_RATE_HZ // 1000, samples))
    length = max((at + len(x) for side in sides for at, x in side), default=0)
    out = np.zeros((length, 2), np.int16)
    for channel, side in enumerate(sides):
        for at, x in side:
            out[at : at + len(x), channel] = x
    return out
