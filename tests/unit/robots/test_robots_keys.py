"""Menus and numbers by keypad: entries, pauses, wrong entries, keys typed ahead, and the checks."""

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.settings import root
from ringlog.yaml_source import InvalidFile
from schemas.events import Directive
from streams.robots.keypad import complete
from streams.robots.library import Library
from streams.robots.loading import load
from streams.robots.playbook import DigitKeys
from tests.unit.robots.robot_talk import Log, kinds, published, texts

SURVEY = (root() / "examples" / "survey.yaml").read_text(encoding="utf-8")
MARK = "您好，请对我们的服务打分，非常满意请按五，不满意请按一"
ORDER = "请输入六位订单号，按井号键结束"
THANKS = "谢谢您的评价，再见"


@lru_cache
def library() -> Library:
    made = Library()
    made.evolve(published(load(SURVEY)))
    return made


def call() -> Log:
    log = Log(library=library())
    log.dial(playbook="survey", robot_id="r1")
    log.answer()
    log.write("calls.events", log.event("amd", answered_by="human"))
    said = log.speak()
    assert texts(said) == [MARK]
    log.start(said[0])
    return log


def press(log: Log, digits: str, pause_ms: int = 300) -> list[Directive]:
    """One key after the other; returns what the last one led to."""
    said: list[Directive] = []
    for digit in digits:
        log.now += pause_ms
        log.write("calls.events", log.event("dtmf", digits=digit))
        said = log.speak()
    return said


def test_a_menu_takes_one_key_and_stops_its_prompt() -> None:
    log = call()
    assert kinds(press(log, "5")) == ["stop", "say", "hangup"]
    assert log.turns[-1].outcome == "answered"


def test_a_number_is_complete_with_its_last_digit_or_with_its_end_key() -> None:
    log = call()
    log.play(press(log, "1"))
    assert log.node == "order"
    assert press(log, "12345") == []
    assert log.turns[-1].slots["typed"] == "12345"
    assert texts(press(log, "6")) == [THANKS]
    assert log.turns[-1].slots["order"] == "123456" and log.turns[-1].slots["typed"] == ""


def test_tries_run_out() -> None:
    log = call()
    log.play(press(log, "1"))
    for _ in range(2):
        again = press(log, "12#")
        assert texts(again) == ["订单号是六位数字", ORDER] and log.node == "order"
        log.play(again)
    gone = press(log, "12#")
    assert texts(gone) == ["请稍等，正在为您转接"] and gone[-1].kind == "transfer"


def test_keys_over_the_repeated_question_do_not_give_another_try() -> None:
    log = call()
    log.play(press(log, "1"))
    said = press(log, "12#")
    for _ in range(2):
        log.start(said[0])  # the question plays, and the first key cuts it
        assert kinds(press(log, "7")) == ["stop"]
        log.end(said[0], 300)
        said = press(log, "#")
    assert said[-1].kind == "transfer"


def test_a_pause_ends_an_entry() -> None:
    log = call()
    log.play(press(log, "1"))
    press(log, "12345")
    assert log.wait(3_999) == []
    assert texts(log.wait(1)) == ["订单号是六位数字", ORDER]
    assert log.turns[-1].input_kind == "silence"


def test_who_knows_the_menu_types_ahead_and_hears_no_question_twice() -> None:
    log = call()
    log.write("calls.events", log.event("dtmf", digits="1123456"))  # a carrier's report of them all
    said = log.speak()
    assert kinds(said) == ["stop", "say", "hangup"] and texts(said) == [THANKS]
    assert log.turns[-1].slots["order"] == "123456"
    assert ORDER not in [d.text for d in log.directives]


def test_keys_before_the_question_are_kept_for_a_while() -> None:
    book = SURVEY.replace("start: mark", "start: hello").replace(
        "nodes:\n", "nodes:\n  hello:\n    prompt: hello\n    transitions:\n"
        "      - {intent: good, to: mark}\n", 1,
    ).replace("prompts:\n", "prompts:\n  hello: {text: 您好}\n", 1)  # fmt: skip
    for pause_ms, heard in ((5_000, [THANKS]), (15_000, [MARK])):
        made = Library()
        made.evolve(published(load(book)))
        log = Log(library=made)
        log.dial(playbook="survey", robot_id="r1")
        log.answer()
        log.write("calls.events", log.event("amd", answered_by="human"))
        log.play(log.speak())
        assert press(log, "5") == [] and log.turns[-1].slots == {"typed": "5"}
        log.now += pause_ms - 1_000
        assert texts(log.say("满意")) == heard


def test_a_key_of_every_node_works_where_digits_are_asked_for() -> None:
    log = call()
    assert kinds(press(log, "0")) == ["stop", "say", "transfer"]


def test_a_spoken_answer_is_as_good() -> None:
    log = call()
    assert texts(log.say("非常满意")) == [THANKS]


@given(st.text("0123456789*#", max_size=60), st.integers(1, 20), st.sampled_from([None, "#", "*"]))
@settings(deadline=None)
def test_every_run_of_keys_is_taken_apart(typed: str, longest: int, until: str | None) -> None:
    keys = DigitKeys(max=longest, until=until)  # type: ignore[arg-type]
    while (entry := complete(typed, keys)) is not None:
        assert 0 < len(entry.digits) <= longest and len(entry.rest) < len(typed)
        assert until is None or until not in entry.digits
        typed = entry.rest


@given(st.lists(st.sampled_from(["1", "5", "0", "#", "123456", "9", "*"]), max_size=12))
@settings(deadline=None, max_examples=40)
def test_no_keys_break_a_dialogue(keys: list[str]) -> None:
    log = call()
    for key in keys:
        log.now += 500
        log.write("calls.events", log.event("dtmf", digits=key))
        log.speak()
    pressed = [t for t in log.turns if t.input_kind == "dtmf"]
    assert len(pressed) == len(keys)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('{dtmf: "5", to: thanks}', '{dtmf: "55", to: thanks}', "cannot be typed"),
        ("then: goodbye", "then: nowhere", "there is no node 'nowhere'"),
        ("invalid: wrong_mark", "invalid: nothing", "there is no prompt 'nothing'"),
        ("slot: order, to: thanks", "then: goodbye", "no entry leads anywhere"),
        ("max: 6, min: 6", "max: 6, min: 7", "`min` is more than `max`"),
        ("to: thanks, invalid", "to: opted_out, invalid", "without words that mean it"),
    ],
)
def test_faults_are_named(old: str, new: str, fault: str) -> None:
    assert old in SURVEY
    with pytest.raises(InvalidFile, match=fault):
        load(SURVEY.replace(old, new))
