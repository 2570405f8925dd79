"""The call machine, by lists of inputs: order, permits, opt-outs, one end, repeats, resume."""

from dataclasses import replace
from typing import Any

import pytest

from ingest.call.machine import decide, evolve, unfinished
from ingest.call.records import (
    answered_by_us,
    identity_from,
    identity_of,
    moved_to,
    record,
)
from ingest.call.types import (
    Assigned,
    Call,
    CarrierRefused,
    CheckNumber,
    CloseMedia,
    Command,
    Dial,
    Directed,
    Drain,
    Drained,
    FindLine,
    Flush,
    HungUp,
    Identity,
    Input,
    KeyPressed,
    LetGo,
    LineFound,
    NoLine,
    NumberChecked,
    Phase,
    Play,
    PlayoutEnded,
    PlayoutHeldUp,
    PlayoutStarted,
    Progressed,
    Recorded,
    RingTimedOut,
    SendKeys,
    SetTurnSilence,
    Transfer,
    Transferred,
    TriedWritten,
    Write,
)
from ingest.trunks.driver import LineEvent
from ringlog.dispositions import RETRIED
from schemas.events import CallEvent, Directive, TaskEvent
from schemas.ids import call_once_id, root_id

PERMIT = 10_000


def assigned(**fields: Any) -> TaskEvent:
    return TaskEvent(
        **{
            "event_id": root_id("assigned"),
            "kind": "assigned",
            "occurred_at": 1,
            "producer": "dispatch",
            "tenant_id": "acme",
            "call_id": root_id("task", 1),
            "task_id": root_id("task"),
            "customer_id": "c1",
            "campaign_id": "spring",
            "pool": "sales",
            "robot_id": "r1",
            "edge_id": "edge",
            "attempt": 2,
            "phone": "+8613800000000",
            "playbook": "loan",
            "playbook_version": "3",
            "asr_profile": "demo",
            "profile": '{"level":"gold"}',
            "profile_version": 7,
            "permit_expires_at": PERMIT,
            **fields,
        }
    )


def new_call(**fields: Any) -> Call:
    identity = identity_of(assigned(**fields), "site")
    assert identity is not None
    return Call(identity, "sim")


class Host:
    """Feeds a call and answers its commands as the world would."""

    def __init__(self, call: Call, opted_out: bool | None = False) -> None:
        self.call = call
        self.now_ms = 1000
        self.opted_out = opted_out
        self.in_call = self.stopping = self.full = self.mute = False
        self.commands: list[Command] = []
        self.refuse: CarrierRefused | None = None
        self.lines: list[Input] = [LineFound(1, "west"), LineFound(2, "east")]
        self.before_dial_ms = 0

    def feed(self, *inputs: Input) -> "Host":
        for given in inputs:
            commands = decide(self.call, given, self.now_ms)
            self.call = evolve(self.call, given)
            for command in commands:
                self.commands.append(command)
                if isinstance(command, CheckNumber):
                    checked = NumberChecked(
                        self.opted_out, 42, self.in_call, self.stopping, self.full, self.mute
                    )
                    self.feed(checked)
                elif isinstance(command, FindLine):
                    self.feed(self.lines.pop(0) if self.lines else NoLine())
                elif isinstance(command, Write) and command.event.kind == "tried":
                    self.now_ms += self.before_dial_ms
                    self.feed(TriedWritten())
                elif isinstance(command, Dial) and self.refuse is not None:
                    self.feed(self.refuse)
        return self

    def read_back(self) -> "Host":
        """Everything written is read from `calls.events`."""
        for event in self.written:
            self.feed(Recorded(event))
        return self

    @property
    def written(self) -> list[CallEvent]:
        return [c.event for c in self.commands if isinstance(c, Write)]

    @property
    def kinds(self) -> list[str]:
        return [e.kind for e in self.written]

    @property
    def names(self) -> list[str]:
        return [
            f"Write {c.event.kind}" if isinstance(c, Write) else type(c).__name__
            for c in self.commands
        ]


def status(call: Call, kind: Any, at_ms: int = 2000, **fields: Any) -> Recorded:
    """A record that a carrier's report made."""
    call_id = call.identity.call_id
    return Recorded(
        CallEvent(
            event_id=root_id(call_id, kind, at_ms),
            kind=kind,
            occurred_at=at_ms,
            producer="api",
            call_id=call_id,
            source="sim",
            **fields,
        )
    )


