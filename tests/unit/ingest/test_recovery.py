"""Calls that lived when an edge died, from the log alone."""

from typing import Any

from ingest.call.types import Phase
from ingest.failover.recovery import Recovery
from schemas.events import CallEvent, Directive
from schemas.ids import root_id


def event(call: str, kind: Any, **fields: Any) -> CallEvent:
    return CallEvent.model_validate(
        {"event_id": root_id(call, kind), "kind": kind, "occurred_at": 5, "producer": "edge",
         "call_id": call, "source": "edge", "edge_id": "edge", "direction": "outbound"} | fields
    )  # fmt: skip


def say(call: str, n: int) -> Directive:
    return Directive(
        event_id=root_id(call, "say", n), kind="say", occurred_at=n, producer="robots",
        call_id=call, epoch=1, directive_id=f"d{n}", seq=n, prompt_sha256="x",
    )  # fmt: skip


def test_what_has_not_ended_lives() -> None:
    recovery = Recovery()
    for one in (
        event("a", "dialing", trunk="west", asr_profile="bank"),
        event("b", "dialing"),
        event("a", "answered", source="west"),
        event("b", "ended"),
        event("far", "dialing", edge_id="another"),
        event("c", "dialing"),
        event("a", "playout_ended", directive_id="d1"),
    ):
        recovery.take_event(one.call_id or "", one)
    for directive in (say("a", 1), say("a", 2), say("b", 1)):
        recovery.take_directive(directive.call_id or "", directive)
    a, c = recovery.survivors("edge", "sim", "site")
    assert (a.call.identity.call_id, a.call.phase, a.call.trunk) == ("a", Phase.ANSWERED, "west")
    assert a.call.identity.asr_profile == "bank"
    assert [one.directive_id for one in a.directives] == ["d2"]
    assert c.call.identity.asr_profile == "site" and c.directives == []


def test_a_call_that_may_have_been_dialled_is_not_dialled_again() -> None:
    recovery = Recovery()
    recovery.take_event("a", event("a", "dialing"))
    [survivor] = recovery.survivors("edge", "sim", "site")
    assert survivor.call.phase == Phase.PLACED
