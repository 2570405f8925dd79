"""Who gets which task, and what `assigned` carries."""

import json
from typing import Any

import pytest

from schemas import ids
from streams.dispatch.policy import Policy
from streams.dispatch.snapshot import Snapshots
from tests.unit.dispatch.build import (
    T0,
    Desk,
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


def _assigned(events: list[Any]) -> list[tuple[str, str]]:
    return [(e.task_id, e.robot_id) for e in events if e.kind == "assigned"]


def test_assigned_carries_all_that_the_edge_needs() -> None:
    desk = Desk().open(robot("r1", asr_profile="bank", playbooks=["promotion"]))
    known = profile("c1", version=7, level="normal")
    queued, assigned = desk.give(
        request("t1", known, phone="+8613812345678", playbook="promotion", tenant_id="acme")
    )
    assert (queued.kind, assigned.kind) == ("queued", "assigned")
    assert assigned.call_id == ids.call_id("t1", 1)
    assert (assigned.edge_id, assigned.robot_id) == ("edge-1", "r1")
    assert (assigned.phone, assigned.playbook) == ("+8613812345678", "promotion")
    assert (assigned.asr_profile, assigned.profile_version, assigned.attempt) == ("bank", 7, 1)
    assert (assigned.pool, assigned.campaign_id, assigned.customer_id) == ("main", "spring", "c1")
    assert assigned.tenant_id == "acme"
    assert assigned.permit_expires_at == T0 + Policy().permit_ms
    assert json.loads(assigned.profile)["version"] == 7
    assert assigned.causation_id == queued.event_id
    assert assigned.event_id == ids.event_id(queued.event_id, "assigned")


def test_waits_for_an_edge_and_a_worker_of_every_partition() -> None:
    desk = Desk()
    desk.give(robot("r1"))
    assert [e.kind for e in desk.give(request("t1"))] == ["queued"]
    assert desk.give(edge()) == []
    assert desk.give(worker("robots/0", partitions=(0, 1, 2, 3))) == []
    assert _assigned(desk.give(worker("robots/1", partitions=(4, 5, 6, 7)))) == [("t1", "r1")]


def test_a_dead_edge_gets_no_task_and_load_is_spread() -> None:
    desk = Desk().open(robot("r1", slots=9))
    desk.give(edge("edge-2"))
    edges = [desk.give(request(f"t{n}"))[-1].edge_id for n in range(4)]
    assert edges == ["edge-1", "edge-2", "edge-1", "edge-2"]
    desk.give(edge("edge-1", up=False))
    assert desk.give(request("t9"))[-1].edge_id == "edge-2"
    desk.give(edge("edge-2", up=False))
    assert [e.kind for e in desk.give(request("t10"))] == ["queued"]


def test_a_call_that_has_moved_is_its_heirs_load() -> None:
    desk = Desk().open(robot("r1", slots=9))
    first = desk.give(request("t1"))[-1]
    assert first.edge_id == "edge-1"
    desk.give(call(first.call_id, "answered"))
    desk.give(edge("edge-1", up=False))
    desk.give(edge("edge-2", capacity=1))
    desk.give(call(first.call_id, "moved", edge_id="edge-2", move_no=1))
    assert desk.give(request("t2"))[-1].kind == "queued", "edge-2 is full"
    done = desk.give(call(first.call_id, "ended", disposition="completed"))
    assert [(e.edge_id, e.task_id) for e in done if e.kind == "assigned"] == [("edge-2", "t2")]


def test_an_edge_gets_no_more_calls_than_it_takes_and_shares_are_even() -> None:
    desk = Desk().open(robot("r1", slots=99))
    desk.give(edge("edge-1", capacity=1))
    desk.give(edge("edge-2", capacity=3))
    edges = [desk.give(request(f"t{n}"))[-1] for n in range(6)]
    assert [e.edge_id for e in edges[:4]] == ["edge-1", "edge-2", "edge-2", "edge-2"]
    assert [e.kind for e in edges[4:]] == ["queued", "queued"]
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)])).pool
    done = desk.give(call(edges[0].call_id, "ended", disposition="completed"))
    assert [(e.edge_id, e.task_id) for e in done if e.kind == "assigned"] == [("edge-1", "t4")]
    grown = desk.give(edge("edge-2", capacity=4))
    assert [(e.edge_id, e.task_id) for e in grown] == [("edge-2", "t5")]


def test_an_old_sign_of_life_does_not_revive() -> None:
    desk = Desk().open(robot("r1"))
    late = edge()
    desk.give(edge(up=False))
    desk.give(late)
    assert [e.kind for e in desk.give(request("t1"))] == ["queued"]


@pytest.mark.parametrize(
    ("skills", "expected"),
    [({"sales": 2}, "exact"), ({"sales": 3}, "better"), ({"sales": 5}, "master"), ({}, "lower")],
)
def test_least_over_qualified_robot_first(skills: dict[str, int], expected: str) -> None:
    desk = Desk().open(
        robot("master", skills={"sales": 5}),
        robot("better", skills={"sales": 3}),
        robot("exact", skills={"sales": 2}),
        robot("lower", skills={"sales": 1}),
    )
    assert _assigned(desk.give(request("t1", skills=skills))) == [("t1", expected)]


