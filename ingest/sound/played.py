"""What we sent lately, as samples: the canceller's reference.

Time is the samples of our own leg since the call began, in which every tick has its place. Pure.
"""

from typing import Final

import numpy as np

from ringlog.audio.g711 import Int16

KEPT_S: Final = 4
"""Longest delay of an echo, a hole that is bridged, and some."""


class Played:
    """A ring of the last seconds; what was not sent is silence."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.end = 0
        """One past the newest sample."""
        self._ring: Int16 = np.zeros(KEPT_S * rate_hz, np.int16)

    def write(self, at: int, samples: Int16) -> None:
        """Sound that begins at sample `at`; what lies before the end is not taken again."""
        if at < self.end:
            samples, at = samples[self.end - at :], self.end
        self.silence(at)
        if len(samples):
            self._put(at, samples)
            self.end = at + len(samples)

    def silence(self, until: int) -> None:
        """Nothing more was sent before sample `until`."""
        missing = min(until - self.end, len(self._ring))
        if missing > 0:
            self._put(until - missing, np.zeros(missing, np.int16))
            self.end = until

    def read(self, first: int, last: int) -> Int16:
        """Samples `first` to `last`; those that are gone, or not sent yet, are 0."""
        out = np.zeros(last - first, np.int16)
        lo, hi = max(first, self.end - len(self._ring), 0), min(last, self.end)
        if lo < hi:
            size = len(self._ring)
            a, b = lo % size, hi % size
            part = self._ring[a:b] if a < b else np.concatenate((self._ring[a:], self._ring[:b]))
            out[lo - first : hi - first] = part
        return out

    def _put(self, at: int, samples: Int16) -> None:
        samples = samples[-len(self._ring) :]
        a = at % len(self._ring)
        first = min(len(samples), len(self._ring) - a)
        self._ring[a : a + first] = samples[:first]
        self._ring[: len(samples) - first] = samples[first:]
