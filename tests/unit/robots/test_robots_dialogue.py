"""Dialogues of the promotion playbook: what a customer does, and what the robot does then."""

import json

import pytest

from ringlog.audio.prompts import prompt_sha256
from schemas.ids import event_id
from streams.robots.library import Library
from tests.unit.robots.robot_talk import Log, kinds, library_of, published, script_of, texts

MEMBER = json.dumps({"level": "vip", "tags": [], "purchases": 0})
REPEAT_CUSTOMER = json.dumps({"level": "normal", "tags": [], "purchases": 3})
NORMAL_OFFER = "我们最近有优惠活动，新用户首单立减二十元，请问您需要了解一下吗"
MEMBER_OFFER = "我们的会员可以享受八折优惠，请问您需要了解一下吗"
REPROMPT = "对不起，我没有听清楚，请您再说一遍"


def test_greeting_comes_at_answer_and_cannot_be_cut() -> None:
    log = Log()
    log.dial()
    (say,) = log.answer()
    assert say.text == "您好，请问您现在方便接电话吗"
    assert (say.kind, say.barge_in, say.node) == ("say", "never", "greeting")
    assert say.prompt_sha256 == prompt_sha256("cmn-latn-pinyin+f3", say.text)
    (turn,) = log.turns
    assert (turn.input_kind, turn.node) == ("answered", "greeting")
    assert turn.directive_ids == [say.directive_id]


def test_a_second_answered_record_changes_nothing() -> None:
    log = Log()
    log.dial()
    assert len(log.answer()) == 1
    assert log.answer() == []
    assert len(log.turns) == 1


@pytest.mark.parametrize(
    ("profile", "offer"),
    [("{}", NORMAL_OFFER), (MEMBER, MEMBER_OFFER), (REPEAT_CUSTOMER, MEMBER_OFFER)],
)
def test_wording_of_the_offer_fits_the_customer(profile: str, offer: str) -> None:
    log = Log()
    assert texts(log.talk("方便，你说", profile=profile)) == [offer]
    assert log.turns[-1].variant == ("normal" if profile == "{}" else "member")


def test_a_profile_change_reaches_the_running_call() -> None:
    log = Log()
    log.dial("{}")
    log.play(log.answer())
    log.write("calls.events", log.event("profile_changed", profile=MEMBER))
    assert texts(log.say("方便")) == [MEMBER_OFFER]


@pytest.mark.parametrize("profile", ["not json", "[1]", '{"tags": 3, "purchases": "many"}'])
def test_an_unreadable_profile_is_a_normal_customer(profile: str) -> None:
    assert texts(Log().talk("可以", profile=profile)) == [NORMAL_OFFER]


@pytest.mark.parametrize("said", ["价格太高了", "太贵了", "便宜一点", "能不能便宜一点"])
def test_price_too_high_goes_to_the_promotion(said: str) -> None:
    log = Log()
    assert "分期" in texts(log.talk("可以", said))[0]
    assert log.node == "promotion"
    assert log.turns[-1].intent == "price_too_high"
    other = Log()
    member = texts(other.talk("可以", said, profile=MEMBER))[0]
    assert "八折" in member
    assert member != MEMBER_OFFER


@pytest.mark.parametrize("said", ["不需要", "我不感兴趣", "不要了", "不要再打了"])
def test_reject_ends_politely_and_only_a_clear_word_opts_out(said: str) -> None:
    log = Log()
    said_back = log.talk("可以", said)
    assert kinds(said_back) == ["say", "hangup"]
    assert texts(said_back) == ["好的，不打扰您了，祝您生活愉快，再见"]
    wish = said == "不要再打了"
    assert said_back[-1].reason == ("opted_out" if wish else "completed")
    assert log.turns[-1].outcome == ("opted_out" if wish else "rejected")
    assert log.turns[-1].meaning == ("opt_out" if wish else "reject")


@pytest.mark.parametrize("said", ["转人工", "人工服务", "我要投诉"])
def test_transfer(said: str) -> None:
    log = Log()
    answer = log.talk(said)
    assert kinds(answer) == ["say", "transfer"]
    assert texts(answer) == ["请稍等，正在为您转接"]
    assert answer[-1].target == "agents"
    assert log.turns[-1].outcome == "transferred"


def test_a_busy_customer_is_left_alone_and_no_call_is_promised() -> None:
    """Nothing places that call yet, so the robot does not say it; the turn keeps the time."""
    log = Log()
    answer = log.talk("我在开会，明天下午三点再打吧")
    assert texts(answer) == ["好的，现在不打扰您了，祝您生活愉快，再见"]
    assert log.turns[-1].slots["time"] == "15:00"
    assert (answer[-1].kind, answer[-1].reason) == ("hangup", "callback")
    assert log.turns[-1].outcome == "callback"