def test_a_busy_robot_is_passed_over_for_a_higher_one_then_the_task_waits() -> None:
    desk = Desk().open(robot("high", skills={"care": 4}), robot("low", skills={"care": 2}))
    got = [_assigned(desk.give(request(f"t{n}", skills={"care": 2}))) for n in range(3)]
    assert got == [[("t0", "low")], [("t1", "high")], []]
    done = desk.give(call(ids.call_id("t1", 1), "ended", disposition="completed"))
    assert _assigned(done) == [("t2", "high")]


def test_least_recently_used_on_a_tie_then_by_id() -> None:
    desk = Desk().open(*(robot(r) for r in ("b", "a", "c")))
    first = [_assigned(desk.give(request(f"t{n}")))[0] for n in range(3)]
    assert [r for _, r in first] == ["a", "b", "c"]
    for task, _ in reversed(first):
        desk.give(call(ids.call_id(task, 1), "ended", disposition="completed"))
    again = [_assigned(desk.give(request(f"u{n}")))[0][1] for n in range(3)]
    assert again == ["a", "b", "c"]


def test_priorities_share_three_two_one_and_the_low_is_not_starved() -> None:
    desk = Desk().open(robot("r1"))
    last = "first"
    desk.give(request("first"))
    for n in range(60):
        for priority in ("high", "medium", "low"):
            desk.give(request(f"{priority}-{n}", priority=priority))
    order = []
    for _ in range(60):
        (task, _robot), = _assigned(
            desk.give(call(ids.call_id(last, 1), "ended", disposition="completed"))
        )  # fmt: skip
        order.append(task.split("-")[0])
        last = task
    for start in range(0, 60, 6):
        share = order[start : start + 6]
        assert [share.count(p) for p in ("high", "medium", "low")] == [3, 2, 1]


def test_within_a_priority_the_order_of_arrival_counts_across_requirements() -> None:
    desk = Desk().open(robot("r1", skills={"a": 1, "b": 1}))
    desk.give(request("first"))
    for task, skill in (("t1", "a"), ("t2", "b"), ("t3", "a")):
        desk.give(request(task, skills={skill: 1}))
    got, last = [], "first"
    for _ in range(3):
        out = desk.give(call(ids.call_id(last, 1), "ended", disposition="completed"))
        last = _assigned(out)[0][0]
        got.append(last)
    assert got == ["t1", "t2", "t3"]


@pytest.mark.parametrize(
    "better", [{"purchase_intent": 0.9}, {"level": "member"}, {"level": "vip"}]
)
def test_purchase_intention_and_level_raise_the_priority(better: dict[str, Any]) -> None:
    desk = Desk().open(robot("r1"))
    desk.give(request("busy"))
    desk.give(request("plain", priority="medium"))
    desk.give(request("good", profile("g", **better), priority="medium"))
    out = desk.give(call(ids.call_id("busy", 1), "ended", disposition="completed"))
    assert _assigned(out) == [("good", "r1")]


def test_a_newer_profile_reaches_a_task_that_waits() -> None:
    desk = Desk().open(robot("r1"))
    desk.give(request("busy"))
    desk.give(request("plain", priority="medium"))
    known = profile("c1", version=1)
    desk.give(request("good", known, priority="medium"))
    desk.give(changed(known.model_copy(update={"version": 2, "purchase_intent": 0.9})))
    desk.give(changed(known))  # an older one that comes late changes nothing
    out = desk.give(call(ids.call_id("busy", 1), "ended", disposition="completed"))
    assert [(e.task_id, e.profile_version) for e in out if e.kind == "assigned"] == [("good", 2)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"skills": {"loan": 1}}, "no robot has skill loan at level 1 or more"),
        ({"skills": {"sales": 4}}, "no robot has skill sales at level 4 or more"),
        ({"playbook": "survey"}, "no robot has playbook survey"),
        (
            {"skills": {"sales": 3}, "playbook": "care"},
            "no robot has all the skills and the playbook together",
        ),
        ({"phone": None}, "no phone number"),
    ],
)
def test_what_nobody_can_serve_is_refused_at_once(values: dict[str, Any], reason: str) -> None:
    desk = Desk().open(robot("r1", skills={"sales": 3}), robot("r2", skills={}, playbooks=["care"]))
    (refused,) = desk.give(request("t1", **values))
    assert (refused.kind, refused.reason) == ("refused", reason)
    assert desk.pool.tasks == {}


def test_unknown_pool_is_refused() -> None:
    (refused,) = Desk().give(request("t1"))
    assert (refused.kind, refused.reason) == ("refused", "unknown pool: it has no robot")


