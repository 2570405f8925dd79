"""The collections playbook: slots, emotions and profile conditions lead the way."""

import json

import pytest

from ringlog.settings import root
from streams.robots.library import Library
from tests.unit.robots.robot_talk import Log, kinds, published, script_of, texts

SCRIPT = script_of(root() / "playbooks" / "collections.yaml")


def talk(*said: str, profile: str = "{}") -> Log:
    library = Library()
    library.evolve(published(SCRIPT))
    log = Log(library=library)
    log.dial(profile, playbook="collections", robot_id="collections-1")
    answer = log.answer()
    for text in said:
        log.play(answer)
        answer = log.say(text)
    return log


@pytest.mark.parametrize(
    ("said", "node"),
    [
        (["我是本人", "我明天还款"], "promised"),
        (["是的", "下个月发工资再还"], "instalments"),
        (["是的", "后天可以吗"], "remind"),
        (["是的", "后天可以吗", "对"], "promised"),
        (["是的", "好的"], "remind"),
        (["是的", "好的", "星期一上午"], "remind"),
        (["是的", "好的", "星期一上午", "是的"], "promised"),
        (["是的", "我现在没钱"], "instalments"),
        (["是的", "我真的没钱", "可以分期吗"], "transfer"),
        (["是的", "能不能宽限几天", "不行"], "refused"),
        (["是的", "我已经还款了"], "paid"),
        (["是的", "我昨天还过了"], "paid"),
        (["不是本人"], "wrong_person"),
        (["我是他老婆"], "wrong_person"),
        (["喂"], "greeting"),
        (["是的", "我已经还不起了"], "instalments"),
        (["是的", "能不能分期还款"], "instalments"),
        (["是的", "我不会还款的"], "instalments"),
        (["是的", "我没欠钱"], "transfer"),
        (["是的", "我要还多少钱"], "remind"),
        (["利息是多少"], "greeting"),
        (["我在开车"], "callback"),
        (["是的", "你们凭什么"], "transfer"),
        (["是的", "会影响征信吗"], "remind"),
    ],
)
def test_ways(said: list[str], node: str) -> None:
    assert talk(*said).node == node


def test_the_date_of_a_promise_is_on_the_turn() -> None:
    log = talk("是的", "我明天还款")
    assert log.turns[-1].slots["date"] == "2025-06-16"
    assert log.turns[-1].outcome == "promised"
    assert kinds(log.directives[-3:]) == ["say", "message", "hangup"]


def test_a_customer_who_was_angry_last_time_is_spoken_to_gently() -> None:
    log = talk("是的", profile=json.dumps({"last_emotion": "angry"}))
    assert texts(log.directives[-1:])[0].startswith("打扰您了")
    assert log.turns[-1].variant == "gentle"
    assert log.turns[-1].posterior is None


def test_hello_over_the_greeting_is_no_answer_and_after_it_brings_the_question_again() -> None:
    library = Library()
    library.evolve(published(SCRIPT))
    log = Log(library=library)
    log.dial(playbook="collections", robot_id="collections-1")
    (greeting,) = log.answer()
    log.start(greeting)
    assert log.say("喂") == []
    log.end(greeting, 2_000)
    assert texts(log.say("喂")) == [greeting.text]
    assert log.node == "greeting"


def test_words_that_nobody_knows_lead_to_a_person_in_the_end() -> None:
    log = talk("是的", "怎么退货", "怎么退货", "怎么退货")
    assert log.node == "transfer"
