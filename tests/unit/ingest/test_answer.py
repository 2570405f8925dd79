"""Who answered, by sound: the timing of greetings, and a session's frames."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.call.machine import decide
from ingest.call.types import AnswerHeard, Directed, WatchAnswer, Write
from ingest.sound.answer import (
    HUMAN_WATCH_MS,
    MONOLOGUE_MS,
    TURN_MS,
    VERDICT_MS,
    WATCH_MS,
    AnswerWatch,
    Heard,
)
from tests.unit.ingest.test_edge_calls import answered_call, directive
from tests.unit.ingest.test_edge_session import Call, voice
from tests.unit.ingest.test_onset import noise, speechlike
from tests.unit.ingest.test_tones import silence, tone

Sound = NDArray[np.float64]


def words(ms: int) -> Sound:
    """Speech: syllables of 180 ms with dips of 40 ms between."""
    parts = [np.concatenate((speechlike(-22, 180), silence(40))) for _ in range(-(-ms // 220))]
    return np.concatenate(parts)[: ms * 8]


def told(*parts: Sound, line_db: float = -65) -> list[Heard]:
    sound = np.concatenate(parts)
    sound = sound + noise(line_db, len(sound) // 8)[: len(sound)]
    watch, out = AnswerWatch(), list[Heard]()
    samples = np.clip(sound, -32768, 32767).astype(np.int16)
    for n in range(0, len(samples), 130):  # whatever the packets are
        out += watch.push(samples[n : n + 130])
    return out


def names(heard: list[Heard]) -> list[str]:
    return [h.name for h in heard]


@pytest.mark.parametrize("line_db", [-70, -45])
@pytest.mark.parametrize("ms", [300, 800, 1500])
def test_a_short_greeting_and_silence_is_a_person(ms: int, line_db: float) -> None:
    heard = told(silence(400), words(ms), silence(4000), line_db=line_db)
    assert "human" in names(heard) and "machine" not in names(heard)
    human = next(h for h in heard if h.name == "human")
    assert human.at_ms <= 400 + ms + TURN_MS + 100


@pytest.mark.parametrize("line_db", [-70, -45])
def test_a_long_greeting_is_a_machine_once_no_person_would_talk_so_long(line_db: float) -> None:
    heard = told(silence(300), words(9000), silence(6000), line_db=line_db)
    assert names(heard) == ["talks", "machine", "quiet"]
    assert heard[0].at_ms <= VERDICT_MS + 100
    assert heard[1].at_ms <= 300 + MONOLOGUE_MS + 200


def test_a_long_answer_is_a_pause_and_no_machine() -> None:
    assert names(told(silence(300), words(3500), silence(6000))) == ["talks", "pause"]


def test_nothing_is_told_as_silence_in_time() -> None:
    (heard,) = told(silence(4000))
    assert heard == Heard("silence", VERDICT_MS)


def test_steady_noise_is_nobody() -> None:
    assert names(told(silence(8000), line_db=-40)) == ["silence"]


def test_the_beep_after_a_greeting() -> None:
    heard = told(silence(300), words(7000), silence(500), tone(1000, 400), silence(3000))
    assert names(heard) == ["talks", "machine", "beep"]


def test_a_watch_ends() -> None:
    watch = AnswerWatch()
    while not watch.over:
        watch.silence()
    assert watch.at_ms == WATCH_MS
    watch = AnswerWatch()
    watch.push(np.clip(np.concatenate((words(500), silence(700))), -32768, 32767).astype(np.int16))
    while not watch.over:
        watch.silence()
    assert watch.at_ms == HUMAN_WATCH_MS


def test_a_session_tells_it_also_when_nothing_arrives() -> None:
    call, heard = Call(), list[Heard]()
    call.run(10)
    call.session.watch_answer(heard.append)
    call.run(150)
    assert names(heard) == ["silence"]
    call.run(25, hear=voice())
    call.run(60)
    assert names(heard) == ["silence", "human"], "the far end suppresses silence"


def test_a_listen_directive_starts_the_watch_and_what_it_hears_is_recorded() -> None:
    host = answered_call()
    commands = decide(host.call, Directed(directive("listen", 1, reason="answerer")), 1)
    assert commands == [WatchAnswer()]
    host.feed(AnswerHeard("unsure", 2000), AnswerHeard("beep", 9000), AnswerHeard("beep", 9900))
    written = [c.event for c in host.commands if isinstance(c, Write)]
    assert [(e.kind, e.answered_by) for e in written] == [
        ("amd", "unsure"), ("amd", "beep"), ("amd", "beep"),
    ]  # fmt: skip
    assert len({e.event_id for e in written}) == 3
