"""Tries of one call: another trunk after a carrier's fault, never after busy or no answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.call.machine import evolve
from ingest.call.records import record
from ingest.call.types import (
    LINE_WAIT_MS,
    Assigned,
    Call,
    CarrierRefused,
    Input,
    LineAwaited,
    LineFound,
    NoLine,
    NoResponse,
    NumberChecked,
    Phase,
    Progressed,
    Recorded,
    RingTimedOut,
    TriedWritten,
)
from ingest.trunks.driver import LineEvent
from ringlog.dispositions import RETRIED
from tests.unit.ingest.test_edge_calls import PERMIT, Host, new_call, status


def ended(try_no: int | None = None, **cause: int) -> Progressed:
    return Progressed(LineEvent("ended", 1_500, try_no=try_no, **cause))  # type: ignore[arg-type]


def placed() -> Host:
    host = Host(new_call()).feed(Assigned())
    host.commands.clear()
    return host


FAULTS: list[Input] = [
    CarrierRefused(34, None, "failed"),
    CarrierRefused(19, 503, "failed"),
    NoResponse(1),
    ended(cause_q850=42),
    ended(cause_q850=127, cause_sip=502),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_carriers_fault_leads_to_the_next_trunk(fault: Input) -> None:
    host = placed().feed(fault).read_back()
    abandoned = ["Abandon"] if isinstance(fault, NoResponse) else []
    assert host.names == [
        *abandoned, "Write refused", "FindLine", "Write tried", "CheckNumber", "Dial",
    ]  # fmt: skip
    refused, tried = host.written
    assert (refused.try_no, refused.trunk, tried.try_no, tried.trunk) == (1, "west", 2, "east")
    assert host.call.trunk == "east" and not host.call.between
    host.feed(fault if not isinstance(fault, NoResponse) else NoResponse(2))
    assert host.kinds[-2:] == ["refused", "ended"] and host.call.closing
    assert host.written[-1].cause_q850 == refused.cause_q850


@pytest.mark.parametrize(
    "end",
    [CarrierRefused(17, 486, "busy"), CarrierRefused(19, 480, "no_answer"),
     CarrierRefused(1, 404, "failed"), ended(cause_q850=17), ended(cause_q850=19),
     ended(cause_q850=16), RingTimedOut(1)],
)  # fmt: skip
def test_busy_and_no_answer_lead_nowhere_else(end: Input) -> None:
    host = placed().feed(end)
    assert host.kinds == ["ended"] and "FindLine" not in host.names


@pytest.mark.parametrize("heard", ["ringing", "early_media", "answered"])
@pytest.mark.parametrize("fault", FAULTS)
def test_once_it_rings_no_other_trunk_is_tried(heard: str, fault: Input) -> None:
    host = placed()
    host.feed(status(host.call, heard), fault)
    assert "FindLine" not in host.names
    assert host.kinds == ([] if isinstance(fault, NoResponse) else ["ended"])


def test_a_carrier_that_tells_the_api_may_give_a_try_up_late() -> None:
    host = placed()
    told = status(host.call, "refused", try_no=1, cause_q850=34)
    host.feed(told, told).read_back()
    assert host.names == ["FindLine", "Write tried", "CheckNumber", "Dial"]
    assert (host.call.tries, host.call.trunk, host.call.between) == (2, "east", False)
    folded = new_call()
    for event in (told.event, host.written[0]):
        folded = evolve(folded, Recorded(event))
    assert (folded.tries, folded.trunk, folded.between) == (2, "east", False)
    host.feed(status(host.call, "refused", try_no=2, cause_sip=503))
    assert host.kinds[-1] == "ended" and host.written[-1].cause_sip == 503


@pytest.mark.parametrize("rang", [(), ("ringing",), ("ringing", "answered")])
@pytest.mark.parametrize("cause", [{"cause_q850": 17}, {"cause_sip": 480}, {"cause_q850": 38}, {}])
def test_a_late_refusal_that_is_no_fault_or_comes_once_it_rings_is_the_end(
    rang: tuple[str, ...], cause: dict[str, int]
) -> None:
    host = placed()
    host.feed(*(status(host.call, kind) for kind in rang))
    told = status(host.call, "refused", try_no=1, **cause)
    host.feed(told)
    if cause == {"cause_q850": 38} and not rang:
        assert host.names[0] == "FindLine"
        return
    assert "FindLine" not in host.names and host.kinds == ["ended"]
    restarted = evolve(host.call, told)
    assert not restarted.between and not restarted.closing, "its end may have to be written again"


def test_what_a_switch_tells_of_a_try_given_up_is_passed_over() -> None:
    host = placed().feed(ended(try_no=1, cause_q850=38))
    host.commands.clear()
    for late in (ended(try_no=1, cause_q850=16), Progressed(LineEvent("answered", 9, try_no=1)),
                 NoResponse(1), RingTimedOut(1)):  # fmt: skip
        host.feed(late)
    assert host.commands == [] and not host.call.closing
    host.feed(Progressed(LineEvent("ringing", 10, try_no=2)))
    assert host.kinds == ["ringing"] and host.written[0].trunk == "east"


def test_no_trunk_with_room_is_waited_for_then_put_off() -> None:
    host = Host(new_call())
    host.lines = [NoLine(4_000)]
    host.feed(Assigned())
    assert host.names[-1] == "AwaitLine"
    host.lines = [NoLine(4_000), LineFound(1, "west")]
    host.feed(LineAwaited(), LineAwaited())
    assert host.call.phase == Phase.PLACED and host.kinds == ["dialing", "tried"]
    waited = Host(new_call())
    waited.lines = [NoLine(LINE_WAIT_MS + 1)]
    waited.feed(Assigned())
    first = waited.written[0]
    assert (first.kind, first.disposition, first.robot_id) == ("ended", "no_line", "r1")
    assert first.disposition in RETRIED
    spent = Host(new_call())
    spent.lines = [NoLine(spent=True)]
    assert spent.feed(Assigned()).written[0].disposition == "failed"


def test_an_opt_out_or_another_call_stops_the_next_try() -> None:
    for name, disposition in (("opted_out", "opted_out"), ("in_call", "number_in_call")):
        host = placed()
        setattr(host, name, True)
        host.feed(CarrierRefused(38, None, "failed"))
        assert "Dial" not in host.names and host.written[-1].disposition == disposition


def test_a_try_may_begin_after_the_permit() -> None:
    """The permit says when dialling begins; rerouting goes on with it."""
    host = placed()
    host.now_ms = PERMIT + 1
    host.feed(CarrierRefused(38, None, "failed"))
    assert host.names[-1] == "Dial"


def test_after_a_restart_the_log_tells_where_the_tries_stand() -> None:
    host = placed().feed(CarrierRefused(38, None, "failed"))
    first = Host(new_call()).feed(Assigned())
    log = [*first.written, *host.written]
    assert [event.kind for event in log] == ["dialing", "tried", "refused", "tried"]

    def after(n: int) -> Call:
        call = Call(first.call.identity, "")
        for event in log[:n]:
            call = evolve(call, Recorded(event))
        return evolve(call, NumberChecked(False, None)) if call.phase == Phase.DIALING else call

    assert (after(2).trunk, after(2).tries, after(2).between) == ("west", 1, False)
    between = after(3)
    assert (between.phase, between.between, between.tries) == (Phase.PLACED, True, 1)
    again = Host(between)
    again.lines = [LineFound(2, "east")]
    again.feed(LineAwaited())
    assert again.names == ["FindLine", "Write tried", "CheckNumber", "Dial"]
    assert again.written[0].event_id == log[3].event_id
    assert (after(4).trunk, after(4).tries, after(4).between) == ("east", 2, False)


INPUTS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(FAULTS),
    st.builds(NoResponse, st.integers(1, 3)),
    st.builds(RingTimedOut, st.none() | st.integers(1, 3)),
    st.builds(lambda kind, n: Progressed(LineEvent(kind, 9, try_no=n)),
              st.sampled_from(["ringing", "answered", "ended"]), st.none() | st.integers(1, 3)),
    st.just(LineAwaited()), st.just(TriedWritten()), st.just(Assigned()),
    st.builds(LineFound, st.integers(1, 4), st.sampled_from(["west", "east"])),
    st.builds(NoLine, st.none() | st.integers(0, 5_000)),
    st.builds(NumberChecked, st.sampled_from([True, False, None]), st.just(4)),
)  # fmt: skip


@given(st.lists(INPUTS, max_size=30))
def test_any_order_of_inputs(inputs: list[Input]) -> None:
    """Each try is on the log before it is dialled and dialled once at most, a new one only after
    the last was refused, and the call's first record names everything."""
    host = Host(new_call()).feed(Assigned(), *inputs)
    running, dialled = 0, list[int]()
    tries = 0
    for command in host.names:
        match command:
            case "Write tried":
                assert running == 0
                tries, running = tries + 1, 1
            case "Write refused":
                running = 0
            case "Dial":
                assert running == 1 and tries not in dialled
                dialled.append(tries)
            case _:
                pass
    numbers = [event.try_no for event in host.written if event.kind == "tried"]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert host.kinds.count("dialing") <= 1
    if host.written:
        assert host.written[0].playbook == "loan"
    assert len({e.event_id for e in host.written if e.kind in ("tried", "refused")}) == sum(
        e.kind in ("tried", "refused") for e in host.written
    )


def test_a_record_without_a_trunk_names_none() -> None:
    assert record(Call(new_call().identity, ""), "ringing", "x" * 36, 1).trunk is None
