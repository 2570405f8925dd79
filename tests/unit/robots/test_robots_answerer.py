"""Who answered: a held first prompt, machines, mailboxes, assistants, announcements, and people."""

from collections.abc import Callable
from functools import lru_cache

import pytest

from ringlog.dispositions import NOT_A_PERSON
from ringlog.yaml_source import InvalidFile
from schemas.events import Directive, ProfileInbox
from schemas.phone import Numbers
from streams.profiles.fold import evolve, parse
from streams.profiles.router import copies
from streams.profiles.state import Customer
from streams.robots.answerer import HOLD_MS, TALK_MS, verdict_of, verdict_of_words
from streams.robots.library import Library
from streams.robots.loading import load
from streams.robots.overlap import BEEP_MS, LATE_MS
from tests.unit.robots.robot_talk import Log, kinds, published, script_of, texts

GREETING = "您好，请问您现在方便接电话吗"
MESSAGE = "您好，我们稍后再联系您，再见"
WHO = "您好，这里是客服中心"


def playbook(answerer: str) -> str:
    text = script_of().text.replace("start: greeting\n", f"start: greeting\n{answerer}\n")
    prompts = f"prompts:\n  leave_word: {{text: {MESSAGE}}}\n  who: {{text: {WHO}}}\n"
    return text.replace("prompts:\n", prompts, 1)


@lru_cache
def library(answerer: str) -> Library:
    made = Library()
    made.evolve(published(load(playbook(answerer))))
    return made


FULL = "answerer: {hold: true, voicemail: leave_word, screening: who}"


def answered(answerer: str = FULL) -> tuple[Log, list[Directive]]:
    log = Log(library=library(answerer))
    log.dial(robot_id="r1")
    return log, log.answer()


def hears(log: Log, name: str, after_ms: int = 0) -> list[Directive]:
    log.now += after_ms
    log.write("calls.events", log.event("amd", answered_by=name))
    return log.speak()


def partial(log: Log, text: str, after_ms: int = 200) -> list[Directive]:
    log.now += after_ms
    log.write("asr.transcripts", log.transcript(text, kind="partial"))
    return log.speak()


def test_the_first_prompt_waits_for_a_person() -> None:
    log, said = answered()
    assert [(d.kind, d.reason) for d in said] == [("listen", "answerer")]
    assert log.node == ""
    assert texts(hears(log, "human", 900)) == [GREETING]
    assert log.node == "greeting" and log.turns[-1].outcome is None


@pytest.mark.parametrize("name", ["unsure", "silence", "pause"])
def test_it_is_said_too_when_nobody_knows(name: str) -> None:
    log, _ = answered()
    assert texts(hears(log, name, 2_000)) == [GREETING]


def test_a_recordings_first_words_keep_it_back_until_the_next_ones_tell_which() -> None:
    log, _ = answered()
    assert partial(log, "您好，您所拨打") == []
    assert hears(log, "unsure", 1_800) == []
    assert [(d.kind, d.reason) for d in partial(log, "您好，您所拨打的号码是空号")] == [
        ("hangup", "invalid_number")
    ]
    log, _ = answered()
    assert partial(log, "您好，您所拨打") == []
    assert log.wait(TALK_MS + LATE_MS - 201) == []
    assert texts(log.wait(1)) == [GREETING], "and no more words came: perhaps it is a person"


def test_it_waits_while_the_other_side_talks() -> None:
    log, _ = answered()
    assert hears(log, "talks", 1_900) == []
    assert log.wait(HOLD_MS + LATE_MS - 1_900) == []
    assert texts(hears(log, "pause", 500)) == [GREETING]


def test_it_is_said_though_the_edge_tells_nothing() -> None:
    log, _ = answered()
    assert log.wait(HOLD_MS + LATE_MS - 1) == []
    assert texts(log.wait(1)) == [GREETING]
    talks, _ = answered()
    hears(talks, "talks", 1_000)
    assert talks.wait(TALK_MS + LATE_MS - 1_001) == []
    assert texts(talks.wait(1)) == [GREETING]


def test_a_person_s_words_open_the_gate_and_are_not_answered_twice() -> None:
    log, _ = answered()
    assert texts(log.say("喂你好")) == [GREETING]
    assert hears(log, "human") == [] and hears(log, "unsure") == []


