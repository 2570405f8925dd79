"""Joins the parts of a prompt so that nobody hears the joints.

A cut through a wave clicks, and every spoken part begins and ends with a pause of its own. So the
pauses at a joint are shortened to a breath, and the parts overlap while one fades into the other.
Pure.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ringlog.audio.g711 import Int16

_Float32 = npt.NDArray[np.float32]

FADE_MS: Final = 10
"""Length of the overlap: shorter clicks, longer blurs a syllable."""

BREATH_MS: Final = 30
"""What is left of the pause at each side of a joint, the overlap in it."""

QUIET: Final = 0.01
"""Samples below this part of the part's peak are its pause (-40 dB)."""


def joined(parts: Sequence[Int16], rate_hz: int) -> Int16:
    """int16 [n] of all parts in order; the first one's beginning and the last one's end stay."""
    out = np.zeros(0, np.float32)
    last = len(parts) - 1
    for n, part in enumerate(parts):
        cut = _without_pauses(part, rate_hz, begin=n > 0, end=n < last)
        out = _overlapped(out, cut.astype(np.float32), FADE_MS * rate_hz // 1000)
    return np.asarray(np.clip(np.rint(out), -32768, 32767), np.int16)


def _without_pauses(part: Int16, rate_hz: int, *, begin: bool, end: bool) -> Int16:
    level = np.abs(part.astype(np.int32))
    loud = np.flatnonzero(level > QUIET * level.max(initial=0))
    if not len(loud):
        return part
    breath = BREATH_MS * rate_hz // 1000
    first = max(0, int(loud[0]) - breath) if begin else 0
    after = min(len(part), int(loud[-1]) + 1 + breath) if end else len(part)
    return part[first:after]


def _overlapped(left: _Float32, right: _Float32, fade: int) -> _Float32:
    fade = min(fade, len(left), len(right))
    if fade == 0:
        return np.concatenate([left, right])
    rising = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    middle = left[-fade:] * (1 - rising) + right[:fade] * rising
    return np.concatenate([left[:-fade], middle, right[fade:]])