def directive(kind: Any, n: int = 1, **fields: Any) -> Directive:
    if kind == "say":
        fields.setdefault("prompt_sha256", "0" * 64)
    return Directive(
        event_id=root_id("directive", n),
        kind=kind,
        occurred_at=3000,
        producer="robots",
        call_id=root_id("task", 1),
        directive_id=f"d{n}",
        seq=n,
        **fields,
    )


def answered_call() -> Host:
    host = Host(new_call()).feed(Assigned())
    host.feed(status(host.call, "ringing"), status(host.call, "answered"))
    host.commands.clear()
    return host


def test_an_assignment_leads_to_a_call_in_the_agreed_order() -> None:
    host = Host(new_call()).feed(Assigned())
    assert host.names == [
        "CheckNumber", "FindLine", "Write dialing", "Write tried", "CheckNumber", "Dial",
    ]  # fmt: skip
    tried = host.written[1]
    assert tried.event_id == root_id(host.call.identity.call_id, "tried", 1)
    assert (tried.try_no, tried.trunk, tried.task_id) == (1, "west", root_id("task"))
    dialing = host.written[0]
    assert dialing.event_id == root_id(host.call.identity.call_id, "dialing", 2)
    assert dialing.optout_offset == 42 and dialing.causation_id == root_id("assigned")
    assert (dialing.robot_id, dialing.playbook, dialing.playbook_version) == ("r1", "loan", "3")
    assert (dialing.asr_profile, dialing.profile, dialing.profile_version) == (
        "demo", '{"level":"gold"}', 7,
    )  # fmt: skip
    assert (dialing.phone, dialing.attempt, dialing.direction) == (
        "+8613800000000", 2, "outbound",
    )  # fmt: skip
    assert (dialing.tenant_id, dialing.task_id, dialing.edge_id) == (
        "acme", root_id("task"), "edge",
    )  # fmt: skip
    assert host.call.phase == Phase.PLACED


def test_the_campaigns_caller_id_and_variant_are_on_the_first_record_and_survive_a_takeover() -> (
    None
):
    host = Host(new_call(caller_id="+861060000001", variant="gift")).feed(Assigned())
    dialing, tried = host.written[:2]
    assert (dialing.caller_id, dialing.variant) == ("+861060000001", "gift")
    assert tried.caller_id is None and tried.variant is None  # what the trunk shows is the trunk's
    heir = identity_from(dialing, "site")
    assert heir is not None and (heir.caller_id, heir.variant) == ("+861060000001", "gift")


def test_nothing_is_dialled_without_the_acknowledgement() -> None:
    call = evolve(new_call(), NumberChecked(False, 1))
    commands = decide(call, LineFound(1, "west"), 1000)
    assert [type(c) for c in commands] == [Write, Write]
    assert all(isinstance(c, Write) and c.acknowledged for c in commands)


def test_an_expired_permit_ends_the_call_unseen_by_the_carrier() -> None:
    host = Host(new_call())
    host.now_ms = PERMIT
    host.feed(Assigned())
    assert host.names == ["CloseMedia", "Write ended"]
    ended = host.written[0]
    assert (ended.disposition, ended.cause_q850, ended.event_id) == (
        "failed",
        102,
        call_once_id(host.call.identity.call_id, "ended"),
    )
    assert ended.robot_id == "r1" and ended.playbook == "loan", "the first record copies all"


def test_a_permit_that_expires_while_dialing_is_written_stops_the_dial() -> None:
    host = Host(new_call())
    host.before_dial_ms = PERMIT
    host.feed(Assigned())
    assert host.kinds == ["dialing", "tried", "ended"] and "Dial" not in host.names
    assert host.written[-1].cause_q850 == 102


@pytest.mark.parametrize(
    ("why", "disposition", "cause"),
    [("in_call", "number_in_call", 17), ("stopping", "edge_stopping", 41),
     ("full", "edge_full", 34), ("mute", "prompt_missing", 41)],
)  # fmt: skip
def test_what_is_put_off_is_never_dialled(why: str, disposition: str, cause: int) -> None:
    """Review 11: a draining edge dials nobody; and nobody gets two calls at once."""
    host = Host(new_call())
    setattr(host, why, True)
    host.feed(Assigned())
    assert host.names == ["CheckNumber", "CloseMedia", "Write ended"]
    ended = host.written[0]
    assert (ended.disposition, ended.cause_q850) == (disposition, cause)
    assert ended.disposition in RETRIED


def test_what_changes_between_dialing_and_the_dial_counts() -> None:
    host = Host(new_call())
    host.call = evolve(evolve(host.call, NumberChecked(False, 42)), LineFound(1, "west"))
    host.stopping = True
    host.feed(TriedWritten())
    assert host.names == ["CheckNumber", "CloseMedia", "Write ended"]
    assert host.written[0].disposition == "edge_stopping"


