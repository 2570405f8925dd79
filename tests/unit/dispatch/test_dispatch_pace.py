"""How fast calls begin: of a campaign, of a pool, and when clocks differ."""

from bisect import bisect_left
from math import ceil
from random import Random

import pytest

from streams.dispatch.inputs import TimerFired
from streams.dispatch.pace import Paces
from streams.dispatch.policy import Policy
from streams.dispatch.snapshot import Snapshots
from tests.unit.dispatch.build import T0, Desk, call, campaign, request, robot
from tests.unit.dispatch.test_dispatch_campaigns import _terms


@pytest.mark.parametrize("per_s", [0.3, 1, 1.7, 2, 9.9, 14, 50, 333])
def test_a_pace_is_never_exceeded_and_used_however_late_the_clock_is_looked_at(
    per_s: float,
) -> None:
    chance = Random(f"{per_s}")  # noqa: S311 # not for secrets
    paces, now, begun = Paces(), T0, list[int]()
    for _ in range(400):
        now += chance.randint(1, 200)
        while paces.opens("spring", per_s, now) is None:
            paces.began("spring", per_s, now)
            begun.append(now)
    for seconds in (1, 10):
        for n, at in enumerate(begun):
            within = bisect_left(begun, at + seconds * 1_000) - n
            assert within <= max(1, ceil(per_s * seconds))
    took_s = (now - begun[0]) / 1_000
    assert len(begun) > 0.8 * took_s * (per_s if per_s < 2 else int(per_s))


def test_a_pool_has_a_pace_and_a_limit_of_its_own() -> None:
    desk = Desk(Policy(concurrency=4, calls_per_s=2)).open(robot("r1", slots=9))
    for n in range(6):
        desk.give(request(f"t{n}", campaign_id=("spring", "autumn", None)[n % 3]))
    assert len(desk.events("assigned")) == 2
    desk.wait(999)
    assert len(desk.events("assigned")) == 2
    desk.wait(5_000)
    began = [e.occurred_at - T0 for e in desk.events("assigned")]
    assert began == [0, 0, 1_000, 1_000]
    over = desk.events("assigned")[0].call_id or ""
    desk.give(call(over, "ended", disposition="completed"))
    assert len(desk.events("assigned")) == 5


def test_a_campaign_goes_on_where_the_brokers_clock_is_behind_the_services() -> None:
    behind = 5_000
    desk = Desk()
    desk.pool.campaigns._terms_of = _terms
    desk.open(robot("r1", slots=9))
    desk.give(campaign("spring", "running", {"calls_per_s": 0.5}))
    for n in range(4):
        desk.give(request(f"t{n}"))
    records, began = 0, {}
    for clock in range(desk.now + behind, desk.now + behind + 8_000, 100):
        desk.now = clock - behind  # what the broker stamps
        for timer in desk.pool.take_due(clock):
            records += 1
            fired = TimerFired(timer.event_id, timer.task_id, timer.name, timer.due_ms)
            for event in desk.give(fired):
                began[event.task_id] = desk.now - T0
    assert began == {"t1": 2_000, "t2": 4_000, "t3": 6_000}
    assert records < 30, "a wake that came too early is set for when it is time"


def test_a_pool_from_its_snapshot_keeps_the_pace() -> None:
    paces_of = []
    for restarts in (False, True):
        desk = Desk(Policy(calls_per_s=5)).open(robot("r1", slots=40))
        desk.now += 1_000
        for n in range(20):
            desk.give(request(f"t{n}", campaign_id=None, phone=f"+86138000000{n:02}"))
        desk.wait(700)
        if restarts:
            rows = (saved := Snapshots(desk.pool)).pages()
            desk.pool = Snapshots.load("main", rows | dict([saved.head(9)])).pool
        desk.wait(1_400)
        paces_of.append([e.occurred_at for e in desk.events("assigned")])
    assert paces_of[0] == paces_of[1] and len(paces_of[0]) == 15
