"""Call and task status by lists of events."""

import itertools
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ringlog import settings as site
from ringlog.dispositions import disposition_of
from schemas.events import CallEvent, TaskEvent, TaskRequested
from schemas.ids import root_id
from streams.api.hub import Hub
from streams.api.models import AssignRequest, CallStatusRequest
from streams.api.state import CALL_STATES, Board, CallStatus

_n = itertools.count()


def call(kind: str, **fields: object) -> CallEvent:
    n = next(_n)
    base = {"event_id": root_id(n), "kind": kind, "occurred_at": n, "producer": "t", "call_id": "c"}
    return CallEvent.model_validate(base | fields)


def task(kind: str, **fields: object) -> TaskEvent:
    n = next(_n)
    base = {"event_id": root_id(n), "kind": kind, "occurred_at": n, "producer": "t", "task_id": "t"}
    return TaskEvent.model_validate(base | fields)


def test_a_call_moves_forward_only() -> None:
    board = Board()
    for kind in ("dialing", "answered", "ringing", "ended", "answered"):
        board.apply(call(kind))
    status = board.calls["c"]
    assert status.state == "ended"
    assert status.version == 3


def folded(*events: CallEvent) -> CallStatus:
    board = Board()
    versions = [0]
    for event in events:
        board.apply(event)
        versions.append(board.calls["c"].version)
    assert versions == sorted(versions)
    return board.calls["c"]


def test_R2a_an_answer_after_the_bridge_counts() -> None:
    status = folded(
        call("bridged", occurred_at=5_000), call("answered", occurred_at=4_000),
        call("ended", occurred_at=60_000, cause_q850=16, disposition="no_answer"),
    )  # fmt: skip
    assert (status.answered_at, status.started_at, status.ended_at) == (4_000, 4_000, 60_000)
    assert (status.state, status.disposition) == ("ended", "abandoned")


def test_R2a_a_bridge_without_an_answer_is_never_no_answer() -> None:
    status = folded(call("bridged"), call("ended", disposition="no_answer"))
    assert (status.answered_at, status.disposition) == (None, "abandoned")


def test_R2b_an_answer_after_the_end_counts() -> None:
    status = folded(
        call("ended", occurred_at=60_000, disposition="no_answer", cause_q850=16),
        call("answered", occurred_at=4_000),
    )
    assert (status.answered_at, status.started_at) == (4_000, 4_000)
    assert (status.state, status.disposition, status.version) == ("ended", "abandoned", 2)


def test_R2c_a_call_began_at_its_earliest_record() -> None:
    status = folded(call("ringing", occurred_at=2_000), call("dialing", occurred_at=0))
    assert (status.state, status.started_at) == ("ringing", 0)


def test_R2e_the_first_answer_counts() -> None:
    status = folded(call("answered", occurred_at=5_000), call("answered", occurred_at=3_000))
    assert (status.answered_at, status.started_at) == (5_000, 3_000)


@given(st.lists(st.tuples(st.sampled_from(CALL_STATES), st.integers(0, 99)), min_size=1))
@settings(deadline=None)
def test_R5_no_duration_is_negative(records: list[tuple[str, int]]) -> None:
    status = folded(*(call(kind, occurred_at=at) for kind, at in records))
    times = [status.started_at, status.answered_at, status.ended_at]
    known = [t for t in times if t is not None]
    assert known == sorted(known)


async def test_a_rebuild_of_the_status_has_no_gap() -> None:
    """What `follow` folds while the rebuild reads, behind the end that the rebuild sees."""
    hub = Hub(site.Settings(), cast(Any, None))
    first, late = call("dialing"), call("answered")
    hub._fold(first)
    other = call("dialing", call_id="gone from the log")
    hub._fold(other)

    async def folded_anew() -> Board:
        board = Board()
        board.apply(first)
        hub._fold(late)
        return board

    hub._folded_anew = folded_anew  # type: ignore[method-assign]
    old = hub.board
    assert await hub.refold() == {"calls": 2, "tasks": 0}
    assert hub.board is not old
    assert hub.board.calls["c"] == old.calls["c"]
    assert hub.board.calls["c"].state == "answered"
    hub._fold(late)
    assert hub.board.calls["c"].version == 2


