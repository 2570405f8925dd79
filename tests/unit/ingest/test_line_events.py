"""What a switch tells of a call becomes records, with the ids of a carrier that tells the API."""

import pytest

from ingest.call.machine import decide, evolve
from ingest.call.types import Call, CloseMedia, HangUp, HungUp, Identity, Phase, Progressed, Write
from ingest.trunks.driver import LineEvent, LineEventKind
from schemas.events import CallEvent
from schemas.ids import call_once_id, root_id

PLACED = Call(Identity("c1", "edge", "outbound"), "west", Phase.PLACED)


def written(call: Call, progress: LineEvent) -> list[CallEvent]:
    commands = decide(call, Progressed(progress), 2_000)
    return [command.event for command in commands if isinstance(command, Write)]


@pytest.mark.parametrize("kind", ["ringing", "early_media", "answered"])
def test_a_step_is_recorded_at_its_time(kind: LineEventKind) -> None:
    (event,) = written(PLACED, LineEvent(kind, 1_500))
    assert (event.kind, event.occurred_at, event.trunk) == (kind, 1_500, "west")
    assert event.event_id == call_once_id("c1", kind)


def test_a_key_told_twice_is_one() -> None:
    key = LineEvent("dtmf", 1_500, digits="5", source="ch.7")
    (first,), (second,) = written(PLACED, key), written(PLACED, key)
    assert first.event_id == second.event_id == root_id("c1", "dtmf", "ch.7")
    assert first.digits == "5"


def test_ringing_after_the_answer_is_late() -> None:
    answered = Call(PLACED.identity, "west", Phase.ANSWERED)
    assert written(answered, LineEvent("ringing", 1_500)) == []


def test_the_end_carries_its_causes_and_nobody_hangs_up_twice() -> None:
    over = LineEvent("ended", 1_500, cause_q850=17, cause_sip=486, disposition="busy")
    commands = decide(PLACED, Progressed(over), 2_000)
    assert [type(command) for command in commands] == [CloseMedia, Write]
    (event,) = written(PLACED, over)
    assert (event.cause_q850, event.cause_sip, event.disposition) == (17, 486, "busy")
    closing = evolve(PLACED, Progressed(over))
    assert decide(closing, Progressed(over), 2_000) == []


def test_an_unknown_cause_is_kept() -> None:
    """A far end's BYE without a reason has cause 0."""
    (event,) = written(PLACED, LineEvent("ended", 1_500, cause_q850=0))
    assert event.cause_q850 == 0


def test_our_own_end_still_hangs_up() -> None:
    assert HangUp() in decide(PLACED, HungUp("failed"), 2_000)
