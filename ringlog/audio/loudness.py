"""Even loudness: every prompt is as loud as the next, whatever voice or microphone made it."""

import warnings
from typing import Final

import numpy as np
import pyloudnorm
import soxr

from ringlog.audio.g711 import Int16

TARGET_LUFS: Final = -20.0
"""Integrated loudness (EBU R 128): that of espeak-ng's sentences within 2 dB. Broadcast has -23; a
telephone in a street needs more, and speech at more than -18 would be clipped."""

PEAK: Final = 10 ** (-1 / 20)
"""True peak of -1 dBFS, which wins over the target: G.711 clips above."""

BLOCK_S: Final = 0.4
"""Block of the measurement (ITU-R BS.1770). A shorter prompt is one block."""

QUIETEST_LUFS: Final = -60.0
"""What is quieter is silence or noise, and stays as it is."""


def loudness_lufs(samples: Int16, rate_hz: int) -> float:
    """Integrated loudness of int16 [n]; minus infinity for silence or nothing."""
    if not len(samples) or not samples.any():
        return float("-inf")
    block_s = min(BLOCK_S, len(samples) / rate_hz)
    meter = pyloudnorm.Meter(rate_hz, block_size=block_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prompt below the gate divides by zero: minus infinity
        return float(meter.integrated_loudness(samples / 32768.0))


def true_peak(samples: Int16) -> float:
    """Largest value between the samples too, of full scale 1 (BS.1770 annex 2: four times)."""
    if not len(samples):
        return 0.0
    between = soxr.resample(samples.astype(np.float32) / 32768.0, 1, 4, quality="HQ")
    return float(max(np.abs(between).max(initial=0.0), np.abs(samples / 32768.0).max()))


def even(samples: Int16, rate_hz: int) -> Int16:
    """int16 [n] at the target loudness, or as near to it as the peak allows."""
    measured = loudness_lufs(samples, rate_hz)
    if measured < QUIETEST_LUFS:
        return samples
    gain = float(10 ** ((TARGET_LUFS - measured) / 20))
    gain = min(gain, PEAK / max(true_peak(samples), 1e-9))
    return np.asarray(np.clip(np.rint(samples * gain), -32768, 32767), np.int16)
