"""A task's life after it was assigned: dialling, ends, retries, times that come."""

from typing import Any

import pytest

from ingest.heartbeats import ALIVE_S
from schemas import ids
from streams.dispatch.decided import Decided
from streams.dispatch.inputs import Input, TimerFired
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool
from streams.dispatch.snapshot import Snapshots
from tests.unit.dispatch.build import (
    T0,
    Desk,
    alive,
    call,
    cancel,
    changed,
    edge,
    opted_out,
    profile,
    request,
    robot,
    worker,
)

FIRST = ids.call_id("t1", 1)
SECOND = ids.call_id("t1", 2)


@pytest.fixture
def desk() -> Desk:
    desk = Desk().open(robot("r1"))
    desk.give(request("t1", profile("c1")))
    return desk


def _kinds(events: list[Any]) -> list[tuple[str, str | None]]:
    return [(e.kind, getattr(e, "reason", None)) for e in events]


@pytest.mark.parametrize(
    ("ended", "kind", "reason"),
    [
        ({"disposition": "completed"}, "completed", "completed"),
        ({"disposition": "interested"}, "completed", "interested"),
        ({"disposition": "transferred"}, "completed", "transferred"),
        ({"disposition": "opted_out"}, "completed", "opted_out"),
        ({"disposition": "failed"}, "failed", "failed"),
        ({"disposition": "abandoned"}, "failed", "abandoned"),
        ({"cause_q850": 16}, "failed", "abandoned"),
        ({"cause_q850": 38}, "failed", "failed"),
        ({}, "failed", "abandoned"),
        ({"disposition": "rejected"}, "failed", "abandoned"),  # nobody refuses what was answered
    ],
)
def test_the_first_end_decides(desk: Desk, ended: dict[str, Any], kind: str, reason: str) -> None:
    desk.give(call(FIRST, "dialing"))
    desk.give(call(FIRST, "answered"))
    assert _kinds(desk.give(call(FIRST, "ended", **ended))) == [(kind, reason)]
    assert desk.give(call(FIRST, "ended", disposition="busy")) == []
    assert desk.kinds("t1") == ["queued", "assigned", "dialing", kind]


@pytest.mark.parametrize("taken", ["answered", "bridged"])
def test_r2_a_call_that_somebody_took_is_not_made_again(desk: Desk, taken: str) -> None:
    desk.give(call(FIRST, "dialing"))
    desk.give(call(FIRST, taken))
    ended = call(FIRST, "ended", disposition="no_answer", cause_q850=16)
    assert _kinds(desk.give(ended)) == [("failed", "abandoned")]


def test_r2b_an_answer_behind_the_end_takes_the_retry_back(desk: Desk) -> None:
    desk.give(call(FIRST, "dialing"))
    ended = call(FIRST, "ended", disposition="no_answer", cause_q850=16)
    assert _kinds(desk.give(ended)) == [("retry_scheduled", "no_answer")]
    late = call(FIRST, "answered", task_id="t1")
    assert _kinds(desk.give(late)) == [("failed", "abandoned")]
    assert desk.give(call(FIRST, "bridged", task_id="t1")) == [], "a task ends once"


def test_r2b_an_answer_of_an_earlier_attempt_changes_nothing(desk: Desk) -> None:
    for attempt in (FIRST, SECOND):
        desk.give(call(attempt, "dialing"))
        desk.give(call(attempt, "ended", disposition="no_answer"))
        desk.wait(Policy().retry_ms)
    assert desk.give(call(FIRST, "answered", task_id="t1")) == []


def test_a_repeated_request_of_a_task_that_is_over_is_not_begun_again(desk: Desk) -> None:
    desk.give(call(FIRST, "ended", disposition="completed"))
    assert desk.give(request("t1", profile("c1"))) == []


