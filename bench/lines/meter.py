"""Times of a conversation from the packets that the far end sent and received. Pure.

All times are Unix seconds. A packet is 20 ms of sound, so sound that arrives in one ends 20 ms
later.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

PACKET_S = 0.02
GAP_S = 0.5
"""A voice has stopped when nothing of it comes for this long: longer than its pauses."""

LOUD_RMS = 300.0


def first_at(voiced: Iterable[float], after_s: float) -> float | None:
    """When voice was first heard after this time; None when it never was."""
    return min((t for t in voiced if t > after_s), default=None)


def silent_at(voiced: Iterable[float], onset_s: float, until_s: float) -> float | None:
    """When the voice that sounded at `onset_s` was silent: the end of its last packet.

    None when it did not sound then, or had not stopped by `until_s`.
    """
    times = sorted(voiced)
    before = [t for t in times if t <= onset_s]
    if not before or onset_s - before[-1] > GAP_S:
        return None
    last = before[-1]
    for t in times:
        if last < t <= last + GAP_S:
            last = t
    return None if last + GAP_S > until_s else max(onset_s, last + PACKET_S)


def speech_bounds(samples: NDArray[np.int16], rate_hz: int) -> tuple[float, float]:
    """Where voice begins and ends in a sound, seconds from its start, to 10 ms."""
    step = rate_hz // 100
    frames = samples[: len(samples) // step * step].reshape(-1, step).astype(np.float64)
    loud = np.flatnonzero(np.sqrt(np.mean(frames**2, axis=1)) > LOUD_RMS)
    if not len(loud):
        raise ValueError("there is no voice in it")
    return float(loud[0]) / 100, float(loud[-1] + 1) / 100


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed; nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, int(np.ceil(share * len(ordered))) - 1)]