def test_a_full_queue_refuses() -> None:
    desk = Desk(Policy(queue_limit=2)).open(robot("r1"))
    assert [desk.give(request(f"t{n}"))[0].kind for n in range(3)] == [
        "queued", "queued", "refused",
    ]  # fmt: skip


def test_opted_out_is_refused_by_profile_and_by_number() -> None:
    desk = Desk().open(robot("r1"))
    assert desk.give(request("t1", profile("c1", opted_out=True)))[0].reason == "opted_out"
    desk.give(opted_out("hash-c2"))
    assert desk.give(request("t2", profile("c2")))[0].reason == "opted_out"
    desk.give(opted_out("hash-c2", allowed=True))
    assert desk.give(request("t3", profile("c2")))[0].kind == "queued"


def test_an_optout_of_one_campaign_or_tenant_bars_no_other() -> None:
    desk = Desk().open(robot("r1", state="paused"))
    for n, campaign in enumerate(("spring", "autumn")):
        desk.give(request(f"t{n}", profile("c1"), campaign_id=campaign))
    desk.give(request("t2", profile("c1"), campaign_id="winter", tenant_id="acme"))
    desk.give(opted_out("hash-c1", scope="campaign", campaign_id="spring"))
    assert [desk.kinds(f"t{n}")[-1] for n in range(3)] == ["refused", "queued", "queued"]
    desk.give(opted_out("hash-c1", scope="tenant", tenant_id="acme"))
    assert [desk.kinds(f"t{n}")[-1] for n in range(3)] == ["refused", "queued", "refused"]
    again = request("t3", profile("c1"), campaign_id="spring")
    assert desk.give(again)[0].reason == "opted_out"
    desk.give(opted_out("hash-c1", True, scope="campaign", campaign_id="spring"))
    assert desk.give(request("t4", profile("c1"), campaign_id="spring"))[0].kind == "queued"


def test_an_operators_undo_by_number_counts_more_than_the_profile_does() -> None:
    desk = Desk().open(robot("r1"))
    said = profile("c1", opted_out=True, opted_out_in=["global"])
    desk.give(opted_out("hash-c1"))
    assert desk.give(request("t1", said))[0].reason == "opted_out"
    desk.give(opted_out("hash-c1", allowed=True))
    assert desk.give(request("t2", said))[0].kind == "queued"
    # The customer's other numbers stay protected.
    other = profile("c1", opted_out=True, phone_hash="hash-other")
    assert desk.give(request("t3", other))[0].reason == "opted_out"


def test_review_11_a_refused_request_stays_refused() -> None:
    desk = Desk().open()
    asked = request("t1")
    assert desk.give(asked)[0].kind == "refused"
    desk.give(robot("r1"))
    assert desk.give(asked) == []
    assert desk.give(request("t1")) == []
    assert desk.kinds("t1") == ["refused"]


def test_review_16_a_number_is_on_one_call_at_a_time_in_a_pool() -> None:
    desk = Desk().open(robot("r1"), robot("r2"))
    desk.give(request("t1", profile("c1")))
    desk.give(request("t2", profile("c1")))
    desk.give(request("t3", profile("c2")))
    assert [e.task_id for e in desk.events("assigned")] == ["t1", "t3"]
    desk.give(robot("r3"))
    assert desk.kinds("t2") == ["queued"], "it waits and is not refused"
    desk.give(call(ids.call_id("t1", 1), "ended", disposition="completed"))
    assert desk.kinds("t2") == ["queued", "assigned"]


def test_a_task_that_waits_for_its_number_can_be_cancelled_and_survives_a_restart() -> None:
    desk = Desk().open(robot("r1"), robot("r2"))
    for n in range(4):
        desk.give(request(f"t{n}", profile("c1")))
    desk.give(cancel("t1"))
    assert desk.kinds("t1") == ["queued", "cancelled"]
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)])).pool
    desk.give(call(ids.call_id("t0", 1), "ended", disposition="completed"))
    desk.give(call(ids.call_id("t2", 1), "ended", disposition="completed"))
    assert [e.task_id for e in desk.events("assigned")] == ["t0", "t2", "t3"]


def test_a_paused_robot_gets_nothing_until_it_is_active_again() -> None:
    desk = Desk().open(robot("r1", state="paused"))
    assert [e.kind for e in desk.give(request("t1"))] == ["queued"]
    assert _assigned(desk.give(robot("r1"))) == [("t1", "r1")]


def test_a_removed_robot_no_longer_counts_for_requests() -> None:
    desk = Desk().open(robot("r1"))
    desk.give(robot("r1", state="removed"))
    assert desk.give(request("t1"))[0].reason == "unknown pool: it has no robot"


def test_a_robot_that_learns_a_skill_serves_what_waits_for_it() -> None:
    desk = Desk().open(robot("teacher", skills={"care": 1}, state="paused"), robot("r1"))
    assert [e.kind for e in desk.give(request("t1", skills={"care": 1}))] == ["queued"]
    assert _assigned(desk.give(robot("r1", skills={"care": 2}))) == [("t1", "r1")]