@pytest.mark.parametrize(
    "ended",
    [{"disposition": "no_answer"}, {"disposition": "busy"}, {"cause_q850": 17}, {"cause_q850": 19},
     {"cause_sip": 486}, {"cause_q850": 16}],
)  # fmt: skip
def test_no_answer_and_busy_are_tried_again_as_another_call(
    desk: Desk, ended: dict[str, Any]
) -> None:
    desk.give(call(FIRST, "dialing"))
    (retry,) = desk.give(call(FIRST, "ended", **ended))
    assert (retry.kind, retry.attempt) == ("retry_scheduled", 2)
    assert retry.retry_at == desk.now + Policy().retry_ms
    assert desk.wait(Policy().retry_ms - 1) == []
    queued, assigned = desk.wait(1)
    assert (queued.kind, queued.reason) == ("queued", "retry")
    assert (assigned.kind, assigned.call_id, assigned.attempt) == ("assigned", SECOND, 2)


def test_dials_are_limited() -> None:
    desk = Desk(Policy(max_dials=2, retry_ms=1000)).open(robot("r1"))
    desk.give(request("t1"))
    desk.give(call(FIRST, "ended", disposition="busy"))
    desk.wait(1000)
    assert _kinds(desk.give(call(SECOND, "ended", disposition="busy"))) == [("failed", "busy")]


def test_an_edge_that_refuses_to_dial_an_opted_out_number(desk: Desk) -> None:
    out = desk.give(call(FIRST, "ended", disposition="opted_out"))
    assert _kinds(out) == [("failed", "opted_out")]


def test_a_permit_that_nobody_used_becomes_another_call(desk: Desk) -> None:
    out = desk.wait(Policy().permit_ms + Policy().permit_grace_ms)
    assert _kinds(out) == [("queued", "permit_expired"), ("assigned", None)]
    assert out[1].call_id == SECOND
    assert desk.give(call(FIRST, "dialing")) == []  # that call is nobody's any more


def test_permits_are_limited() -> None:
    desk = Desk(Policy(max_attempts=2)).open(robot("r1"))
    desk.give(request("t1"))
    out = desk.wait(10 * Policy().permit_ms)
    assert _kinds(out)[-1] == ("failed", "no edge dialled")


def test_a_call_without_sign_of_life_is_ended_and_its_slot_is_free(desk: Desk) -> None:
    desk.give(request("t2"))
    desk.give(call(FIRST, "dialing"))
    ended, assigned = desk.wait(Policy().lease_ms)
    assert (ended.kind, ended.call_id, ended.disposition) == ("ended", FIRST, "failed")
    assert ended.event_id == ids.call_once_id(FIRST, "ended")
    assert (assigned.kind, assigned.task_id) == ("assigned", "t2")
    # The outcome follows from whichever `ended` is first in the log.
    assert _kinds(desk.give(call(FIRST, "ended", disposition="completed"))) == [
        ("completed", "completed")
    ]


def test_what_a_dead_edge_held_is_free_within_seconds_and_a_lost_beat_costs_nothing() -> None:
    """Robots, people and pool count alike: each of its calls, dialled or not."""
    assert 3 * ALIVE_S * 1_000 < Policy().lease_ms <= 20_000
    assert Policy().permit_ms + Policy().permit_grace_ms <= 20_000
    desk = Desk(Policy(concurrency=2, max_attempts=1)).open(robot("r1", slots=2))
    for n in range(1, 5):
        desk.give(request(f"t{n}", phone=f"+861380000000{n}"))
    desk.give(call(FIRST, "dialing"))  # of t1; t2 has a permit that nobody has used
    assert len(desk.events("assigned")) == 2
    desk.give(edge("edge-2"))
    desk.give(edge("edge-1", up=False))
    desk.wait(20_000)
    assert [e.edge_id for e in desk.events("assigned")[2:]] == ["edge-2", "edge-2"]
    assert desk.pool.campaigns.calls == 2 and desk.pool.campaigns.people_of("spring").coming == 2


def test_a_robot_without_a_worker_begins_no_call_and_its_calls_hold_their_slots_while_they_last(
    desk: Desk,
) -> None:
    desk.give(call(FIRST, "dialing"))
    desk.give(request("t2"))
    desk.give(worker(up=False))
    for _ in range(20):  # another worker has them by now, or will
        desk.wait(2_000)
        assert desk.give(alive(FIRST)) == []
    desk.give(call(FIRST, "ended", disposition="completed"))
    assert len(desk.events("assigned")) == 1
    assert [e.task_id for e in desk.give(worker("robots/1"))] == ["t2"]