def test_who_are_you_answers_and_asks_again() -> None:
    log = Log()
    answer = log.talk("可以", "你是谁")
    assert texts(answer) == ["我是智能客服", NORMAL_OFFER]
    assert log.node == "offer"


def test_details_lead_to_registration_with_a_message() -> None:
    log = Log()
    answer = log.talk("可以", "多少钱", "好的")
    assert kinds(answer) == ["say", "message", "hangup"]
    assert texts(answer) == ["好的，已经为您登记，稍后给您发送短信，请注意查收"]
    assert (answer[1].target, answer[1].text) == ("sms", "新用户首单立减二十元，会员八折优惠")
    assert answer[2].reason == "interested"
    assert [t.node for t in log.turns] == ["greeting", "offer", "details", "register"]
    assert log.turns[-1].outcome == "interested"


def test_first_silence_asks_again_and_the_second_ends() -> None:
    log = Log()
    log.dial()
    log.play(log.answer())
    assert log.wait(4_999) == []
    first = log.wait(1)
    assert texts(first) == [REPROMPT]
    assert log.turns[-1].input_kind == "silence"
    log.play(first)
    second = log.wait(5_000)
    assert kinds(second) == ["say", "hangup"]
    assert log.turns[-1].outcome == "no_response"


def test_speech_restarts_the_silence_timer_and_an_answer_clears_the_count() -> None:
    log = Log()
    log.dial()
    log.play(log.answer())
    log.play(log.wait(5_000))
    log.now += 3_000
    log.write("asr.transcripts", log.transcript("可", kind="partial"))
    assert log.wait(4_000) == []
    log.play(log.say("可以"))
    assert log.node == "offer"
    assert texts(log.wait(5_000)) == [REPROMPT]


def test_no_silence_while_the_robot_speaks() -> None:
    log = Log()
    log.dial()
    (say,) = log.answer()
    log.start(say)
    assert log.wait(20_000) == []


def test_T4_a_prompt_that_nobody_can_have_heard_is_said_again() -> None:
    """«对不起，我没有听清楚» is never said about a question that was not heard."""
    log = Log()
    log.dial()
    (greeting,) = log.answer()
    assert log.wait(59_999) == []
    (again,) = log.wait(1)
    assert again.text == greeting.text
    log.start(again)
    log.end(again, 0)
    assert kinds(log.wait(5_000)) == ["say", "hangup"]


def test_T4_the_silence_timer_starts_when_the_prompt_was_heard() -> None:
    """The far end is reached 55 s late: the greeting is heard whole, then the silence counts."""
    log = Log()
    log.dial()
    (greeting,) = log.answer()
    log.now += 55_000
    log.start(greeting)
    assert log.wait(30_000) == []
    log.end(greeting, 3_820)
    assert log.wait(4_999) == []
    assert texts(log.wait(1)) == [REPROMPT]


def test_T1_a_customer_who_is_still_speaking_is_not_silent() -> None:
    """First words, then no news for long: the turn has no end yet, so nobody is asked."""
    log = Log()
    log.talk("可以")
    log.play(log.directives[-1:])
    partial = log.transcript("我想", kind="partial")
    log.write("asr.transcripts", partial)
    assert log.wait(20_000) == []
    log.write("asr.transcripts", partial.model_copy(update={
        "kind": "final", "text": "我想了解一下", "event_id": "f" * 32, "occurred_at": log.now,
    }))  # fmt: skip
    log.play(log.speak())
    assert log.node == "details"
    # A turn whose end never comes does not hold the call for ever.
    log.write("asr.transcripts", log.transcript("那个", kind="partial"))
    assert log.wait(29_999) == []
    assert texts(log.wait(1)) == [REPROMPT]


@pytest.mark.parametrize(
    "text",
    ["您拨打的电话已关机，请稍后再拨", "您好您所拨打的用户正在通话中",
     "您拨打的号码是空号请核对后再拨", "对不起您拨打的用户暂时无法接通", "请在嘀一声后留言"],
)  # fmt: skip
def test_A1_an_announcement_is_no_customer_who_agreed(text: str) -> None:
    log = Log()
    assert log.talk("可以", text) == []
    turn = log.turns[-1]
    assert (turn.intent, turn.outcome, turn.slots, turn.meaning) == ("unclear", None, {}, None)


