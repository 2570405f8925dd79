"""16 kHz to 8 kHz for one leg, the same for any pieces: the sums are exact in any order."""

import numpy as np
from numpy.typing import NDArray

from ringlog.audio.g711 import Int16

REACH = 31
"""Input samples that an output sample depends on, on each side."""

_CUTOFF_HZ = 3_700.0
_ONE = 1 << 15


def _taps() -> NDArray[np.float64]:
    """A windowed sinc of 63 taps in multiples of 2^-15, so that float64 sums of 16-bit samples are
    exact."""
    t = np.arange(-REACH, REACH + 1) / 16_000
    ideal = np.sinc(2 * _CUTOFF_HZ * t) * np.blackman(2 * REACH + 3)[1:-1]
    taps = np.rint(ideal / ideal.sum() * _ONE)
    taps[REACH] += _ONE - taps.sum()
    return np.asarray(taps / _ONE, np.float64)


_TAPS = _taps()

Piece = tuple[int, Int16]
"""Position of the first sample, at 8 kHz, and the samples."""


class Halver:
    """Keeps what of the input is still needed; positions are samples since the leg's first."""

    __slots__ = ("_input", "_output_at", "next")

    def __init__(self, at: int) -> None:
        """`at` is where the input begins, at 16 kHz."""
        self._start(at)

    def _start(self, at: int) -> None:
        self.next = at
        self._output_at = -(-at // 2)
        silence = at - (2 * self._output_at - REACH)
        self._input: NDArray[np.float64] = np.zeros(silence, np.float64)

    def feed(self, at: int, samples: Int16) -> list[Piece]:
        """Take in samples at 16 kHz; gives what can be computed, REACH input samples late.

        What was taken in before is dropped. A hole ends the sound before it with silence; the
        filter starts afresh after it.
        """
        pieces = []
        samples = samples[max(self.next - at, 0) :]
        if not len(samples):
            return []
        if at > self.next:
            pieces += self.flush()
            self._start(at)
        self.next += len(samples)
        pieces += self._emit(samples.astype(np.float64))
        return pieces

    def flush(self) -> list[Piece]:
        """The rest of the output, as if silence followed."""
        return self._emit(np.zeros(REACH, np.float64))

    def _emit(self, more: NDArray[np.float64]) -> list[Piece]:
        self._input = np.concatenate([self._input, more])
        count = (len(self._input) - 2 * REACH + 1) // 2
        if count <= 0:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(self._input, 2 * REACH + 1)
        sums = windows[: 2 * count : 2] @ _TAPS
        samples = np.clip(np.floor(sums + 0.5), -32768, 32767).astype(np.int16)
        at = self._output_at
        self._output_at += count
        self._input = self._input[2 * count :]
        return [(at, samples)]