def test_calls_alive_and_call_records_renew_the_lease(desk: Desk) -> None:
    desk.give(call(FIRST, "dialing"))
    lease = Policy().lease_ms
    for kind in ("alive", "answered", "alive", "bridged"):
        assert desk.wait(lease - 1000) == []
        desk.give(alive(FIRST, "foreign") if kind == "alive" else call(FIRST, kind))
    assert [e.kind for e in desk.wait(lease)] == ["ended"]


def test_not_before_and_deadline() -> None:
    desk = Desk().open(robot("r1"))
    (queued,) = desk.give(request("t1", not_before=desk.now + 5_000, deadline=desk.now + 60_000))
    assert (queued.kind, queued.retry_at) == ("queued", desk.now + 5_000)
    assert [e.kind for e in desk.wait(5_000)] == ["queued", "assigned"]
    desk.give(request("t2", deadline=desk.now + 1_000))
    assert _kinds(desk.wait(1_000)) == [("expired", "deadline")]
    assert _kinds(desk.give(request("t3", deadline=desk.now))) == [("expired", "deadline")]
    # No retry after the deadline.
    out = desk.give(call(FIRST, "ended", disposition="busy"))
    assert _kinds(out) == [("failed", "busy")]


def test_cancel_in_the_queue_and_while_an_edge_may_dial() -> None:
    desk = Desk().open(robot("r1"))
    desk.give(request("t1"))
    desk.give(request("t2"))
    assert _kinds(desk.give(cancel("t2"))) == [("cancelled", "cancelled")]
    assert [e.kind for e in desk.give(cancel("t1"))] == ["withdrawn"]
    assert desk.give(cancel("unknown")) == []
    desk.give(request("t3"))
    assert _kinds(desk.give(cancel("t3", "campaign_stopped"))) == [
        ("cancelled", "campaign_stopped")
    ]
    out = desk.wait(Policy().permit_ms + Policy().permit_grace_ms)
    assert _kinds(out) == [("cancelled", "cancelled")]


@pytest.mark.parametrize("answered", [False, True])
def test_cancelling_a_running_call_ends_it_and_the_task_once(desk: Desk, answered: bool) -> None:
    desk.give(call(FIRST, "dialing"))
    if answered:
        desk.give(call(FIRST, "answered"))
    (withdrawn,) = desk.give(cancel("t1"))
    assert (withdrawn.kind, withdrawn.call_id) == ("withdrawn", FIRST)
    assert (withdrawn.edge_id, withdrawn.task_id) == ("edge-1", "t1")
    assert desk.give(cancel("t1")) == [], "once"
    out = desk.give(call(FIRST, "ended", disposition="cancelled"))
    assert _kinds(out) == [("cancelled", "cancelled")]
    assert desk.give(call(FIRST, "ended", disposition="cancelled")) == []


def test_a_cancelled_call_is_not_tried_again(desk: Desk) -> None:
    desk.give(call(FIRST, "dialing"))
    desk.give(cancel("t1"))
    out = desk.give(call(FIRST, "ended", disposition="no_answer"))
    assert _kinds(out) == [("cancelled", "cancelled")]


def test_opt_out_of_waiting_tasks() -> None:
    desk = Desk(Policy(retry_ms=1000)).open(robot("r1"))
    desk.give(request("t1", profile("c1")))
    desk.give(request("t2", profile("c1")))
    desk.give(call(FIRST, "ended", disposition="busy"))  # t1 waits for its retry, t2 is on
    desk.give(request("t3", profile("c1")))
    out = desk.give(opted_out("hash-c1"))
    assert sorted((e.task_id, e.kind, e.reason) for e in out) == [
        ("t1", "failed", "opted_out"), ("t3", "refused", "opted_out"),
    ]  # fmt: skip
    second = ids.call_id("t2", 1)
    assert _kinds(desk.give(call(second, "ended", disposition="busy"))) == [("failed", "opted_out")]


