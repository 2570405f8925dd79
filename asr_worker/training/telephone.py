"""A simulated telephone line, and the features that sherpa-onnx makes of it, in numpy alone.

`features` repeats what sherpa-onnx computes for 8 kHz sound with its defaults (sample_rate 16000,
feature_dim 80): kaldi log-mel bins, 25 ms windows every 10 ms, no dither.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_worker.upsample import REACH, Upsampler
from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import decode, encode, to_float, to_int16

Float32 = NDArray[np.float32]
Random = np.random.Generator

RATE_HZ = 16_000
WINDOW, SHIFT, FFT, BINS = 400, 160, 512, 80
LOW_HZ, HIGH_HZ = 20.0, RATE_HZ / 2 - 400.0
PREEMPHASIS = 0.97
NOISES = ("white", "pink", "brown", "hum")


def _mel(hz: NDArray[np.float64] | float) -> Any:
    return 1127.0 * np.log(1.0 + hz / 700.0)


def _mel_banks() -> Float32:
    """[256, 80] triangular weights; the Nyquist bin is left out, as kaldi does."""
    low, high = _mel(LOW_HZ), _mel(HIGH_HZ)
    width = (high - low) / (BINS + 1)
    at = _mel(np.arange(FFT // 2) * RATE_HZ / FFT)[:, None]
    left = low + np.arange(BINS) * width
    rising, falling = (at - left) / width, (left + 2 * width - at) / width
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None), np.float32)


_BANKS = _mel_banks()
_POVEY = ((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))) ** 0.85).astype(
    np.float32
)


def features(samples: Float32) -> Float32:
    """float32 [n] at 8 kHz in [-1, 1] -> log-mel [frames, 80], a frame for every 10 ms."""
    padded = np.concatenate([samples, np.zeros(REACH, np.float32)])
    sound = Upsampler().feed(padded)
    frames = (len(sound) + SHIFT // 2) // SHIFT
    if frames == 0:
        return np.zeros((0, BINS), np.float32)
    lead = WINDOW // 2 - SHIFT // 2  # snip_edges false: the ends are mirrored
    tail = max(0, (frames - 1) * SHIFT + WINDOW - lead - len(sound))
    mirrored = np.concatenate([sound[:lead][::-1], sound, sound[::-1][:tail]])
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, WINDOW)[::SHIFT][:frames]
    windows = windows - windows.mean(1, keepdims=True)
    windows[:, 1:] -= PREEMPHASIS * windows[:, :-1]
    windows[:, 0] *= 1 - PREEMPHASIS
    spectrum = np.fft.rfft(windows * _POVEY, FFT)[:, : FFT // 2]
    power = spectrum.real**2 + spectrum.imag**2
    floor = np.finfo(np.float32).eps
    return np.asarray(np.log(np.maximum(power @ _BANKS, floor)), np.float32)


def noise(random: Random, count: int, kind: str | None = None) -> Float32:
    """Noise [count] of unit RMS: one of `NOISES`, drawn when not given."""
    kind = kind or str(random.choice(NOISES, p=[0.35, 0.35, 0.2, 0.1]))
    sound: NDArray[np.float64]
    if kind == "hum":
        t = np.arange(count) / SAMPLE_RATE_HZ
        sound = 0.2 * random.standard_normal(count)
        for k in range(1, 8):
            phase = random.uniform(0, 6)
            sound += random.uniform(0.1, 1) * np.sin(2 * np.pi * 50 * k * t + phase)
    elif kind == "white":
        sound = random.standard_normal(count)
    else:
        size = 1 << max(1, count - 1).bit_length()
        spectrum = np.fft.rfft(random.standard_normal(size))
        hz = np.maximum(np.arange(len(spectrum)) * SAMPLE_RATE_HZ / size, 30.0)
        sound = np.fft.irfft(spectrum / hz ** (0.5 if kind == "pink" else 1.0))[:count]
    return np.asarray(sound / (np.sqrt(np.mean(sound**2)) + 1e-9), np.float32)


def rms(samples: Float32) -> float:
    """RMS over the louder half of the samples, so that pauses do not count."""
    loud = np.sort(np.abs(samples))[len(samples) // 2 :]
    return float(np.sqrt(np.mean(loud**2)) / 1.4) + 1e-9


def _drawn_snr_db(random: Random) -> float:
    choices = (random.uniform(5, 15), random.uniform(15, 30), random.uniform(30, 60), np.inf)
    return float(random.choice(choices, p=[0.3, 0.35, 0.2, 0.15]))


def line(
    random: Random,
    samples: Float32,
    *,
    snr_db: float | None = None,
    codec: str | None = None,
    level_db: float | None = None,
    babble: Float32 | None = None,
) -> Float32:
    """An utterance as the far end hears it: filter, level, noise, clipping, G.711.

    Arguments that are None are drawn. `babble` takes the place of noise; `snr_db` may be infinite.
    """
    sound = samples.astype(np.float32)
    if random.random() < 0.6:  # a spectral tilt
        taps = (random.normal(0, 0.25, 7) * np.hanning(9)[1:-1]).astype(np.float32)
        taps[3] = 1.0
        sound = np.convolve(sound, taps, "same")
    if random.random() < 0.3:  # the 300 Hz high-pass of old lines
        low = np.convolve(sound, np.full(21, 1 / 21, np.float32), "same")
        sound = sound - low * np.float32(random.uniform(0.5, 1))
    if random.random() < 0.2:  # a short room echo
        delay = int(random.integers(40, 320))
        sound[delay:] += np.float32(random.uniform(0.05, 0.3)) * sound[:-delay].copy()
    level_db = random.uniform(-36, -8) if level_db is None else level_db
    sound = sound * np.float32(10 ** (level_db / 20) / rms(sound))
    snr_db = _drawn_snr_db(random) if snr_db is None else snr_db
    if np.isfinite(snr_db):
        other = noise(random, len(sound)) if babble is None else babble / np.float32(rms(babble))
        sound = sound + other * np.float32(10 ** ((level_db - snr_db) / 20))
    codec = codec or str(random.choice(["pcmu", "pcma", "l16"], p=[0.45, 0.45, 0.1]))
    return to_float(decode(codec, encode(codec, to_int16(np.asarray(sound, np.float32)))))
