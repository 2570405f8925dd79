"""Somebody talks for two minutes without a pause: turns are cut, and no word is lost or doubled."""

from functools import cache

import numpy as np

from asr_worker.rules import LONGEST_TURN
from ringlog.audio import espeak
from ringlog.audio.g711 import Int16
from tests.unit.asr_worker.material import recognisers
from tests.unit.asr_worker.test_noises import heard

PHRASES = ("价格太高了", "我不需要", "有没有优惠", "我现在很忙")
SECONDS = 125


@cache
def phrase(text: str) -> Int16:
    sound = espeak.speak(text, "cmn-latn-pinyin+f3", fix_readings=True)
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > 300)
    return np.concatenate([sound[loud[0] : loud[-1] + 1], np.zeros(8 * 150, np.int16)])


def speech() -> tuple[Int16, list[str]]:
    """(sound, its phrases): pauses of 150 ms only."""
    parts, said, n = [np.zeros(4_000, np.int16)], list[str](), 0
    while n < SECONDS * 8_000:
        text = PHRASES[len(said) % len(PHRASES)]
        parts.append(phrase(text))
        said.append(text)
        n += len(parts[-1])
    parts.append(np.zeros(16_000, np.int16))
    return np.concatenate(parts), said


def test_two_minutes_without_a_pause_are_cut_into_finals_without_loss() -> None:
    sound, said = speech()
    finals = heard(sound, recognisers().get("demo"), "fast")
    lengths = [final.mark - final.start for final in finals]
    assert len(finals) == 5 and all(n >= LONGEST_TURN for n in lengths[:4])
    # A phrase that lies across a cut may be spelt otherwise; all others come once, in order.
    texts = "".join(final.text for final in finals)
    found, at = 0, 0
    for text in said:
        where = texts.find(text, at)
        if where >= 0:
            found, at = found + 1, where + len(text)
    assert found >= len(said) - 4, (found, len(said))
    assert abs(len(texts) - sum(map(len, said))) <= 8
    for before, after in zip(finals, finals[1:], strict=False):
        assert after.start - before.mark <= 8_000, "the next turn opens within a second"