def test_an_opt_out_counts_before_the_robot_has_said_a_word() -> None:
    log, _ = answered()
    said = log.say("不要再打了")
    assert said[-1].reason == "opted_out" and log.turns[-1].meaning == "opt_out"


def test_without_hold_the_prompt_comes_at_once_and_a_late_machine_is_still_hung_up_on() -> None:
    log, said = answered("answerer: {hold: false}\n# leave_word, who: unused\n".replace(
        "answerer: {hold: false}", "answerer: {hold: false, voicemail: leave_word, screening: who}"
    ))  # fmt: skip
    assert kinds(said) == ["listen", "say"]
    log.start(said[1])
    stop = hears(log, "machine", 6_000)
    assert kinds(stop) == ["stop"] and log.turns[-1].outcome == "machine"
    log.end(said[1], 1_000)
    assert log.say("我现在不方便接电话") == [], "a machine's words are nobody's"
    left = hears(log, "beep", 3_000)
    assert kinds(left) == ["say", "hangup"] and texts(left) == [MESSAGE]
    assert (left[0].barge_in, left[1].reason) == ("never", "voicemail")
    assert hears(log, "beep", 500) == []


def test_words_tell_a_machine_before_its_time_is_over() -> None:
    log, _ = answered()
    assert partial(log, "您好我现在不在") == []
    assert partial(log, "您好我现在不在请在滴声后留言") == []
    assert log.turns[-1].outcome == "machine" and log.node == "greeting"
    assert partial(log, "您好我现在不在请在滴声后留言谢谢") == []
    assert log.say("您好我现在不在请在滴声后留言谢谢") == []
    assert texts(hears(log, "beep", 800)) == [MESSAGE]


def test_a_beep_that_never_comes_ends_the_call() -> None:
    log, _ = answered()
    partial(log, "请在滴声后留言")
    assert log.wait(BEEP_MS - 1) == []
    (gone,) = log.wait(1)
    assert (gone.kind, gone.reason) == ("hangup", "machine")


@pytest.mark.parametrize(
    ("label", "disposition"),
    [("sit_vacant", "invalid_number"), ("sit_intercept", "invalid_number"),
     ("sit_other", "unreachable"), ("busy", "unreachable")],
)  # fmt: skip
def test_tones_of_the_network_end_the_call(label: str, disposition: str) -> None:
    log, _ = answered()
    (gone,) = hears(log, label, 1_200)
    assert (gone.kind, gone.reason) == ("hangup", disposition)


@pytest.mark.parametrize(
    ("words", "disposition"),
    [("您拨打的电话已关机", "unreachable"), ("您拨打的号码是空号", "invalid_number"),
     ("您拨打的用户正在通话中", "unreachable")],
)  # fmt: skip
def test_an_announcement_ends_the_call_and_stops_what_is_said(words: str, disposition: str) -> None:
    log, _ = answered()
    (said,) = hears(log, "unsure", 2_000)
    log.start(said)
    stop, gone = partial(log, words)
    assert (stop.kind, gone.kind, gone.reason) == ("stop", "hangup", disposition)


@pytest.mark.parametrize("words", ["不要再打了", "好的我要报名", "我明天下午三点还款", "气死我了"])
@pytest.mark.parametrize(
    "told",
    [lambda log: hears(log, "machine", 6_000), lambda log: hears(log, "sit_other", 1_200),
     lambda log: hears(log, "busy", 1_200), lambda log: partial(log, "您拨打的号码是空号"),
     lambda log: partial(log, "您拨打的电话已关机")],
    ids=["machine", "tones", "busy", "no such number", "switched off"],
)  # fmt: skip
def test_the_words_of_no_person_are_no_customers(
    told: Callable[[Log], list[Directive]], words: str
) -> None:
    """Neither an opt-out nor a promise, and nothing of them is in the customer's profile."""
    log, _ = answered()
    told(log)
    assert log.say(words) == []
    turn = log.turns[-1]
    assert (turn.text, turn.intent, turn.meaning, turn.slots) == (words, "unclear", None, {})
    assert turn.outcome is None and turn.emotion == "neutral"
    customer = Customer(last_intent="affirm", last_emotion="happy", version=1)
    for one in log.turns:
        ((_, record),) = copies("dialogue.turns", one)
        assert isinstance(record, ProfileInbox)
        after = evolve(customer, parse(record, Numbers("CN", b"k" * 64)))
        assert after.facts() == customer.facts()
        customer = after


