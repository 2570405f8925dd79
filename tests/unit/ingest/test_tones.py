"""Tones of the network and of mailboxes, over noise, and what is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.sound.tones import ToneName, Tones
from ringlog.audio import espeak
from ringlog.audio.g711 import decode, encode

Sound = NDArray[np.float64]


def tone(hz: float, ms: int, second_hz: float = 0.0, db: float = -20.0) -> Sound:
    t = np.arange(ms * 8) / 8000
    wave = np.sin(2 * np.pi * hz * t)
    if second_hz:
        wave = (wave + np.sin(2 * np.pi * second_hz * t)) / np.sqrt(2)
    return np.asarray(wave * np.sqrt(2) * 32768 * 10 ** (db / 20))


def silence(ms: int) -> Sound:
    return np.zeros(ms * 8)


def told(*parts: Sound, noise_db: float = -65.0) -> list[ToneName]:
    sound = np.concatenate(parts)
    sound = sound + np.random.default_rng(1).normal(0, 32768 * 10 ** (noise_db / 20), len(sound))
    tones, out = Tones(), list[ToneName]()
    for n in range(len(sound) // 160):
        frame = np.clip(sound[n * 160 : n * 160 + 160], -32768, 32767).astype(np.int16)
        out += tones.push(decode("pcmu", encode("pcmu", frame)))
    return out


NOISES = pytest.mark.parametrize("noise_db", [-70.0, -45.0])


@NOISES
@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ((913.8, 274), (1370.6, 274), "sit_intercept"),
        ((985.2, 380), (1370.6, 274), "sit_vacant"),
        ((913.8, 274), (1428.5, 380), "sit_other"),  # reorder
        ((985.2, 380), (1428.5, 380), "sit_other"),  # no circuit
    ],
)
def test_special_information_tones_of_north_america(
    noise_db: float, first: tuple[float, int], second: tuple[float, int], name: str
) -> None:
    parts = silence(300), tone(*first), tone(*second), tone(1776.7, 380), silence(800)
    assert told(*parts, noise_db=noise_db) == [name]


@NOISES
@pytest.mark.parametrize("gap_ms", [0, 30])
def test_special_information_tones_of_the_itu(noise_db: float, gap_ms: int) -> None:
    gap = silence(gap_ms)
    parts = silence(300), tone(950, 330), gap, tone(1400, 330), gap, tone(1800, 330), silence(800)
    assert told(*parts, noise_db=noise_db) == ["sit_other"]


@NOISES
@pytest.mark.parametrize(
    ("hz", "second_hz", "on_ms", "off_ms"),
    [
        (450, 0, 350, 350),  # China: busy
        (450, 0, 700, 700),  # China: congestion
        (425, 0, 500, 500),  # most of Europe
        (400, 0, 375, 375),  # United Kingdom
        (480, 620, 500, 500),  # North America: busy
        (480, 620, 250, 250),  # North America: reorder
    ],
)
def test_busy_is_told_once(
    noise_db: float, hz: float, second_hz: float, on_ms: int, off_ms: int
) -> None:
    cycle = tone(hz, on_ms, second_hz), silence(off_ms)
    assert told(silence(200), *cycle * 5, noise_db=noise_db) == ["busy"]


@NOISES
@pytest.mark.parametrize(
    ("hz", "second_hz", "on_ms"), [(450, 0, 1000), (425, 0, 1000), (440, 480, 2000)]
)
def test_ring_back(noise_db: float, hz: float, second_hz: float, on_ms: int) -> None:
    cycle = tone(hz, on_ms, second_hz), silence(4000)
    assert told(silence(200), *cycle * 2, noise_db=noise_db) == ["ringback"] * 2


@NOISES
@pytest.mark.parametrize("hz", [700, 1000, 1400, 2000])
@pytest.mark.parametrize("ms", [150, 400, 1000])
def test_a_beep(noise_db: float, hz: float, ms: int) -> None:
    assert told(silence(500), tone(hz, ms), silence(1000), noise_db=noise_db) == ["beep"]


def test_a_low_beep_is_told_once_no_cadence_follows() -> None:
    assert told(silence(300), tone(440, 400), silence(2000)) == ["beep"]


@pytest.mark.parametrize("voice", ["", "+f3", "+m4", "+f5", "+m8"])
@pytest.mark.parametrize("text", ["您好，我现在不方便接电话，请留言", "喂喂，嗯嗯嗯，啊"])
def test_voices_are_no_tones(voice: str, text: str) -> None:
    speech = espeak.speak(text, f"cmn-latn-pinyin{voice}").astype(np.float64)
    assert told(silence(300), speech, silence(2000)) == []


def test_music_is_no_beep() -> None:
    """Notes with harmonics, one after the other."""
    notes = [sum((tone(f * k, 300, db=-20 - 4 * k) for k in range(1, 5)), silence(300))
             for f in (523, 587, 659, 698, 784, 880) * 3]  # fmt: skip
    assert told(silence(300), *notes, silence(1000)) == []


@given(st.binary(max_size=160 * 200))
@settings(max_examples=30, deadline=None)
def test_any_octets_are_taken(octets: bytes) -> None:
    tones, samples = Tones(), decode("pcma", octets)
    for n in range(len(samples) // 160):
        assert len(tones.push(samples[n * 160 : n * 160 + 160])) <= 1