@pytest.mark.parametrize(("named", "expected"), [("bank", "bank"), ("", "site"), (None, "site")])
def test_a_call_without_a_profile_gets_the_sites(named: str | None, expected: str) -> None:
    """Review 5: never silently the demo's model."""
    call = new_call(asr_profile=named)
    assert call.identity.asr_profile == expected
    dialing = Host(call).feed(Assigned()).written[0]
    assert dialing.asr_profile == expected
    again = identity_from(dialing.model_copy(update={"asr_profile": named}), "site")
    assert again is not None and again.asr_profile == expected


@pytest.mark.parametrize(("answer", "disposition"), [(True, "opted_out"), (None, "failed")])
def test_the_do_not_call_list_fails_closed(answer: bool | None, disposition: str) -> None:
    host = Host(new_call(), opted_out=answer).feed(Assigned())
    assert "Dial" not in host.names and host.kinds == ["ended"]
    assert host.written[0].disposition == disposition


def test_an_opt_out_between_the_record_and_the_dial_stops_it() -> None:
    call = evolve(evolve(new_call(), NumberChecked(False, 1)), LineFound(1, "west"))
    commands = decide(call, NumberChecked(True, 2), 1000)
    assert [type(c) for c in commands] == [CloseMedia, Write]


def test_repeats_do_nothing() -> None:
    host = Host(new_call()).feed(Assigned())
    before = list(host.commands)
    host.feed(
        Assigned(), TriedWritten(), LineFound(1, "west"), NumberChecked(False, 50)
    ).read_back()
    assert host.commands == before


def test_a_refusal_by_the_carrier_ends_the_call_with_its_cause() -> None:
    host = Host(new_call())
    host.refuse = CarrierRefused(17, 486, "busy")
    host.feed(Assigned())
    ended = host.written[-1]
    assert (ended.kind, ended.cause_q850, ended.cause_sip, ended.disposition) == (
        "ended", 17, 486, "busy",
    )  # fmt: skip


def test_ringing_answer_and_a_carriers_end() -> None:
    host = Host(new_call()).feed(Assigned())
    host.feed(status(host.call, "ringing"))
    assert host.call.phase.name == "RINGING"
    host.feed(status(host.call, "answered", 5000), status(host.call, "ringing", 5001))
    assert host.call.phase >= Phase.ANSWERED and host.call.answered_at_ms == 5000
    host.commands.clear()
    host.feed(status(host.call, "ended", cause_q850=16))
    assert host.names == ["CloseMedia"] and host.call.phase == Phase.ENDED
    host.feed(
        status(host.call, "answered", 6000),
        status(host.call, "ended", 6001),
        Directed(directive("say")),
        HungUp("failed"),
        RingTimedOut(),
    )
    assert host.names == ["CloseMedia"] and host.call.phase == Phase.ENDED


def test_directives_become_commands() -> None:
    host = answered_call()
    say = directive("say", 1, turn_silence_ms=300)
    host.feed(
        Directed(say),
        Directed(directive("stop", 2)),
        Directed(directive("dtmf", 3, digits="42#")),
        Directed(directive("listen", 4, turn_silence_ms=800)),
        Directed(directive("message", 5)),
    )
    assert host.commands == [
        SetTurnSilence(300),
        Play(say),
        Flush(),
        SendKeys("42#"),
        SetTurnSilence(800),
    ]


def test_playout_is_recorded_with_what_was_heard() -> None:
    host = answered_call()
    host.feed(PlayoutStarted("d1", "hello", 2000), PlayoutEnded("d1", "hello", 2000, 740))
    host.feed(PlayoutEnded("d1", "hello", 2000, 740))
    started, ended = host.written
    call_id = host.call.identity.call_id
    assert started.event_id == root_id(call_id, "playout_started", "d1")
    assert ended.event_id == root_id(call_id, "playout_ended", "d1")
    assert (ended.heard_ms, ended.prompt_ms, ended.prompt_id, ended.directive_id) == (
        740, 2000, "hello", "d1",
    )  # fmt: skip
    host.commands.clear()
    host.feed(Directed(directive("say", 1)))
    assert host.commands == [], "a directive that was carried out is not carried out again"


