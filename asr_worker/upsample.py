"""8 kHz to 16 kHz, sample for sample what sherpa-onnx's own LinearResample makes of 8 kHz input.

Done here because sherpa-onnx would build a resampler, and log three lines, for every stream. The
filter is a Hann-windowed sinc with 6 zeros a side and its cut-off at 3960 Hz.
"""

import math

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_RATE_HZ = 8000.0
_CUTOFF_HZ = 0.99 * 0.5 * _RATE_HZ
_ZEROS = 6
REACH = 6
"""Input samples that an output sample depends on, on each side."""


def _taps() -> Float32:
    """[2 * REACH + 1, 2]: weights of the input for the even and the odd output samples."""
    half_width = _ZEROS / (2.0 * _CUTOFF_HZ)
    taps = np.zeros((2 * REACH + 1, 2))
    for odd in (0, 1):
        for i in range(2 * REACH + 1):
            t = (i - REACH - odd / 2) / _RATE_HZ
            if abs(t) < half_width:
                window = 0.5 * (1 + math.cos(2 * math.pi * _CUTOFF_HZ / _ZEROS * t))
                taps[i, odd] = window * 2 * _CUTOFF_HZ / _RATE_HZ * np.sinc(2 * _CUTOFF_HZ * t)
    return taps.astype(np.float32)


_TAPS = _taps()


class Upsampler:
    """Doubles the rate of one stream; its output lags by `REACH` input samples."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = np.zeros(REACH, np.float32)

    def feed(self, samples: Float32) -> Float32:
        """float32 [n] at 8 kHz -> float32 [m] at 16 kHz, m = 2 n after the first call."""
        sound = np.concatenate([self._tail, samples])
        self._tail = sound[-2 * REACH :]
        if len(sound) <= 2 * REACH:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(sound, 2 * REACH + 1)
        return np.asarray((windows @ _TAPS).reshape(-1), np.float32)
