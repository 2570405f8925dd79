"""A customer who talks for two minutes: no word is lost, nobody is interrupted, and they get their
answer."""

from schemas.events import Directive
from tests.unit.robots.robot_talk import Log, kinds, texts

OFFER = "请问您需要了解一下吗"
CHATTER = "我跟你说我这个人平时是不怎么接电话的今天正好在家里没有事情做"


def call() -> Log:
    log = Log()
    log.play(log.talk("可以"))
    assert log.node == "offer"
    return log


def final(log: Log, text: str, length_ms: int) -> list[Directive]:
    log.now += length_ms
    said = log.transcript(text)
    log.write("asr.transcripts", said.model_copy(update={"end_ms": said.start_ms + length_ms}))
    return log.speak()


def talk(log: Log, text: str, minutes: int = 2) -> None:
    """Talks without a pause: the recogniser cuts the turn every 30 s."""
    for n in range(2 * minutes):
        log.write("asr.transcripts", log.transcript(text[:9], kind="partial"))
        assert final(log, text if n == 0 else CHATTER, 30_000) == [], "nobody is interrupted"


def test_the_answer_comes_at_the_end_and_to_all_of_it() -> None:
    log = call()
    talk(log, "你们的价格太高了" + CHATTER)
    said = final(log, "就是这样", 2_000)
    assert "分期" in texts(said)[0], "the price was named two minutes ago"
    assert log.turns[-1].intent == "price_too_high" and log.turns[-1].slots["held"] == ""
    log.play(said)
    assert log.shard.calls["call-1"].state.held == ""


def test_who_stops_where_the_turn_was_cut_is_answered_soon() -> None:
    log = call()
    talk(log, "你们的价格太高了" + CHATTER)
    assert log.wait(1_499) == []
    assert "分期" in texts(log.wait(1))[0]
    assert log.turns[-1].input_kind == "silence"
    assert log.wait(1_500) == []


def test_who_talks_on_is_not_interrupted_by_the_timer() -> None:
    log = call()
    talk(log, CHATTER)
    log.now += 1_000
    log.write("asr.transcripts", log.transcript("然后我又想了一下", kind="partial"))
    assert log.wait(5_000) == [], "they speak"


def test_an_opt_out_in_the_middle_counts_at_once() -> None:
    log = call()
    assert final(log, CHATTER, 30_000) == []
    said = final(log, "你们以后不要再打电话给我了", 30_000)
    assert said[-1].reason == "opted_out" and kinds(said)[-1] == "hangup"


def test_each_cut_final_leaves_its_turn() -> None:
    log = call()
    talk(log, CHATTER)
    turns = [t for t in log.turns if t.text == CHATTER]
    assert len(turns) == 4 and all(t.slots == {"held": "more"} for t in turns)
    assert not any(t.directive_ids for t in turns)