@pytest.mark.parametrize("text", ["么", "的了", "是不", "多大", "的话", "呃那", "一一"])
def test_A1_noise_words_make_unclear_only(text: str) -> None:
    log = Log()
    log.talk("可以", text)
    turn = log.turns[-1]
    assert turn.intent in {"unclear", "backchannel"}
    assert turn.outcome in {None, "reprompt"}


@pytest.mark.parametrize(
    "heard", ["您现在方便接电话吗", "请问您现在方便接电话", "问您现在方便接电化吗"]
)
def test_D2_our_own_prompt_that_comes_back_is_no_answer(heard: str) -> None:
    log = Log()
    log.dial()
    (greeting,) = log.answer()
    log.start(greeting)
    assert log.say(heard) == []
    log.end(greeting, 3_820)
    log.now += 500
    assert log.say(heard) == []
    assert {t.intent for t in log.turns[1:]} == {"unclear"}
    # The echo does not stop a prompt, and a real answer does.
    log.play(log.say("方便"))
    (details,) = log.say("介绍一下")
    log.start(details)
    log.write("asr.transcripts", log.transcript("每个月只需要九十九元", kind="partial"))
    assert log.speak() == []
    log.write("asr.transcripts", log.transcript("太贵了", kind="partial"))
    assert kinds(log.speak()) == ["stop"]


def test_unclear_asks_again_twice_and_then_gives_up() -> None:
    log = Log()
    assert texts(log.talk("可以", "养老保险怎么交")) == [REPROMPT]
    assert log.turns[-1].intent == "unclear"
    log.play(log.directives[-1:])
    assert texts(log.say("怎么走")) == [REPROMPT]
    log.play(log.directives[-1:])
    assert kinds(log.say("多久能到")) == ["say", "hangup"]
    assert log.turns[-1].outcome == "not_understood"


def test_every_final_leaves_one_turn_also_when_there_is_nothing_to_say() -> None:
    log = Log()
    log.talk("可以")
    log.play(log.directives[-1:])
    for text in ("", "嗯", "谢谢"):
        assert log.say(text) == []
        turn = log.turns[-1]
        assert (turn.text, turn.directive_ids) == (text, [])
        assert turn.event_id == event_id(turn.input_event_id, "turn")
    log.write("calls.events", log.event("ended"))
    assert log.say("价格太高了") == []
    assert log.turns[-1].intent == "price_too_high"
    finals = [r.event.event_id for r in log.records if r.topic == "asr.transcripts"]
    assert [t.input_event_id for t in log.turns if t.input_kind == "final"] == finals


def test_a_repeated_final_is_answered_once() -> None:
    log = Log()
    log.talk()
    log.play(log.directives)
    final = log.transcript("可以")
    log.write("asr.transcripts", final)
    assert len(log.speak()) == 1
    log.write("asr.transcripts", final)
    assert log.speak() == []


def test_hello_over_the_greeting_is_no_answer_but_after_it_is() -> None:
    log = Log()
    log.dial()
    (greeting,) = log.answer()
    log.start(greeting)
    assert log.say("喂") == []
    log.end(greeting, 2_000)
    assert texts(log.say("喂，你好")) == [NORMAL_OFFER]


def test_dtmf_zero_transfers_and_other_digits_say_nothing() -> None:
    log = Log()
    log.talk("可以")
    log.write("calls.events", log.event("dtmf", digits="5"))
    assert log.speak() == []
    log.write("calls.events", log.event("dtmf", digits="0"))
    assert kinds(log.speak()) == ["stop", "say", "transfer"]
    assert [t.input_kind for t in log.turns[-2:]] == ["dtmf", "dtmf"]


@pytest.mark.parametrize(("said", "stops"), [("嗯", False), ("", False), ("太", True)])
def test_words_over_a_prompt_stop_it_and_backchannels_do_not(said: str, stops: bool) -> None:
    log = Log()
    (details,) = log.talk("可以", "介绍一下")
    assert details.barge_in == "speech"
    log.start(details)
    log.write("asr.transcripts", log.transcript(said, kind="partial"))
    assert kinds(log.speak()) == (["stop"] if stops else [])
    if stops:
        log.write("asr.transcripts", log.transcript("太贵", kind="partial"))
        assert log.speak() == []  # once per prompt
        assert kinds(log.say("太贵了")) == ["say"]


def test_a_final_over_a_prompt_stops_it_first() -> None:
    log = Log()
    (details,) = log.talk("可以", "介绍一下")
    log.start(details)
    answer = log.say("太贵了")
    assert kinds(answer) == ["stop", "say"]
    assert answer[0].directive_id == event_id(details.directive_id, "stop")
    assert log.turns[-1].directive_ids == [d.directive_id for d in answer]


