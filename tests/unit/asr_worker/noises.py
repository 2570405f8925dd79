"""What telephone lines carry besides speech (field report A1): int16 [n] at 8 kHz."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ringlog.audio.g711 import Int16

RATE_HZ = 8_000
Sound = NDArray[np.float64]


def tone(freqs_hz: Sequence[float], seconds: float, dbfs: float = -15.0) -> NDArray[np.float64]:
    """Equal sines, float64 [n]; `dbfs` is the level of their sum's power."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    amplitude = 32768 * 10 ** (dbfs / 20) * np.sqrt(2 / len(freqs_hz))
    return np.asarray(amplitude * sum(np.sin(2 * np.pi * f * t) for f in freqs_hz))


def _cadence(freqs_hz: Sequence[float], on_s: float, off_s: float, times: int) -> Int16:
    one = np.concatenate([tone(freqs_hz, on_s), np.zeros(int(off_s * RATE_HZ))])
    return np.clip(np.tile(one, times), -32768, 32767).astype(np.int16)


def ring_back() -> Int16:
    """China's ring-back tone, twice: 450 Hz, 1 s on and 4 s off."""
    return _cadence([450], 1, 4, 2)


def busy() -> Int16:
    """China's busy tone: 450 Hz, 0.35 s on and off."""
    return _cadence([450], 0.35, 0.35, 15)


def fax() -> Int16:
    """A calling fax (ITU-T T.30): 1100 Hz, 0.5 s on and 3 s off."""
    return _cadence([1100], 0.5, 3, 4)


def dtmf() -> Int16:
    """The keys 1 5 9 0 within the band, 0.1 s on and off."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    keys = [(0, 0), (1, 1), (2, 2), (3, 1)]
    return np.concatenate([_cadence([rows[r], columns[c]], 0.1, 0.1, 1) for r, c in keys * 3])


def music() -> Int16:
    """15 s of four chords, each note with overtones and a decay, as a hold loop has them."""
    chords = [(262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294)]
    parts: list[NDArray[np.float64]] = []
    t = np.arange(RATE_HZ // 2) / RATE_HZ
    for n in range(30):
        root = chords[n // 4 % 4]
        notes = [
            np.sin(2 * np.pi * f * k * t) / k for f in (*root, 2 * root[n % 3]) for k in (1, 2, 3)
        ]
        parts.append(np.sum(notes, axis=0) * np.exp(-3 * t))
    sound: NDArray[np.float64] = np.concatenate(parts)
    level = 3277 / float(np.sqrt(np.mean(sound**2)))
    return np.asarray(np.clip(sound * level, -32768, 32767), np.int16)


def noise(dbfs: float, *, pink: bool, seconds: int = 60) -> Int16:
    """White or pink noise, the same at every call."""
    random = np.random.default_rng(11)
    spectrum = np.fft.rfft(random.standard_normal(seconds * RATE_HZ))
    if pink:
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    sound = np.fft.irfft(spectrum)
    level = 32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(sound**2))
    return np.asarray(np.clip(sound * level, -32768, 32767), np.int16)


TIMBRES = ("piano", "organ", "strings", "flute", "plucked")
_SCALE = (0, 2, 4, 5, 7, 9, 11)


def _note(timbre: str, hz: float, seconds: float, random: np.random.Generator) -> Sound:
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    overtones = [k for k in range(1, 13) if hz * k < 3_800]
    if timbre == "plucked":  # a string that loses its overtones, after Karplus and Strong
        string = random.uniform(-1, 1, max(2, int(RATE_HZ / hz)))
        out = np.empty(len(t))
        for n in range(len(t)):
            k = n % len(string)
            out[n] = string[k]
            string[k] = 0.498 * (string[k] + string[(k + 1) % len(string)])
    elif timbre == "piano":
        out = sum(np.sin(2 * np.pi * hz * k * t) / k**1.2 * np.exp(-(2 + k) * t) for k in overtones)
    elif timbre == "organ":
        out = sum(np.sin(2 * np.pi * hz * k * t) / k for k in overtones if k in (1, 2, 3, 4, 6))
    else:
        wobble = 0.5 * np.sin(2 * np.pi * 5.3 * t + random.uniform(0, 6))
        most = 3 if timbre == "flute" else 12
        out = sum(np.sin(k * (2 * np.pi * hz * t + wobble)) / k for k in overtones if k <= most)
        out = out * np.minimum(1, t / 0.06)
    return np.asarray(out * np.minimum(1, (seconds - t) / 0.02))


def piece(timbre: str, seconds: float, seed: int, *, chords: bool = False) -> Int16:
    """A melody in a rhythm, with rests, or chords of a second; -22 dBFS."""
    random = np.random.default_rng(seed)
    sound, at, degree = np.zeros(int((seconds + 4) * RATE_HZ)), 0.0, 7
    while at < seconds:
        length = 1.0 if chords else float(0.25 * random.choice([1, 1, 1, 2, 2, 3, 4]))
        degree = int(np.clip(degree + random.integers(-3, 4), 0, 16))
        for step in (0, 2, 4) if chords else (0,):
            octave, note = divmod(degree + step, 7)
            played = _note(timbre, 196 * 2 ** (octave + _SCALE[note] / 12), length * 0.95, random)
            if chords or random.random() > 0.1:
                first = int(at * RATE_HZ)
                sound[first : first + len(played)] += played
        at += length
    sound = sound[: int(seconds * RATE_HZ)]
    level = 32768 * 10 ** (-22 / 20) / np.sqrt(np.mean(sound**2))
    return np.asarray(np.clip(sound * level, -32768, 32767), np.int16)
