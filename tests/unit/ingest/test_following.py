"""What the log tells an edge: calls that live when it begins to serve, and what it then hears."""

from typing import Any

from ingest.call.types import Phase
from ingest.following import LONGEST_PERMIT_MS, Following
from ingest.trunks.plan import default_plan
from ringlog.kafka.reader import Received
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import CallEvent, Directive, Playbook, TaskEvent
from schemas.ids import root_id
from schemas.phone import Numbers

NUMBERS = Numbers("CN", b"key")
NOW = 2_000_000_000_000


def event(call: str, kind: Any, **fields: Any) -> CallEvent:
    return CallEvent.model_validate(
        {"event_id": root_id(call, kind), "kind": kind, "occurred_at": NOW, "producer": "edge",
         "call_id": call, "source": "edge", "edge_id": "edge", "direction": "outbound"} | fields
    )  # fmt: skip


def say(call: str, n: int, epoch: int = 1) -> Directive:
    return Directive(
        event_id=root_id(call, "say", n), kind="say", occurred_at=NOW, producer="robots",
        call_id=call, epoch=epoch, directive_id=f"d{n}", seq=n, prompt_sha256="x",
    )  # fmt: skip


def assigned(call: str, edge: str = "edge", expires: int = NOW + 15_000) -> TaskEvent:
    return TaskEvent(
        event_id=root_id(call, "assigned"), kind="assigned", occurred_at=NOW,
        producer="dispatch", call_id=call, edge_id=edge, phone="1", permit_expires_at=expires,
    )  # fmt: skip


class Serving:
    def __init__(self, *calls: str) -> None:
        self.calls = set(calls)
        self.heard: list[tuple[str, str, bool]] = []

    def on_recorded(self, call_id: str, event: CallEvent, first: bool) -> None:
        self.heard.append((call_id, event.kind, first))

    def on_directive(self, call_id: str, directive: Directive) -> bool:
        self.heard.append((call_id, directive.directive_id, True))
        return call_id in self.calls

    def on_assigned(self, task: TaskEvent) -> None:
        self.heard.append((task.call_id or "", "assigned", True))

    def on_plan(self) -> None:
        self.heard.append(("", "trunks", True))


def following() -> Following:
    return Following("edge", NUMBERS, default_plan(Settings()), "site")


def give(to: Following, *events: Event, at_ms: int = NOW) -> None:
    for n, one in enumerate(events):
        to.take(Received("any", 0, n, at_ms, one))


def test_what_has_not_ended_lives() -> None:
    ours = following()
    give(
        ours,
        event("a", "dialing", trunk="west", asr_profile="bank"),
        event("b", "dialing"),
        event("a", "answered", source="west"),
        event("b", "ended"),
        event("far", "dialing", edge_id="another"),
        say("c", 3),  # of another topic: it may be read before the call's first record
        event("c", "dialing"),
        event("a", "playout_ended", directive_id="d1"),
        say("a", 1), say("a", 2), say("a", 2), say("b", 1), say("a", 4, epoch=0),
    )  # fmt: skip
    a, c = ours.serve(Serving())
    assert (a.call.identity.call_id, a.call.phase, a.call.trunk) == ("a", Phase.ANSWERED, "west")
    assert a.call.identity.asr_profile == "bank"
    assert [one.directive_id for one in a.directives] == ["d2"]
    assert c.call.identity.asr_profile == "site"
    assert [one.directive_id for one in c.directives] == ["d3"]
    assert ours.running.edge_of("far") == "another" and ours.running.edge_of("b") is None
    assert [call.identity.call_id for call in ours.running.of("another")] == ["far"]


def test_a_call_that_may_have_been_dialled_is_not_dialled_again() -> None:
    ours = following()
    give(ours, event("a", "dialing"))
    [survivor] = ours.serve(Serving())
    assert survivor.call.phase == Phase.PLACED


def test_it_does_not_matter_when_serving_begins() -> None:
    """Whatever is folded before or told after: each record has its effect once."""
    log = [
        event("a", "dialing"), event("a", "ringing", source="sim"), say("a", 1),
        event("a", "answered"), event("a", "answered"), say("a", 2), event("far", "ended"),
    ]  # fmt: skip
    for cut in range(1, len(log) + 1):
        ours, serving = following(), Serving("a")
        give(ours, *log[:cut])
        [survivor] = ours.serve(serving)
        give(ours, *log[cut:])
        told = [name for _, name, first in serving.heard if first]
        done = {"dialing", "ringing", "answered"}.intersection(e.kind for e in log[:cut])
        assert done.isdisjoint(told)
        directives = [d.directive_id for d in survivor.directives]
        assert directives + [name for name in told if name[0] == "d"] == ["d1", "d2"]


def test_assignments_wait_until_we_dial_and_are_begun_once() -> None:
    ours, serving = following(), Serving()
    give(ours, assigned("begun"), assigned("new"), assigned("new"), assigned("far", "another"))
    give(ours, event("begun", "dialing"))
    ours.serve(serving)
    give(ours, assigned("later"))
    assert not serving.heard
    ours.dial()
    give(ours, assigned("live"), assigned("begun"))
    assert [call for call, _, _ in serving.heard] == ["new", "later", "live"]
    ours.began("live")
    give(ours, assigned("live"))
    assert len(serving.heard) == 3


