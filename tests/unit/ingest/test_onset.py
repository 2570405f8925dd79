"""The voice onset: speech over noise is told, noise and echo are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.sound.onset import Onset, level_db
from ingest.sound.types import CodecName
from ringlog.audio.g711 import encode

Sound = NDArray[np.float64]


def noise(db: float, ms: int, seed: int = 0) -> Sound:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 32768 * 10 ** (db / 20), ms * 8)


def speechlike(db: float, ms: int) -> Sound:
    """A vowel: 140 Hz and harmonics, at `db` dBFS."""
    t = np.arange(ms * 8) / 8000
    wave = sum(np.sin(2 * np.pi * 140 * k * t + k) / k for k in range(1, 12))
    return np.asarray(wave / np.std(wave) * 32768 * 10 ** (db / 20))


def onsets(sound: Sound, codec: CodecName = "pcmu", playing_db: float = 0.0) -> list[int]:
    """Times of onsets, ms."""
    onset, found = Onset(), []
    for n in range(len(sound) // 160):
        part = np.clip(sound[n * 160 : n * 160 + 160], -32768, 32767).astype(np.int16)
        if onset.push(codec, encode(codec, part), playing_db):
            found.append(n * 20)
    return found


@pytest.mark.parametrize("codec", ["pcmu", "pcma", "l16"])
@pytest.mark.parametrize("floor_db", [-75.0, -55.0])
def test_speech_is_told_within_100_ms(codec: CodecName, floor_db: float) -> None:
    sound = noise(floor_db, 3000)
    sound[12_000:18_000] += speechlike(-25, 750)
    found = onsets(sound, codec)
    assert len(found) == 1 and 1500 <= found[0] <= 1600


def test_steady_noise_is_no_speech() -> None:
    assert onsets(noise(-50, 10_000))[1:] == []  # at most one, before the floor is known


def test_a_click_is_no_speech() -> None:
    sound = noise(-70, 1000)
    sound[4000:4080] = 20_000
    assert onsets(sound) == []


def test_each_utterance_is_told_once() -> None:
    sound = noise(-70, 6000)
    for start in (8_000, 24_000, 40_000):
        sound[start : start + 6000] += speechlike(-25, 750)
    assert len(onsets(sound)) == 3


def test_echo_of_our_own_prompt_is_no_speech() -> None:
    prompt, line = speechlike(-15, 2000), noise(-70, 2000)
    payload = encode("pcmu", np.clip(prompt[:160], -32768, 32767).astype(np.int16))
    playing = level_db("pcmu", payload)
    echo = line + prompt * 10 ** (-28 / 20)
    assert onsets(echo, playing_db=playing) == []
    assert onsets(line + speechlike(-25, 2000), playing_db=playing)


def test_levels_agree_between_codecs() -> None:
    part = speechlike(-20, 20).astype(np.int16)
    levels = [level_db(codec, encode(codec, part)) for codec in ("pcmu", "pcma", "l16")]
    assert max(levels) - min(levels) < 1.5
    assert level_db("pcmu", b"") == 0 and level_db("l16", b"x") == 0
    assert level_db("pcmu", b"\xff" * 160) == 0