def test_the_first_end_counts() -> None:
    board = Board()
    board.apply(call("dialing", robot_id="r", customer_id="k"))
    board.apply(call("ended", disposition="busy", cause_q850=17))
    board.apply(call("ended", disposition="completed", cause_q850=16))
    status = board.calls["c"]
    assert (status.disposition, status.cause_q850) == ("busy", 17)
    assert (status.robot_id, status.customer_id) == ("r", "k")


def test_the_first_record_of_an_id_counts() -> None:
    board = Board()
    event = call("dialing")
    assert board.apply(event)
    assert not board.apply(event.model_copy(update={"robot_id": "late"}))
    assert board.calls["c"].robot_id is None


@given(st.lists(st.sampled_from([*CALL_STATES, "dtmf", "playout_ended"]), min_size=1, max_size=12))
@settings(deadline=None)
def test_duplicates_and_replays_change_nothing(kinds: list[str]) -> None:
    events = [call(k) for k in kinds]
    once, again = Board(), Board()
    for e in events:
        once.apply(e)
    for e in events + events:
        again.apply(e)
    assert once.calls == again.calls


def test_task_decisions_and_requests_may_cross() -> None:
    request = TaskRequested(
        event_id=root_id("r"), kind="requested", occurred_at=1, producer="t", task_id="t",
        body_sha256="d", customer_id="k",
    )  # fmt: skip
    assigned = task("assigned", call_id="c", robot_id="r", attempt=1, profile_version=4)
    boards = Board(), Board()
    boards[0].apply(request)
    boards[0].apply(assigned)
    boards[1].apply(assigned)
    boards[1].apply(request)
    status = boards[0].tasks["t"]
    assert status.status == boards[1].tasks["t"].status == "assigned"
    assert status.body_sha256 == boards[1].tasks["t"].body_sha256 == "d"
    assert status.settled


def test_pages_go_from_the_newest_to_the_oldest() -> None:
    board = Board()
    for n in range(5):
        board.apply(call("dialing", call_id=f"c{n}"))
    assert [c.call_id for c in board.newest_calls()] == ["c4", "c3", "c2", "c1", "c0"]
    assert [c.call_id for c in board.newest_calls(before="c3")] == ["c2", "c1", "c0"]


def test_the_board_stays_small() -> None:
    board = Board(limit=10)
    for n in range(50):
        board.apply(call("dialing", call_id=f"c{n}"))
    assert list(board.calls) == [f"c{n}" for n in range(40, 50)]


@pytest.mark.parametrize(
    ("answered", "q850", "sip", "disposition"),
    [
        (False, 17, None, "busy"),
        (False, None, 486, "busy"),
        (False, 19, None, "no_answer"),
        (False, None, 480, "no_answer"),
        (False, 21, None, "rejected"),
        (False, 34, None, "failed"),
        (True, 16, None, "abandoned"),
        (True, 41, None, "failed"),
    ],
)
def test_causes(answered: bool, q850: int | None, sip: int | None, disposition: str) -> None:
    assert disposition_of(answered, q850, sip) == disposition


def test_the_digest_is_of_what_is_asked_alone() -> None:
    body = {"customer_id": "k", "phone": "+8613800001234", "campaign_id": "c", "pool": "p",
            "playbook": "b", "skills": {"b": 1, "a": 2}}  # fmt: skip
    other = body | {"skills": {"a": 2, "b": 1}, "wait_ms": 50}
    changed = body | {"priority": "high"}
    digests = [AssignRequest.model_validate(b).sha256() for b in (body, other, changed)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("kind", "try_no", "ok"), [("refused", 1, True), ("refused", None, False), ("ended", 1, False)]
)
def test_a_refusal_names_its_try(kind: str, try_no: int | None, ok: bool) -> None:
    body = {"call_id": "c", "kind": kind, "occurred_at": 1_700_000_000_000, "source": "sim",
            "try_no": try_no}  # fmt: skip
    if ok:
        assert CallStatusRequest.model_validate(body).try_no == try_no
        return
    with pytest.raises(ValidationError, match="names its try"):
        CallStatusRequest.model_validate(body)