@pytest.mark.parametrize("ended", [True, False])
def test_what_a_customer_becomes_during_a_call_counts_for_the_next_attempt(ended: bool) -> None:
    desk = Desk(Policy(permit_ms=500, permit_grace_ms=500)).open(robot("r1"))
    desk.give(request("t1", profile("c1")))
    desk.give(changed(profile("c1", version=2, level="vip")))
    desk.give(changed(profile("c1", version=3, level="gold")))
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)])).pool
    if ended:
        desk.give(call(ids.call_id("t1", 1), "ended", disposition="busy"))
        desk.wait(desk.pool.policy.retry_ms)
    else:
        desk.wait(1_000)
    first, second = desk.events("assigned")
    assert (first.profile_version, second.profile_version) == (1, 3)
    assert '"level":"gold"' in (second.profile or "")


def test_who_opts_out_of_every_number_during_a_call_is_not_tried_again(desk: Desk) -> None:
    desk.give(changed(profile("c1", version=2, opted_out=True)))
    desk.give(call(ids.call_id("t1", 1), "ended", disposition="busy"))
    assert desk.events()[-1].kind == "failed"
    assert desk.events()[-1].reason == "opted_out"


def _rebuilt(records: list[tuple[Input, int]]) -> tuple[Pool, Pool]:
    """A pool as it was live, and as a rebuild folds it."""
    desk, decided = Desk(), Decided()
    for record, at in records:
        desk.said += desk.pool.step(record, at)
    for event in desk.events():
        decided.add(event)
    anew = Pool("main", None, decided)
    for record, at in records:
        anew.step(record, at)
    anew.assignment.catch_up()
    assert Snapshots(desk.pool).differences(Snapshots(anew)) == []
    return desk.pool, anew


def test_a_rebuild_begins_no_request_again_whose_copy_came_twice() -> None:
    first, ended = request("t1"), call(FIRST, "ended", disposition="failed")
    records: list[Input] = [worker(), edge(), robot("r1"), first, ended, first]
    _, anew = _rebuilt([(record, T0 + n) for n, record in enumerate(records)])
    assert anew.tasks == {}


def test_a_rebuild_follows_no_timer_again_that_was_fired_twice() -> None:
    """As a dispatch does that was killed behind the first."""
    desk = Desk()
    begin: list[Input] = [worker(), edge(), robot("r1"), request("t1"),
                          call(FIRST, "ended", disposition="busy")]  # fmt: skip
    for record in begin:
        desk.give(record)
    [due] = desk.pool.take_due(T0 + desk.policy.retry_ms)
    fired = TimerFired(due.event_id, due.task_id, due.name, due.due_ms)
    again: list[Input] = [fired, call(SECOND, "dialing"), fired]
    late = [(record, due.due_ms + n) for n, record in enumerate(again)]
    _, anew = _rebuilt([(record, T0) for record in begin] + late)
    assert anew.tasks["t1"].call_id == SECOND


def test_a_call_without_its_prompts_is_tried_again_later_but_not_for_ever() -> None:
    desk = Desk(Policy(max_dials=1, max_attempts=2, retry_ms=600_000)).open(robot("r1"))
    desk.give(request("t1", profile("c1")))
    desk.give(call(ids.call_id("t1", 1), "ended", disposition="prompt_missing"))
    assert desk.wait(599_999) == []
    assert [e.kind for e in desk.wait(1)] == ["queued", "assigned"]
    over = desk.give(call(ids.call_id("t1", 2), "ended", disposition="prompt_missing"))
    assert _kinds(over) == [("failed", "prompt_missing")]


def test_a_number_on_another_call_is_tried_again_soon_and_counts_as_no_attempt() -> None:
    policy = Policy(max_dials=1, max_attempts=2, line_retry_ms=15_000)
    desk = Desk(policy).open(robot("r1"))
    desk.give(request("t1", profile("c1")))
    for n in range(1, 6):
        desk.give(
            call(
                ids.call_id("t1", n),
                "ended",
                disposition=("number_in_call", "edge_stopping")[n % 2],
            )
        )
        assert desk.wait(14_999) == []
        assert [e.kind for e in desk.wait(1)] == ["queued", "assigned"]
    last = ids.call_id("t1", 6)
    assert _kinds(desk.give(call(last, "ended", disposition="busy"))) == [("failed", "busy")]
