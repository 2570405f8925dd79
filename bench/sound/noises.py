"""Noises of a telephone line's far end, made here from fixed seeds: float64 [n] at 8 kHz, RMS 1."""

from collections.abc import Callable
from typing import Final

import numpy as np

from bench.sound.material import CROWD, Sound, lines, spoken
from ringlog.audio import SAMPLE_RATE_HZ

_TALKERS: Final = 8


def babble(count: int, seed: int) -> Sound:
    """Eight people who talk without a pause, none of them a customer."""
    random = np.random.default_rng(seed)
    out = np.zeros(count)
    for n in range(_TALKERS):
        at = -int(random.integers(0, SAMPLE_RATE_HZ))
        while at < count:
            text, speed = str(random.choice(lines())), int(random.choice((160, 190, 220)))
            said = spoken(text, CROWD[n % len(CROWD)], speed) * 10 ** (random.uniform(-6, 0) / 20)
            lo, hi = max(at, 0), min(at + len(said), count)
            if lo < hi:
                out[lo:hi] += said[lo - at : hi - at]
            at += len(said)
    return _unit(out)


def street(count: int, seed: int) -> Sound:
    """Traffic: noise whose power falls with frequency, swelling as cars pass."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft(random.standard_normal(count))
    hz = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ), 40.0)
    out = np.fft.irfft(spectrum / hz**0.8, count)
    t = np.arange(count) / SAMPLE_RATE_HZ
    swell = sum(
        np.sin(2 * np.pi * (t * random.uniform(0.08, 0.4) + random.uniform())) for _ in range(3)
    )
    return _unit(out * 10 ** (2.0 * swell / 20))


def hum(count: int, seed: int) -> Sound:
    """Mains: 50 Hz and harmonics to 1 kHz, with a little hiss."""
    random = np.random.default_rng(seed)
    t = np.arange(count) / SAMPLE_RATE_HZ
    out = 0.02 * random.standard_normal(count)
    for k in range(1, 21):
        phase = random.uniform(0, 2 * np.pi)
        out += random.uniform(0.5, 1.0) / k**0.7 * np.sin(2 * np.pi * 50 * k * t + phase)
    return _unit(out)


KINDS: Final[dict[str, Callable[[int, int], Sound]]] = {
    "babble": babble, "street": street, "hum": hum,
}  # fmt: skip
"""Name -> noise of (samples, seed)."""


def _unit(sound: Sound) -> Sound:
    return np.asarray(sound / np.sqrt((sound**2).mean()))
