"""State is the log's: replayed, interleaved otherwise, or taken over, it is the same."""

import random

import pytest

from ringlog.kafka.reader import Received
from streams.robots.shard import Shard
from tests.unit.robots.robot_talk import Log, kinds, library_of

DIALOGUES = [
    ("可以", "太贵了", "介绍一下", "好的"),
    ("方便", "你是谁", "嗯", "多少钱", "不需要"),
    ("喂", "怎么走", "转人工"),
]


def _replayed(records: list[Received]) -> Shard:
    shard = Shard(library_of(), "robots-b")
    for received in records:
        shard.fold(received, received.timestamp_ms)
    return shard


@pytest.mark.parametrize("said", DIALOGUES)
def test_replay_gives_the_same_state(said: tuple[str, ...]) -> None:
    log = Log()
    log.talk(*said)
    original, replayed = log.shard.calls["call-1"], _replayed(log.records).calls["call-1"]
    assert replayed.state == original.state
    assert replayed.facts == original.facts
    assert replayed.pending == original.pending == {}
    assert replayed.due == original.due


@pytest.mark.parametrize("seed", range(8))
def test_any_interleaving_of_the_topics_gives_the_same_state(seed: int) -> None:
    log = Log()
    log.talk(*DIALOGUES[seed % 3])
    queues: dict[str, list[Received]] = {}
    for received in log.records:
        queues.setdefault(received.topic, []).append(received)
    chance, mixed = random.Random(seed), []
    while queues:
        name = chance.choice(sorted(queues))
        mixed.append(queues[name].pop(0))
        if not queues[name]:
            del queues[name]
    original, replayed = log.shard.calls["call-1"], _replayed(mixed).calls["call-1"]
    assert replayed.state == original.state
    assert replayed.facts == original.facts
    assert replayed.pending == {}
    assert replayed.unfinished is None
    assert Shard.next_work(_replayed(mixed), "call-1", log.now, 8) is None


def test_working_an_input_twice_gives_the_same_records() -> None:
    def run() -> Log:
        log = Log()
        log.talk("可以", "介绍一下", "太贵了")
        return log

    first, second = run(), run()
    assert first.turns == second.turns
    assert first.directives == second.directives


def test_a_follower_answers_what_the_speaker_left_pending() -> None:
    log = Log()
    log.play(log.talk("可以"))
    log.append("asr.transcripts", log.transcript("太贵了"))
    follower = _replayed(log.records)
    work = follower.next_work("call-1", log.now, 9)
    assert work is not None and work.turn is not None
    assert work.turn.node == "promotion"
    assert work.turn.epoch == work.directives[0].epoch == 9


@pytest.mark.parametrize("written", [0, 1, 2])
def test_directives_that_a_dead_speaker_did_not_write_are_written(written: int) -> None:
    log = Log()
    log.play(log.talk("可以", "介绍一下"))
    log.write("asr.transcripts", log.transcript("好的"))
    work = log.work()
    assert work is not None and work.turn is not None
    log.append("dialogue.turns", work.turn)
    for directive in work.directives[:written]:
        log.append("dialogue.directives", directive)
    follower = _replayed(log.records)
    rest = follower.next_work("call-1", log.now + 700, 9)
    assert rest is not None and rest.turn is None
    assert [d.directive_id for d in rest.directives] == work.turn.directive_ids[written:]
    assert kinds(list(rest.directives)) == kinds(list(work.directives[written:]))
    assert follower.next_work("call-1", log.now + 700, 9) is None  # now in flight


def test_the_variant_that_a_turn_recorded_is_kept() -> None:
    log = Log()
    log.play(log.talk("可以"))
    log.write("asr.transcripts", log.transcript("介绍一下"))
    work = log.work()
    assert work is not None and work.turn is not None
    other = {"normal/trial": "normal/gift", "normal/gift": "normal/trial"}
    recorded = other[work.turn.variant or ""]
    log.append("dialogue.turns", work.turn.model_copy(update={"variant": recorded}))
    rest = _replayed(log.records).next_work("call-1", log.now, 9)
    assert rest is not None
    assert rest.directives[0].variant == recorded


def test_no_second_decision_while_one_is_in_flight() -> None:
    log = Log()
    log.play(log.talk("可以"))
    log.write("asr.transcripts", log.transcript("太贵了"))
    log.now += 10
    log.write("asr.transcripts", log.transcript("你是谁"))
    first = log.work()
    assert first is not None and first.turn is not None
    assert log.work() is None
    log.write("dialogue.turns", first.turn)
    assert log.work() is None
    for directive in first.directives:
        log.write("dialogue.directives", directive)
    second = log.work()
    assert second is not None and second.turn is not None
    assert second.turn.intent == "who_are_you"
    assert second.directives[-1].seq > first.directives[-1].seq


def test_a_failed_send_is_decided_again_with_the_same_ids() -> None:
    log = Log()
    log.play(log.talk())
    log.write("asr.transcripts", log.transcript("可以"))
    first = log.work()
    assert first is not None
    log.shard.failed(first)
    assert log.work() == first


def test_overdue_silence_fires_after_a_takeover_with_the_same_id() -> None:
    log = Log()
    log.dial()
    log.play(log.answer())
    follower = _replayed(log.records)
    late = follower.next_work("call-1", log.now + 9_000, 9)
    on_time = log.shard.next_work("call-1", log.now + 5_000, 7)
    assert late is not None and on_time is not None
    assert late.turn is not None and on_time.turn is not None
    assert late.turn.event_id == on_time.turn.event_id
    assert [d.event_id for d in late.directives] == [d.event_id for d in on_time.directives]


def test_nobody_counts_as_silent_until_what_was_said_in_an_outage_can_have_come() -> None:
    log = Log()
    log.dial()
    log.play(log.answer())
    due = log.now + 5_000
    log.shard.hears_from(due + 7_000)
    assert log.shard.next_work("call-1", due + 6_999, 7) is None
    assert log.shard.with_work(due + 7_000) == ["call-1"]
    late = log.shard.next_work("call-1", due + 7_000, 7)
    assert late is not None and late.turn is not None and late.turn.input_kind == "silence"


def test_a_stale_speakers_directives_change_nothing() -> None:
    log = Log()
    log.play(log.talk("可以"))
    before = log.shard.calls["call-1"].state
    stale = log.directives[-1].model_copy(update={"epoch": 3, "directive_id": "x"})
    _, standing = log.shard.fold(log.append("dialogue.directives", stale), log.now)
    assert standing == "stale"
    assert log.shard.calls["call-1"].state == before


def test_a_fault_of_ours_is_put_aside_and_the_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.robots import shard as module

    log = Log()
    log.play(log.talk())
    log.write("asr.transcripts", log.transcript("可以"))

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch, pytest.raises(module.Undecidable) as caught:
        patch.setattr(module, "decide", fails)
        log.work()
    log.shard.refuse(caught.value.call_id, caught.value.input_id)
    assert log.work() is None
    assert kinds(log.say("太贵了")) == ["say"]


def test_old_calls_are_forgotten() -> None:
    log = Log()
    log.talk("可以")
    assert log.shard.forget_old(log.now) == 0
    assert log.shard.forget_old(log.now + 3_600_001) == 1
    assert log.shard.calls == {}
