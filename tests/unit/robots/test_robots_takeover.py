"""What a successor makes of a call that its predecessor died in: in the middle of anything."""

import pytest

from schemas.events import CallEvent, Directive, Turn
from streams.robots.shard import Shard, Work
from tests.unit.robots.robot_talk import Log, kinds, library_of, texts

NEXT_EPOCH = 9


class Successor:
    """Reads what is on the log, and speaks."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.shard = Shard(library_of(), "robots-b")
        for received in log.records:
            self.shard.fold(received, received.timestamp_ms)
        log.shard, log.epoch = self.shard, NEXT_EPOCH

    def work(self, after_ms: int = 600) -> Work | None:
        self.log.now += after_ms
        return self.log.work()


def written(work: Work, log: Log, records: int) -> None:
    """The speaker dies when so many of its records, turn first, are on the log."""
    log.append("dialogue.turns", work.turn) if work.turn is not None and records else None
    for directive in work.directives[: max(0, records - 1)]:
        log.append("dialogue.directives", directive)


def decided(log: Log, text: str) -> Work:
    """What the speaker makes of a final; nothing of it is on the log yet."""
    log.now += 1_000
    log.write("asr.transcripts", log.transcript(text))
    work = log.work()
    assert work is not None
    return work


def ended(log: Log, d: Directive, heard_ms: int, prompt_ms: int = 4_000) -> None:
    fields = {"directive_id": d.directive_id, "heard_ms": heard_ms, "prompt_ms": prompt_ms}
    log.write("calls.events", log.event("playout_ended", **fields))


# -- in the middle of a prompt


def test_a_prompt_that_the_edge_still_plays_is_not_said_again() -> None:
    log = Log()
    said = log.talk("可以")
    log.start(said[0])
    successor = Successor(log)
    assert successor.work() is None
    log.now += 2_000
    ended(log, said[0], heard_ms=4_000)
    assert successor.work(4_000) is None
    silence = successor.work(2_000)
    assert silence is not None and silence.turn is not None
    assert silence.turn.heard_ms == 4_000
    assert [d.prompt_id for d in silence.directives] == ["reprompt"]


def test_a_prompt_that_was_heard_out_is_not_said_again() -> None:
    log = Log()
    said = log.talk("可以")
    log.start(said[0])
    ended(log, said[0], heard_ms=3_900)  # less than its last breath is missing
    silence = Successor(log).work(5_500)
    assert silence is not None
    assert [d.prompt_id for d in silence.directives] == ["reprompt"]


@pytest.mark.parametrize("heard_ms", [0, 900, 3_700])
def test_a_prompt_that_was_cut_is_said_again_once_nobody_speaks(heard_ms: int) -> None:
    log = Log()
    said = log.talk("可以", "介绍一下")
    log.start(said[0])
    ended(log, said[0], heard_ms)
    successor = Successor(log)
    assert successor.work() is None  # the customer may be about to speak
    silence = successor.work(5_000)
    assert silence is not None and silence.turn is not None
    assert texts(list(silence.directives)) == texts(said)
    assert silence.directives[0].variant == said[0].variant
    assert (silence.turn.node, silence.turn.outcome) == ("details", "reprompt")


def test_it_is_said_again_as_often_as_a_silence_is_answered() -> None:
    log = Log()
    said = log.talk("可以")
    for _ in range(2):
        log.start(said[0])
        ended(log, said[0], heard_ms=100)
        said = log.wait(5_000)
    assert kinds(said) == ["say", "hangup"]


def test_a_prompt_that_was_not_written_is_written_and_one_that_was_is_not() -> None:
    for records in (0, 1, 2):
        log = Log()
        log.play(log.talk("可以"))
        work = decided(log, "太贵了")
        written(work, log, records)
        rest = Successor(log).work()
        if records == 2:
            assert rest is None
        else:
            assert rest is not None
            assert [d.directive_id for d in rest.directives] == [
                d.directive_id for d in work.directives
            ]
            assert (rest.turn is None) == (records == 1)


# -- in the middle of a sentence


def test_a_sentence_that_began_before_is_answered_after() -> None:
    log = Log()
    log.play(log.talk("可以"))
    log.write("asr.transcripts", log.transcript("太", "partial"))
    successor = Successor(log)
    assert successor.work() is None
    answer = log.say("太贵了")
    assert texts(answer)
    assert answer[0].epoch == NEXT_EPOCH


@pytest.mark.parametrize("stop_written", [False, True])
def test_a_sentence_over_a_prompt_silences_it_once(stop_written: bool) -> None:
    log = Log()
    said = log.talk("可以", "介绍一下")
    log.start(said[0])
    log.now += 500
    log.write("asr.transcripts", log.transcript("我有", "partial"))
    stop = log.work()
    assert stop is not None and kinds(list(stop.directives)) == ["stop"]
    if stop_written:
        log.append("dialogue.directives", stop.directives[0])
    again = Successor(log).work(50)
    if stop_written:
        assert again is None
    else:
        assert again is not None
        assert again.directives[0].directive_id == stop.directives[0].directive_id
        log.write("dialogue.directives", again.directives[0])
    assert kinds(log.say("太贵了")) == ["say"]


def test_finals_that_waited_are_answered_oldest_first() -> None:
    log = Log()
    log.play(log.talk("可以"))
    for text in ("太贵了", "", "你是谁"):
        log.now += 300
        log.append("asr.transcripts", log.transcript(text))
    Successor(log)
    log.speak()
    assert [t.text for t in log.turns[-3:]] == ["太贵了", "", "你是谁"]
    assert log.node == "promotion"


# -- in the middle of a transfer, and at the last word


@pytest.mark.parametrize("records", [0, 1, 2, 3])
@pytest.mark.parametrize(("text", "last"), [("转人工", "transfer"), ("不需要", "hangup")])
def test_the_end_of_a_call_is_written_once_wherever_the_speaker_died(
    text: str, last: str, records: int
) -> None:
    log = Log()
    log.play(log.talk("可以"))
    work = decided(log, text)
    assert kinds(list(work.directives)) == ["say", last]
    written(work, log, records)
    Successor(log)
    log.now += 600
    log.speak()
    accepted = [d for d in log.directives if d.causation_id == work.directives[0].causation_id]
    assert [d.directive_id for d in accepted] == [d.directive_id for d in work.directives]
    seqs = [d.seq for d in log.directives]
    assert seqs == sorted(set(seqs))
    assert log.say("喂喂") == []  # the talk is over
    assert log.wait(60_000) == []


def test_last_words_are_not_cut() -> None:
    log = Log()
    greeting = log.talk()
    log.start(greeting[0])  # it may not be cut, so all that follows waits behind it
    details = log.say("多少钱")
    assert kinds(log.say("可以")) == ["say", "message", "hangup"]
    log.end(greeting[0], 4_000)
    log.start(details[0])
    log.now += 500
    successor = Successor(log)
    log.write("asr.transcripts", log.transcript("等一下我还有问题", "partial"))
    assert successor.work() is None


@pytest.mark.parametrize("kind", ["transferred", "ended"])
def test_nothing_is_said_after_the_call_went_elsewhere(kind: str) -> None:
    log = Log()
    said = log.talk("转人工")
    log.start(said[0])
    log.end(said[0], 2_000)
    log.write("calls.events", log.event(kind, directive_id=said[-1].directive_id))
    successor = Successor(log)
    assert successor.work(60_000) is None


# -- timers


def test_a_timer_that_fired_before_does_not_fire_again() -> None:
    log = Log()
    log.play(log.talk("可以"))
    log.now += 5_000
    work = log.work()
    assert work is not None and work.turn is not None
    written(work, log, 1)
    rest = Successor(log).work()
    assert rest is not None and rest.turn is None
    assert [d.directive_id for d in rest.directives] == work.turn.directive_ids


def test_a_silenced_speakers_timer_does_not_turn_the_talk_back() -> None:
    log = Log()
    log.play(log.talk("可以"))
    log.now += 5_000
    late = log.work()
    assert late is not None and late.turn is not None
    successor = Successor(log)
    log.write("asr.transcripts", log.transcript("太贵了"))
    log.play(log.speak())
    state = successor.shard.calls["call-1"].state
    log.write("dialogue.turns", late.turn)  # it woke up, and what it had sent arrives
    assert successor.shard.calls["call-1"].state == state
    assert log.node == "promotion"
    assert successor.work() is None


# -- a write that failed, a partition where another speaks


def test_the_rest_of_an_answer_survives_a_failed_send() -> None:
    log = Log()
    log.play(log.talk("可以"))
    work = decided(log, "不需要")
    written(work, log, 2)
    successor = Successor(log)
    for _ in range(2):
        rest = successor.work()
        assert rest is not None
        assert kinds(list(rest.directives)) == ["hangup"]
        successor.shard.failed(rest)


def test_nothing_is_written_where_a_higher_epoch_was_seen() -> None:
    log = Log()
    log.play(log.talk("可以"))
    barrier = log.directives[-1].model_copy(
        update={"kind": "takeover", "call_id": "takeover", "epoch": 70}
    )
    other = log.append("dialogue.directives", log.directives[-1])
    log.records.pop()
    partition = log.shard.calls["call-1"].partition
    log.shard.fold(type(other)(other.topic, partition, other.offset, log.now, barrier), log.now)
    log.write("asr.transcripts", log.transcript("太贵了"))
    assert log.work() is None
    log.epoch = 70
    assert kinds(log.speak()) == ["say"]


@pytest.mark.parametrize("order", ["turns first", "directives first"])
def test_a_half_written_answer_is_ended_whatever_was_read_first(order: str) -> None:
    log = Log()
    said = log.talk("可以", "介绍一下")
    log.start(said[0])
    work = decided(log, "我有问题，太贵了")
    assert kinds(list(work.directives)) == ["stop", "say"]
    written(work, log, 2)
    of_turns = [r for r in log.records if isinstance(r.event, Turn)]
    of_directives = [r for r in log.records if isinstance(r.event, Directive)]
    others = [r for r in log.records if not isinstance(r.event, Turn | Directive)]
    assert any(isinstance(r.event, CallEvent) for r in others)
    mixed = of_turns + of_directives if order == "turns first" else of_directives + of_turns
    log.records = [*others, *mixed]
    rest = Successor(log).work()
    assert rest is not None
    assert [d.directive_id for d in rest.directives] == [work.directives[1].directive_id]
    assert rest.directives[0].seq == work.directives[1].seq
    assert rest.directives[0].text == work.directives[1].text


def test_a_stop_that_a_turn_names_is_written_though_its_prompt_is_over() -> None:
    log = Log()
    said = log.talk("可以", "介绍一下")
    log.start(said[0])
    work = decided(log, "太贵了")
    assert kinds(list(work.directives)) == ["stop", "say"]
    written(work, log, 1)
    log.end(said[0], 4_000)
    rest = Successor(log).work()
    assert rest is not None
    assert [d.directive_id for d in rest.directives] == [d.directive_id for d in work.directives]
    assert [d.seq for d in rest.directives] == [d.seq for d in work.directives]
