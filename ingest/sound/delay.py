"""How long after our voice its echo comes back, from the levels of 20 ms frames.

The canceller finds delays of up to half a second itself. This finds longer ones, as a satellite or
a far conference makes them, on the sound as it came. Pure.
"""

from typing import Final

import numpy as np

from ingest.sound.echo import Levels, compare

LONGEST_MS: Final = 1_200
WINDOW: Final = 60
"""Frames that are compared: 1.2 s of the far end's."""

EVERY: Final = 25
"""Frames from judgement to judgement."""

AGREE: Final = 3
"""Judgements in a row that must find the same delay, within a frame."""

QUIET_DB: Final = 30.0
NEEDED: Final = 15
"""Frames of the window that must be louder than that."""

_LAGS: Final = LONGEST_MS // 20
_RING: Final = 256


class EchoDelay:
    """The delay of one call's echo."""

    def __init__(self) -> None:
        self.delay_ms: int | None = None
        """As last measured; None until judgements agree."""
        self._ours: Levels = np.zeros(_RING, np.float32)
        self._theirs: Levels = np.zeros(_RING, np.float32)
        self._ours_n = self._theirs_n = -1
        self._found: list[int] = []  # by the last judgements, in a row

    def played(self, n: int, level: float) -> None:
        """Our level (`onset.level_db`) in frame `n` of call time."""
        self._ours_n = _write(self._ours, self._ours_n, n, level)

    def near(self, n: int) -> bool:
        """Whether an echo of ours may be in frame `n` or just before it."""
        return n - self._ours_n <= _LAGS + WINDOW

    def heard(self, n: int, level: float) -> None:
        """The far end's level in frame `n` of call time, as it came."""
        before, self._theirs_n = self._theirs_n, _write(self._theirs, self._theirs_n, n, level)
        if self._theirs_n // EVERY == before // EVERY:
            return
        theirs = _last(self._theirs, n, WINDOW)
        if int((theirs > QUIET_DB).sum()) < NEEDED:
            return
        ours = _last(self._ours, n, WINDOW + _LAGS)
        behind = n - self._ours_n
        if behind > 0:  # not written: an earlier round of the ring
            ours[max(0, len(ours) - behind) :] = 0
        found = compare(theirs, ours)
        if found is None or (self._found and abs(found.delay - self._found[-1]) > 1):
            self._found = []
        if found is not None:
            self._found = [*self._found, found.delay][-AGREE:]
            if len(self._found) == AGREE:
                self.delay_ms = found.delay * 20


def _write(ring: Levels, last: int, n: int, level: float) -> int:
    if n < 0 or n <= last - _RING:
        return last
    for k in range(max(last + 1, n - _RING + 1), n):
        ring[k % _RING] = 0
    ring[n % _RING] = level
    return max(last, n)


def _last(ring: Levels, n: int, count: int) -> Levels:
    return np.asarray(ring[np.arange(n - count + 1, n + 1) % _RING], np.float32)
