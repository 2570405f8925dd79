"""Prompts are evenly loud, and never clipped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ringlog.audio.espeak import speak
from ringlog.audio.g711 import Int16
from ringlog.audio.loudness import PEAK, TARGET_LUFS, even, loudness_lufs, true_peak

RATE_HZ = 8_000


def tone(level: float, seconds: float = 2.0) -> Int16:
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(np.sin(2 * np.pi * 440 * times) * level * 32767, np.int16)


@pytest.mark.parametrize("level", [0.02, 0.1, 0.3])
def test_quiet_and_loud_become_the_same(level: float) -> None:
    assert loudness_lufs(even(tone(level), RATE_HZ), RATE_HZ) == pytest.approx(TARGET_LUFS, abs=0.1)


def test_the_measure_is_that_of_the_standard() -> None:
    """EBU Tech 3341, case 1: a 1 kHz sine of -23 dBFS is -23 LUFS in two channels, -26 in one."""
    times = np.arange(20 * 48_000) / 48_000
    sine = np.sin(2 * np.pi * 1_000 * times) * 10 ** (-23 / 20) * 32767
    assert loudness_lufs(sine.astype(np.int16), 48_000) == pytest.approx(-26.0, abs=0.1)


def test_voices_differ_by_less_than_a_listener_hears() -> None:
    texts = ("您好，请问是王先生吗？", "好的，再见。")
    spoken = [even(speak(t, f"cmn-latn-pinyin{v}"), RATE_HZ) for t in texts for v in ("", "+f3")]
    levels = [loudness_lufs(sound, RATE_HZ) for sound in spoken]
    assert max(levels) - min(levels) < 1.0


def test_the_peak_wins_over_the_target() -> None:
    clicks = np.zeros(RATE_HZ, np.int16)
    clicks[::800] = 12_000
    assert true_peak(even(clicks, RATE_HZ)) <= PEAK * 1.01


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros(8_000, np.int16)])
def test_silence_stays_silence(samples: Int16) -> None:
    assert np.array_equal(even(samples, RATE_HZ), samples)


@given(arrays.arrays(np.int16, st.integers(0, 3_000)))
def test_any_sound_is_taken(samples: Int16) -> None:
    made = even(samples, RATE_HZ)
    assert made.dtype == np.int16 and made.shape == samples.shape