def test_an_assistant_is_told_who_calls_and_the_call_goes_on() -> None:
    log, _ = answered()
    said = partial(log, "我是机主的智能助理请问您有什么事")
    assert texts(said) == [WHO] and log.turns[-1].outcome == "screened"
    log.play(said)
    assert texts(log.say("喂你好")) == [GREETING], "the person has come to the phone"
    assert log.node == "greeting"


def test_a_late_assistant_is_told_too_and_a_silent_person_is_greeted() -> None:
    log, _ = answered()
    log.play(hears(log, "unsure", 2_000))
    log.play(partial(log, "请说出您的姓名和来意"))
    assert log.say("谢谢请稍等我是智能助理") == [] and log.node == ""
    assert log.wait(15_000) == []
    assert texts(log.wait(5_000)) == [GREETING]


def test_machines_are_hung_up_on_where_the_playbook_has_nothing_to_say() -> None:
    log = Log(library=library(FULL))
    bare = playbook("answerer: {}").replace(f"  leave_word: {{text: {MESSAGE}}}\n", "")
    log.library = Library()
    log.library.evolve(published(load(bare.replace(f"  who: {{text: {WHO}}}\n", ""))))
    log = Log(library=log.library)
    log.dial(robot_id="r1")
    log.answer()
    (gone,) = hears(log, "machine", 6_000)
    assert (gone.kind, gone.reason) == ("hangup", "machine")


def test_a_person_who_was_understood_is_no_machine_by_timing() -> None:
    log, _ = answered()
    log.play(hears(log, "talks", 1_900) or hears(log, "pause", 1_000))
    log.play(log.say("可以"))
    assert log.node == "offer"
    assert hears(log, "machine", 1_000) == [] and hears(log, "beep", 1_000) == []
    assert log.node == "offer"


def test_a_person_who_asks_is_no_machine_however_long_they_talk() -> None:
    log, _ = answered()
    assert partial(log, "喂你是哪里啊我这边听不清楚你再说一遍") == []
    assert texts(hears(log, "machine", 6_000)) == [GREETING]


def test_what_a_person_says_much_later_is_no_mailbox() -> None:
    log, _ = answered()
    log.play(hears(log, "human", 800))
    log.now += 40_000
    assert partial(log, "请在滴声后留言") == []
    assert not any(t.outcome in NOT_A_PERSON for t in log.turns)


def test_without_the_key_nothing_changes() -> None:
    log = Log()
    log.dial()
    assert texts(log.answer()) == [GREETING]
    assert hears(log, "machine", 500) == []


@pytest.mark.parametrize(
    "words",
    [
        "他出去了，需要我转告他吗",
        "你给我留个电话",
        "我现在不方便接电话",
        "你打错了",
        "我在开会",
    ],
)
def test_what_people_say_is_no_machine(words: str) -> None:
    assert verdict_of_words(words) is None


def test_evidence_is_weighed() -> None:
    assert verdict_of([], "").who == "unsure"
    assert verdict_of(["talks", "machine"], "").who == "machine"
    assert verdict_of(["human"], "请在滴声后留言").who == "machine"
    assert verdict_of(["talks", "machine"], "喂，哪位").who == "human"
    assert verdict_of(["human", "beep"], "").who == "human"
    assert verdict_of(["talks", "beep"], "").who == "machine"
    assert verdict_of(["sit_vacant"], "喂").disposition == "invalid_number"


@pytest.mark.parametrize("key", ["voicemail", "screening"])
def test_no_debt_is_told_to_a_machine(key: str) -> None:
    path = script_of().text  # any playbook: a prompt that discloses is refused
    text = path.replace("start: greeting\n", f"start: greeting\nanswerer: {{{key}: secret}}\n")
    text = text.replace("prompts:\n", "prompts:\n  secret: {discloses: true, text: 你欠钱}\n", 1)
    with pytest.raises(InvalidFile, match="tells of a debt"):
        load(text)
    unknown = path.replace("start: greeting\n", f"start: greeting\nanswerer: {{{key}: nothing}}\n")
    with pytest.raises(InvalidFile, match="there is no prompt 'nothing'"):
        load(unknown)