def test_a_number_is_in_a_call_of_any_edge_until_that_ends() -> None:
    ours = following()
    give(ours, event("far", "dialing", edge_id="another", phone="+8613800000000"))
    numbers, hashed = ours.numbers_in_calls, NUMBERS.hash("+8613800000000")
    assert not numbers.claim(hashed, "x", NOW)
    give(ours, event("far", "ended", edge_id="another"))
    assert numbers.claim(hashed, "x", NOW)


def test_a_spare_that_follows_for_weeks_keeps_what_runs_and_no_more() -> None:
    ours = following()
    for day in range(20):
        at_ms = NOW + day * 86_400_000
        for n in range(20):
            call = f"{day}/{n}"
            give(ours, assigned(call, expires=at_ms), event(call, "dialing", occurred_at=at_ms),
                 say(call, n), at_ms=at_ms)  # fmt: skip
            if n % 5:
                give(ours, event(call, "ended", occurred_at=at_ms), say(call, n + 100), at_ms=at_ms)
    at_ms += 3 * LONGEST_PERMIT_MS
    script = Playbook(
        event_id=root_id("p"), kind="published", occurred_at=NOW, producer="t", playbook="p",
        version="1", sha256="", body="",
    )  # fmt: skip
    give(ours, script, at_ms=at_ms)
    assert len(ours.running) == 4 and ours.defaults.playbooks == ["p"]
    assert not ours.knows("0/1") and not ours._assigned
    give(ours, script, at_ms=at_ms + 4 * 3_600_000)
    assert len(ours.running) == 0 and not ours._acceptance._ids


def test_only_what_an_edge_serves_is_decoded() -> None:
    ours = following()
    give(ours, event("near", "dialing"), event("far", "dialing", edge_id="another"))
    asked = [
        (call, kind, ours.wants("calls.events", call.encode(), kind))
        for call in ("near", "far", "unknown")
        for kind in ("playout_started", "ringing", "dialing", "tried", "answered", "ended")
    ]
    assert [(call, kind) for call, kind, wanted in asked if not wanted] == [
        ("far", "playout_started"),
    ]
    assert ours.wants("calls.events", b"far", "playout_ended"), "we may take it over"
    assert ours.wants("dialogue.directives", b"far", "say"), "it may raise the epoch"
    kinds = ("queued", "assigned", "completed")
    assert [k for k in kinds if ours.wants("tasks.events", b"t", k)] == ["assigned"]
    assert ours.wants("calls.events", None, "dtmf") and ours.wants("playbooks", b"p", "published")


def moved(call: str, to: str, number: int = 1) -> CallEvent:
    return event(call, "moved", event_id=root_id(call, "moved", number), edge_id=to, move_no=number)


def test_a_call_that_moves_to_us_brings_what_is_left_of_its_directives() -> None:
    ours, serving = following(), Serving()
    give(ours, event("far", "dialing", edge_id="another"), say("far", 1))
    assert ours.serve(serving) == []
    give(
        ours, event("far", "tried", edge_id="another", try_no=1, trunk="west"),
        event("far", "answered", edge_id="another"), say("far", 2), say("far", 2), say("far", 3),
        event("far", "playout_ended", edge_id="another", directive_id="d1"),
    )  # fmt: skip
    assert ours.take_up("far") is None, "it is another's"
    give(ours, moved("far", "edge"))
    found = ours.take_up("far")
    assert found is not None
    call = found.call
    assert (call.identity.edge_id, call.owner_on_switch, call.phase, call.moves) == (
        "edge", "another", Phase.ANSWERED, 1,
    )  # fmt: skip
    assert [one.directive_id for one in found.directives] == ["d2", "d3"]
    serving.calls.add("far")
    give(ours, say("far", 4), say("far", 3), event("far", "ended", edge_id="another"))
    assert [name for _, name, _ in serving.heard[-2:]] == ["d4", "ended"]
    assert len(ours.running) == 0


def test_the_first_of_two_heirs_has_the_call_and_so_it_is_on_replay() -> None:
    log = [
        event("c", "dialing", edge_id="lost"), event("c", "tried", edge_id="lost", try_no=1),
        moved("c", "edge"), moved("c", "late"), moved("c", "edge"), moved("c", "third", 2),
        moved("c", "edge", 2), moved("c", "edge", 4),
    ]  # fmt: skip
    owners: list[str | None] = []
    for cut in range(len(log) + 1):
        ours = following()
        give(ours, *log[:cut])
        owners.append(ours.running.edge_of("c"))
    assert owners == [None, "lost", "lost", "edge", "edge", "edge", "third", "third", "third"]
    assert ours.running.of("third")[0].owner_on_switch == "lost"


def test_directives_of_calls_that_are_over_are_not_kept() -> None:
    ours = following()
    ours.serve(Serving())
    give(ours, event("far", "dialing", edge_id="another"), event("far", "ended"), say("far", 1))
    give(ours, event("b", "dialing", edge_id="another"), at_ms=NOW + 61_000)
    assert not ours.running._early