def test_a_pause_and_its_end_are_recorded_each_time() -> None:
    host = answered_call()
    for n, (heard, again) in enumerate([(740, 500), (1200, 1100)], 1):
        host.feed(PlayoutHeldUp("playout_paused", "d1", "hello", 2000, heard, n))
        host.feed(PlayoutHeldUp("playout_resumed", "d1", "hello", 2000, again, n))
    assert [(e.kind, e.heard_ms) for e in host.written] == [
        ("playout_paused", 740), ("playout_resumed", 500),
        ("playout_paused", 1200), ("playout_resumed", 1100),
    ]  # fmt: skip
    assert len({e.event_id for e in host.written}) == 4
    assert {e.directive_id for e in host.written} == {"d1"}


@pytest.mark.parametrize("disposition", ["one_way_audio", "half_closed"])
def test_a_call_that_lost_its_media_ends_by_that_name(disposition: str) -> None:
    host = answered_call()
    host.feed(HungUp(disposition, 41))
    (ended,) = [e for e in host.written if e.kind == "ended"]
    assert (ended.disposition, ended.cause_q850) == (disposition, 41)


def test_a_hangup_waits_for_what_is_being_said() -> None:
    host = answered_call()
    bye = directive("hangup", 2, reason="opted_out")
    host.feed(Directed(bye))
    assert host.commands == [Drain(bye)]
    host.feed(Drained(bye))
    assert host.names[1:] == ["CloseMedia", "Write ended", "HangUp"]
    ended = host.written[-1]
    assert (ended.disposition, ended.cause_q850) == ("opted_out", 16)
    host.feed(Directed(directive("say", 3)), HungUp("abandoned"), Drained(bye))
    assert host.kinds == ["ended"], "nothing is said, and nothing ended twice, after our hang-up"


@pytest.mark.parametrize(
    ("reason", "disposition", "cause"),
    [(None, "half_closed", 41), ("completed", "half_closed", 41),
     ("no_response", "half_closed", 41),
     ("opted_out", "opted_out", 16), ("callback", "callback", 16)],
)  # fmt: skip
def test_a_robot_that_gives_up_on_a_line_that_is_cut_says_so(
    reason: str | None, disposition: str, cause: int
) -> None:
    """What the customer said before the line was cut stays."""
    host = answered_call()
    bye = directive("hangup", 2, reason=reason)
    host.feed(Directed(bye), Drained(bye, "half_closed"))
    ended = host.written[-1]
    assert (ended.disposition, ended.cause_q850) == (disposition, cause)


def test_a_prompt_cut_by_the_end_is_told_before_it_and_none_begins_after() -> None:
    host = answered_call()
    bye = directive("hangup", 2)
    commands = decide(host.call, Drained(bye), 9000)
    host.call = evolve(host.call, Drained(bye))
    assert isinstance(commands[0], CloseMedia)
    host.feed(PlayoutEnded("d1", "p", 500, 100))
    assert host.kinds == ["playout_ended"]
    host.feed(status(host.call, "ended"), PlayoutStarted("d9", "p", 500))
    assert host.kinds == ["playout_ended"]


def test_a_carriers_end_still_tells_what_was_heard() -> None:
    host = answered_call()
    host.feed(status(host.call, "ended"), PlayoutEnded("d1", "p", 500, 100))
    assert host.kinds == ["playout_ended"]


def test_transfer_after_what_is_said_and_its_failure() -> None:
    host = answered_call()
    over = directive("transfer", 2, target="agents")
    host.feed(Directed(over), Drained(over))
    assert host.commands == [Drain(over), Transfer(over)]
    host.feed(Transferred(over, True))
    assert host.written[-1].transfer_to == "agents" and host.call.phase == Phase.ANSWERED
    host.feed(Transferred(directive("transfer", 3), False))
    assert host.kinds == ["transferred", "ended"]
    assert host.written[-1].disposition == "failed"


def test_a_transferred_call_that_ends_well_was_transferred() -> None:
    host = answered_call()
    over = directive("transfer", 2, target="agents")
    host.feed(Directed(over), Drained(over), Transferred(over, True))
    host.feed(status(host.call, "transferred"))
    host.feed(Progressed(LineEvent("ended", 9_000, cause_q850=16)))
    assert host.written[-1].disposition == "transferred"


def test_nobody_answers() -> None:
    host = Host(new_call()).feed(Assigned())
    host.commands.clear()
    host.feed(RingTimedOut(), RingTimedOut())
    assert host.names == ["CloseMedia", "Write ended", "HangUp"]
    assert (host.written[0].disposition, host.written[0].cause_q850) == ("no_answer", 19)
    host = answered_call().feed(RingTimedOut())
    assert host.commands == []