def test_nothing_stops_the_greeting() -> None:
    log = Log()
    log.dial()
    (greeting,) = log.answer()
    log.start(greeting)
    log.write("asr.transcripts", log.transcript("你们是哪里", kind="partial"))
    assert log.speak() == []


def test_what_was_heard_of_a_prompt_is_on_the_next_turn() -> None:
    log = Log()
    log.talk()
    log.play(log.directives, heard_ms=1_234)
    log.say("可以")
    assert log.turns[-1].heard_ms == 1_234


def test_directives_are_numbered_and_carry_the_call() -> None:
    log = Log()
    log.talk("可以", "多少钱", "好的")
    assert [d.seq for d in log.directives] == list(range(len(log.directives)))
    for event in (*log.turns, *log.directives):
        assert (event.customer_id, event.campaign_id) == ("cust-1", "camp-1")
        assert (event.task_id, event.pool, event.robot_id) == ("task-1", "sales", "r1")
        assert event.epoch == 7


def test_variant_is_drawn_from_the_input_and_recorded() -> None:
    log = Log()
    log.talk("可以", "介绍一下")
    turn = log.turns[-1]
    assert turn.posterior is not None
    posterior = json.loads(turn.posterior)["details"]
    assert set(posterior) == {"normal/trial", "normal/gift"}
    assert turn.variant == max(posterior, key=lambda v: posterior[v]["draw"])
    again = Log()
    again.talk("可以", "介绍一下")
    assert again.turns[-1].posterior == turn.posterior


@pytest.mark.parametrize("name", ["trial", "gift"])
def test_the_campaigns_variant_is_said_where_a_prompt_has_it(name: str) -> None:
    log = Log()
    log.dial(variant=name)
    log.play(log.answer())
    log.play(log.say("可以"))
    said = [d for d in log.say("介绍一下") if d.kind == "say"]
    assert said[0].variant == f"normal/{name}" == log.turns[-1].variant
    assert log.turns[-1].posterior is None


def test_a_variant_that_no_prompt_has_leaves_the_draw_to_the_robot() -> None:
    log = Log()
    log.dial(variant="unknown")
    log.play(log.answer())
    log.play(log.say("可以"))
    log.say("介绍一下")
    assert log.turns[-1].posterior is not None


def test_a_better_variant_is_drawn_more_often() -> None:
    chosen = []
    for n in range(40):
        library = library_of()
        library.counts.totals = {
            ("camp-1", "details", "normal/trial"): (200, 150),
            ("camp-1", "details", "normal/gift"): (200, 10),
        }
        log = Log(call_id=f"call-{n}", library=library)
        log.talk("可以", "介绍一下")
        chosen.append(log.turns[-1].variant)
    assert chosen.count("normal/trial") == 40


def test_an_unknown_playbook_is_waited_for_and_then_the_call_is_given_up() -> None:
    log = Log()
    log.dial(playbook="not_there")
    assert log.answer() == []
    assert log.turns == []
    log.now += 10_001
    (hangup,) = log.speak()
    assert (hangup.kind, hangup.reason) == ("hangup", "failed")


def test_a_playbook_that_comes_late_is_used() -> None:
    late = Log(library=Library())
    late.dial(robot_id="r2")
    assert late.answer() == []
    late.library.evolve(published(script_of()))
    assert kinds(late.speak()) == ["say"]


def test_a_final_of_an_unknown_call_still_gets_its_turn() -> None:
    log = Log()
    log.write("asr.transcripts", log.transcript("可以"))
    assert log.speak() == []
    log.now += 10_001
    assert log.speak() == []
    assert (log.turns[0].text, log.turns[0].directive_ids) == ("可以", [])


def test_a_cancelled_task_ends_the_call_with_a_goodbye_in_the_middle_of_a_prompt() -> None:
    log = Log()
    log.talk("方便，你说")
    log.write("calls.events", log.event("withdrawn"))
    said = log.speak()
    assert kinds(said)[-2:] == ["say", "hangup"]
    assert (said[-2].text, said[-2].barge_in) == (texts(said)[-1], "never")
    assert "再见" in (said[-2].text or "")
    assert said[-1].reason == "cancelled"
    assert (log.turns[-1].input_kind, log.turns[-1].outcome) == ("withdrawn", "cancelled")
    log.write("calls.events", log.event("withdrawn"))
    assert log.speak() == [], "once"


def test_a_task_cancelled_before_the_answer_says_goodbye_to_whoever_answers() -> None:
    log = Log()
    log.dial()
    log.write("calls.events", log.event("withdrawn"))
    assert log.speak() == []
    assert kinds(log.answer()) == ["say", "hangup"]
