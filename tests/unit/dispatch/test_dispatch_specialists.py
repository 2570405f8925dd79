"""Tags, levels and specialists: who gets which robot, and whose turn it is."""

from typing import Any

import pytest

from schemas import ids
from streams.dispatch.policy import Policy
from streams.dispatch.snapshot import Snapshots
from streams.dispatch.task import rank_of
from tests.unit.dispatch.build import Desk, call, cancel, changed, profile, request, robot, settings

MASTER, FAIR, CLERK = (
    robot("master", skills={"loan": 5}),
    robot("fair", skills={"loan": 2}),
    robot("clerk"),
)
WAIT = 15_000


def _rich(customer: str, **values: Any) -> Any:
    return profile(customer, **{"level": "vip", "tags": ["industry:loan"], **values})


def _assigned(desk: Desk) -> list[tuple[str | None, str | None]]:
    return [(e.task_id, e.robot_id) for e in desk.events("assigned")]


def _busy(desk: Desk, *robots: str) -> None:
    """Gives each of these robots a call, whatever else is free."""
    for name in robots:
        need = {"loan": 5} if name == "master" else {"loan": 2}
        desk.give(request(f"busy-{name}", profile(f"busy-{name}"), skills=need))
    assert {r for _, r in _assigned(desk)} == set(robots)


def _end(desk: Desk, task: str, after_ms: int = 0) -> None:
    desk.wait(after_ms)
    desk.give(call(ids.call_id(task, 1), "ended", disposition="completed"))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"level": "vip", "tags": ["industry:loan"]}, "master"),
        ({"level": "normal", "tags": ["industry:loan", "value:high"]}, "master"),
        ({"level": "normal", "tags": ["industry:loan"]}, "clerk"),
        ({"level": "vip", "tags": []}, "clerk"),
        ({"level": "vip", "tags": ["industry:travel"]}, "clerk"),
    ],
)
def test_high_value_gets_the_best_of_the_industry_and_all_others_waste_least(
    known: dict[str, Any], expected: str
) -> None:
    desk = Desk().open(MASTER, FAIR, CLERK)
    desk.give(request("t1", profile("c1", **known)))
    assert _assigned(desk) == [("t1", expected)]


def test_without_an_industry_the_best_in_what_the_request_asks() -> None:
    desk = Desk().open(MASTER, FAIR, CLERK)
    desk.give(request("t1", profile("c1", level="vip"), skills={"loan": 1}))
    desk.give(request("t2", profile("c2"), skills={"loan": 1}))
    assert _assigned(desk) == [("t1", "master"), ("t2", "fair")]


def test_one_high_level_is_scarcer_than_many_low_ones() -> None:
    generalist = robot("generalist", skills={"loan": 1, "care": 1, "sales": 1, "travel": 1})
    desk = Desk().open(robot("expert", skills={"loan": 3}), generalist)
    desk.give(request("t1"))
    assert _assigned(desk) == [("t1", "generalist")]


def _with_short_calls(*robots: Any) -> Desk:
    """A desk whose calls last some seconds on average, so that robots are free soon."""
    desk = Desk(Policy(specialist_wait_ms=WAIT)).open(robot("warm", skills={"warm": 1}))
    for n in range(120):
        desk.give(request(f"warm-{n}", profile(f"warm-{n}"), skills={"warm": 1}))
        _end(desk, f"warm-{n}", 4_000)
    desk.give(robot("warm", state="removed"))
    for one in robots:
        desk.give(one)
    desk.said.clear()
    return desk


def test_waits_for_the_best_that_is_soon_free_and_has_it_before_all_others() -> None:
    desk = _with_short_calls(MASTER, FAIR)
    _busy(desk, "master")
    (queued, waits) = desk.give(request("rich", _rich("c1"), priority="low"))
    assert (queued.kind, waits.kind, waits.reason) == ("queued", "queued", "specialist")
    assert waits.retry_at == desk.now + WAIT
    _busy_fair = desk.give(request("urgent-1", priority="high", skills={"loan": 1}))
    assert _busy_fair[-1].robot_id == "fair", "what is free serves others meanwhile"
    desk.give(request("urgent-2", priority="high", skills={"loan": 1}))
    _end(desk, "busy-master", 3_000)
    assert _assigned(desk)[-1] == ("rich", "master")