def test_a_withdrawn_call_is_hung_up_while_nobody_has_answered() -> None:
    host = Host(new_call()).feed(Assigned())
    host.commands.clear()
    host.feed(status(host.call, "withdrawn"), status(host.call, "withdrawn"))
    assert host.names == ["CloseMedia", "Write ended", "HangUp"]
    assert host.written[0].disposition == "cancelled"
    host = answered_call().feed(status(answered_call().call, "withdrawn"))
    assert host.commands == [], "the robot ends it"
    host.feed(Drained(directive("hangup", 1, reason="cancelled")))
    assert host.written[-1].disposition == "cancelled"


def test_keys_are_recorded_once_each() -> None:
    host = answered_call()
    host.feed(KeyPressed("5", "7.160"), KeyPressed("5", "7.160"), KeyPressed("5", "7.900"))
    assert [e.digits for e in host.written] == ["5", "5", "5"]
    assert len({e.event_id for e in host.written}) == 2


def test_a_foreign_call_begins_answered_and_has_no_carrier() -> None:
    identity = Identity("x-1", "edge", "foreign", customer_id="c", playbook="loan", robot_id="r")
    first = answered_by_us(Call(identity, "foreign"), 100)
    assert first.event_id == call_once_id("x-1", "answered")
    assert (first.direction, first.playbook, first.robot_id, first.phone) == (
        "foreign", "loan", "r", None,
    )  # fmt: skip
    host = Host(Call(identity, "foreign")).feed(Recorded(first), HungUp("abandoned"))
    assert host.names == ["CloseMedia", "Write ended"]


@pytest.mark.parametrize("missing", ["phone", "edge_id", "permit_expires_at", "call_id"])
def test_an_assignment_without_what_dialling_needs_is_none(missing: str) -> None:
    assert identity_of(assigned(**{missing: None}), "site") is None


def test_the_first_record_carries_the_whole_identity() -> None:
    host = Host(new_call()).feed(Assigned())
    again = identity_from(host.written[0], "site")
    assert again is not None
    same = {f: getattr(host.call.identity, f) for f in Identity.__slots__}
    same["permit_expires_at"] = None  # spent
    assert {f: getattr(again, f) for f in Identity.__slots__} == same
    stray = status(host.call, "ringing")
    assert identity_from(stray.event, "site") is None


def test_a_replayed_call_is_where_it_was() -> None:
    host = Host(new_call()).feed(Assigned())
    host.feed(status(host.call, "answered"))
    host.feed(PlayoutStarted("d1", "p", 100), PlayoutEnded("d1", "p", 100, 100))
    host.feed(*(Recorded(event) for event in host.written[1:]))
    replayed = Call(host.call.identity, "sim")
    for event in (host.written[0], status(host.call, "answered").event, *host.written[1:]):
        replayed = evolve(replayed, Recorded(event))
    assert replayed == host.call


def test_after_a_restart_only_what_was_not_done_is_done() -> None:
    call = evolve(
        new_call(),
        Recorded(
            record(new_call(), "playout_ended", root_id("e"), 1, directive_id="d2", heard_ms=5)
        ),
    )
    given = [
        directive("listen", 1, turn_silence_ms=300),
        directive("say", 2),
        directive("say", 3),
        directive("stop", 4),
        directive("say", 5),
        directive("message", 6),
        directive("hangup", 7),
    ]
    assert [d.directive_id for d in unfinished(call, given)] == ["d5", "d7"]


def test_a_call_that_another_edge_takes_is_let_go_without_an_end() -> None:
    host = Host(new_call()).feed(Assigned())
    moved = moved_to(host.call, "other", 2_000)
    assert (moved.edge_id, moved.move_no, moved.event_id) == (
        "other", 1, root_id(host.call.identity.call_id, "moved", 1),
    )  # fmt: skip
    before = len(host.commands)
    host.feed(Recorded(moved))
    assert host.commands[before:] == [LetGo()]
    assert (host.call.identity.edge_id, host.call.owner_on_switch) == ("other", "edge")
    host.feed(Recorded(moved))
    assert len(host.commands) == before + 1, "once"
    back = host.call
    host.call = replace(back, phase=Phase.PLACED, between=True, refused_try=back.tries)
    host.feed(LineFound(2, "east"))
    assert host.call.owner_on_switch == "other", "it has placed the next try itself"


def test_the_edge_that_has_taken_a_call_goes_on_with_it() -> None:
    call = new_call()
    moved = moved_to(call, call.identity.edge_id, 2_000)
    assert Host(call).feed(Recorded(moved)).commands == []
