"""Music is no speech, and no speech is music."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_worker.music import LEAST, MUSIC, Notes
from ringlog.audio import espeak
from ringlog.audio.g711 import Int16, decode, encode
from tests.unit.asr_worker import noises
from tests.unit.asr_worker.material import recognisers
from tests.unit.asr_worker.test_accuracy import fsmn, needs_recordings
from tests.unit.asr_worker.test_noises import heard

PIECES = [(timbre, chords) for timbre in noises.TIMBRES for chords in (False, True)]
LINES = [
    "喂，你好，请问你找谁", "我不需要，你们不要再打电话来了", "多少钱啊，太贵了", "八八八八八八",
    "今天星期三我没有空", "可以，你说吧，我在听", "我在开会，等一下再打", "嗯嗯嗯，好的好的好的",
]  # fmt: skip


def still(sound: Int16) -> float:
    notes = Notes()
    notes.push(decode("pcmu", encode("pcmu", sound)))
    return notes.still()


@cache
def piece(timbre: str, chords: bool) -> Int16:
    return noises.piece(timbre, 15, 3, chords=chords)


@pytest.mark.parametrize("model", ["demo", pytest.param("fsmn", marks=needs_recordings)])
def test_A1_made_music_becomes_no_words(model: str) -> None:
    recogniser, detector = (
        (recognisers().get("demo"), "fast") if model == "demo" else (fsmn()[1], "people")
    )
    words = {
        key: [t.text for t in heard(piece(*key), recogniser, detector) if t.text] for key in PIECES
    }
    assert not any(words.values()), words


@pytest.mark.parametrize("timbre", noises.TIMBRES)
def test_the_notes_of_a_melody_stand_still(timbre: str) -> None:
    assert still(piece(timbre, False)[: 5 * noises.RATE_HZ]) >= MUSIC


@pytest.mark.parametrize("voice", ["+f3", "+m4", "+f1"])
def test_no_words_are_music(voice: str) -> None:
    """Also of voices whose pitch is level by the letter: no person's is."""
    for line in LINES:
        for speed in (130, 190):
            said = espeak.speak(line, f"cmn-latn-pinyin{voice}", speed, fix_readings=True)
            assert still(said) < MUSIC, (line, voice, speed)


@needs_recordings
def test_no_recording_of_a_person_is_music() -> None:
    from bench.sound.material import recordings

    shares = [still(np.clip(said.sound, -32768, 32767).astype(np.int16)) for said in recordings()]
    assert len(shares) >= 8 and max(shares) < MUSIC / 2


def test_words_over_silence_and_nothing_are_not_judged() -> None:
    assert still(np.zeros(8_000, np.int16)) == 0.0
    assert Notes().still() == 0.0
    assert still(noises.piece("organ", LEAST * 0.016 - 0.1, 1)) == 0.0, "too short"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=12))
def test_the_judgement_does_not_depend_on_the_pieces(sizes: list[int]) -> None:
    sound = noises.piece("plucked", 2.5, 5)
    whole, parts, at = Notes(), Notes(), 0
    for size in sizes:
        parts.push(sound[at : at + size])
        at += size
    whole.push(sound[:at])
    assert parts.still() == pytest.approx(whole.still())
