"""The sound of a simulated person on a telephone line."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringlog.audio.espeak import speak

RATE_HZ = 8_000
LEVEL_RMS = 2_600.0
"""Speech level on the line, about -22 dBFS."""

_AUDIBLE = 0.02

Int16 = NDArray[np.int16]


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice, its speed in words a minute and pitch (0 to 99), and how far the line's
    noise lies below the speech, dB."""

    name: str
    speed: int
    pitch: int
    snr_db: float


def utterance(text: str, voice: Voice) -> Int16:
    """A spoken line in telephone band (300 to 3,400 Hz) at line level: int16 [n] at 8 kHz.

    It begins and ends with speech, so that its end is where speech ends.
    """
    x = speak(text, voice=voice.name, speed=voice.speed, pitch=voice.pitch).astype(np.float64)
    loud = np.flatnonzero(np.abs(x) > _AUDIBLE * np.max(np.abs(x), initial=0))
    x = x[loud[0] : loud[-1] + 1]
    spectrum = np.fft.rfft(x)
    hz = np.fft.rfftfreq(len(x), 1 / RATE_HZ)
    edge = np.clip((hz - 150) / 150, 0, 1) * np.clip((3_700 - hz) / 300, 0, 1)
    x = np.fft.irfft(spectrum * edge, len(x))
    upper = np.sort(np.abs(x))[len(x) // 2 :]
    x *= LEVEL_RMS / (np.sqrt(np.mean(upper**2)) + 1e-9)
    return np.clip(np.rint(x), -32_768, 32_767).astype(np.int16)


def line_noise(seconds: float, voice: Voice, seed: int) -> Int16:
    """Noise of the line, to be laid under everything: int16 [n] at 8 kHz, pink."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE_HZ)
    hz = np.maximum(np.fft.rfftfreq(n, 1 / RATE_HZ), 30.0)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / np.sqrt(hz), n)
    x *= LEVEL_RMS * 10 ** (-voice.snr_db / 20) / np.sqrt(np.mean(x**2))
    return np.clip(np.rint(x), -32_768, 32_767).astype(np.int16)
