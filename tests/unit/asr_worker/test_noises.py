"""A1: what lines carry besides speech becomes no words. An announcement is speech, and does: what
robots make of that is tested with them (`test_robots_answerer`)."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from asr_worker.bank import thresholds_of
from asr_worker.detector import shared
from asr_worker.recogniser import Recogniser
from asr_worker.transcriber import Final, Transcriber
from ringlog.audio import espeak
from ringlog.audio.g711 import Int16, decode, encode
from tests.unit.asr_worker import noises
from tests.unit.asr_worker.material import recognisers
from tests.unit.asr_worker.test_accuracy import fsmn, needs_recordings
from tests.unit.robots.robot_talk import Log

ANNOUNCEMENT = "您拨打的电话已关机，请稍后再拨"

SOUNDS: dict[str, Callable[[], Int16]] = {
    "ring-back": noises.ring_back,
    "busy": noises.busy,
    "fax": noises.fax,
    "keys": noises.dtmf,
    "music": noises.music,
    "white -35": lambda: noises.noise(-35, pink=False),
    "white -50": lambda: noises.noise(-50, pink=False),
    "pink -35": lambda: noises.noise(-35, pink=True),
    "pink -50": lambda: noises.noise(-50, pink=True),
}


def heard(sound: Int16, recogniser: Recogniser, detector: str) -> list[Final]:
    """Finals of a leg that carries a sound, over a mu-law line."""
    thresholds = thresholds_of(recognisers().registry.detectors[detector], 500, "x")
    transcriber = Transcriber(shared(), lambda _: recogniser)
    slot = transcriber.add(0, 0, thresholds)
    transcriber.push(slot, decode("pcmu", encode("pcmu", sound)))
    transcriber.finish(slot)

    def steps() -> Iterator[Final]:
        while transcriber.busy:
            yield from transcriber.step().finals

    return list(steps())


def announcement() -> Int16:
    """A carrier's announcement, half a second after the line opens."""
    said = espeak.speak(ANNOUNCEMENT, "cmn-latn-pinyin+f3", fix_readings=True)
    return np.concatenate([np.zeros(4_000, np.int16), said, np.zeros(8_000, np.int16)])


@pytest.mark.parametrize("name", SOUNDS)
def test_A1_tones_music_and_noise_become_no_words_of_the_demo_model(name: str) -> None:
    finals = heard(SOUNDS[name](), recognisers().get("demo"), "fast")
    assert [t.text for t in finals if t.text] == []


@needs_recordings
@pytest.mark.parametrize("name", SOUNDS)
def test_A1_tones_music_and_noise_become_no_words_of_a_real_model(name: str) -> None:
    finals = heard(SOUNDS[name](), fsmn()[1], "people")
    assert [t.text for t in finals if t.text] == []


def test_A1_the_next_words_after_tones_are_heard() -> None:
    """So that silence above is the detector's judgement and not a deaf leg."""
    speech = espeak.speak("价格太高了", "cmn-latn-pinyin+f3", fix_readings=True)
    pause = np.zeros(8_000, np.int16)
    sound = np.concatenate([noises.ring_back(), noises.dtmf(), pause, speech, pause])
    finals = heard(sound, recognisers().get("demo"), "fast")
    assert [t.text for t in finals if t.text] == ["价格太高了"]


def test_A1_a_misheard_announcement_is_not_acted_on_as_the_customers_words() -> None:
    """Its sound is a person's, so it becomes words, which the demo model does not get right. The
    robot does nothing because of them but ask again."""
    finals = [t.text for t in heard(announcement(), recognisers().get("demo"), "fast") if t.text]
    assert finals, "an announcement is speech"
    log = Log()
    log.talk(*finals)
    for turn in log.turns:
        assert turn.meaning in {None, "unclear"} and turn.slots == {}
        assert turn.intent in {"", "unclear"} and turn.outcome in {None, "reprompt"}