def test_takes_the_next_best_when_the_wait_is_over_also_after_a_restart() -> None:
    desk = _with_short_calls(MASTER, FAIR)
    _busy(desk, "master")
    desk.give(request("rich", _rich("c1")))
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)])).pool
    desk.wait(WAIT - 1)
    assert desk.kinds("rich") == ["queued", "queued"]
    desk.wait(1)
    assert _assigned(desk)[-1] == ("rich", "fair")


def test_waits_only_where_the_best_will_be_free_in_time() -> None:
    desk = _with_short_calls(MASTER, FAIR, robot("fair-2", skills={"loan": 2}))
    _busy(desk, "master")
    for n in range(4):
        desk.give(request(f"rich-{n}", _rich(f"c{n}")))
    waiting = [e.task_id for e in desk.events("queued") if e.reason == "specialist"]
    # One slot that becomes free every four seconds serves three of them within fifteen.
    assert waiting == ["rich-0", "rich-1", "rich-2"]
    assert _assigned(desk)[-1] == ("rich-3", "fair")
    desk.give(cancel("rich-0"))
    desk.give(request("rich-4", _rich("c4")))
    assert desk.events("queued")[-1].reason == "specialist", "a place became free"


def test_does_not_wait_for_a_robot_that_pauses_or_where_the_site_forbids_it() -> None:
    desk = _with_short_calls(robot("master", skills={"loan": 5}, state="paused"), FAIR)
    desk.give(request("t1", _rich("c1")))
    assert _assigned(desk) == [("t1", "fair")]
    desk = _with_short_calls(MASTER, FAIR)
    desk.give(settings(Policy(specialist_wait_ms=0)))
    _busy(desk, "master")
    desk.give(request("t1", _rich("c1")))
    assert _assigned(desk)[-1] == ("t1", "fair")


@pytest.mark.parametrize(
    ("priority", "rise", "rank"),
    [("low", 0, 2), ("low", 0.9, 2), ("low", 1, 1), ("low", 2, 0), ("low", 9, 0),
     ("medium", 0.5, 1), ("medium", 1.2, 0), ("high", -0.5, 1), ("high", -9, 2), ("high", 0, 0)],
)  # fmt: skip
def test_the_score_of_a_priority(priority: Any, rise: float, rank: int) -> None:
    assert rank_of(priority, rise) == rank


def test_tags_raise_and_lower_a_priority_by_the_sites_weights() -> None:
    desk = Desk(Policy(tag_weights={"hot": 1.0, "cold": -1.0})).open()
    desk.give(robot("r1", state="paused"))
    desk.give(request("t1", profile("c1", tags=["hot"]), priority="medium"))
    desk.give(request("t2", profile("c2"), priority="medium", tags=["cold"]))
    assert [desk.pool.tasks[t].rank for t in ("t1", "t2")] == [0, 2]
    desk.give(changed(profile("c1", version=2, tags=["cold"])))
    assert desk.pool.tasks["t1"].rank == 2


def test_weights_are_the_sites() -> None:
    desk = Desk(Policy(weights=(1, 1, 4))).open(robot("r1"))
    desk.give(request("last"))
    for n in range(30):
        for priority in ("high", "medium", "low"):
            desk.give(request(f"{priority}-{n}", priority=priority))
    last, order = "last", []
    for _ in range(24):
        _end(desk, last)
        last = str(desk.events("assigned")[-1].task_id)
        order.append(last.split("-")[0])
    for start in range(0, 24, 6):
        share = order[start : start + 6]
        assert [share.count(p) for p in ("high", "medium", "low")] == [1, 1, 4]
