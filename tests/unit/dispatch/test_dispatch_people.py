"""Pacing by people: the cap on dropped calls holds whatever happens, and people are busier."""

import heapq
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import terms_of
from ringlog.law.rules import rule_book
from ringlog.terms import People
from schemas import ids
from streams.dispatch.people import DAY_MS, PeoplePace
from streams.dispatch.pool import Pool
from streams.dispatch.snapshot import Snapshots
from tests.unit.dispatch.build import T0, Desk, call, campaign, request, robot

MINUTE, HOUR = 60_000, 3_600_000
MOST, LEAST = 0.03, 100


def crew(people: int, adaptive: bool = True) -> People:
    return People(people, adaptive, MOST, 30 * DAY_MS, LEAST)


@dataclass
class Hall:
    """A simulated hall: customers who answer or not, robots, and people who talk. `answer` and
    `transfer` are chances, times are seconds. At half time the chances may become others."""

    people: People
    answer: float = 0.35
    transfer: float = 0.3
    talk_s: float = 180
    later: tuple[float, float] | None = None
    hours: int = 6
    pace: PeoplePace = field(default_factory=PeoplePace)
    answered: int = 0
    dropped: int = 0
    busy_ms: int = 0
    worst: float = -1e9

    def run(self, seed: int) -> "Hall":
        chance, order = Random(seed), count()  # noqa: S311 # not for secrets
        now, talking, end = 0, 0, self.hours * HOUR
        heap: list[tuple[int, int, str, int]] = [(0, next(order), "begin", 0)]

        def after(seconds: float, what: str, began: int = 0) -> None:
            heapq.heappush(heap, (now + int(seconds * 1_000) + 1, next(order), what, began))

        while heap and heap[0][0] < end:
            at, _, what, began = heapq.heappop(heap)
            self.busy_ms += min(talking, self.people.count) * (at - now)
            now = at
            answer, transfer = (self.answer, self.transfer)
            if self.later is not None and now > end // 2:
                answer, transfer = self.later
            match what:
                case "no_answer":
                    self.pace.over(self.people, False, None, now)
                case "answer" if chance.random() < transfer:
                    after(chance.gammavariate(4, 10), "transfer", began)
                case "answer":
                    after(chance.gammavariate(2, 20), "hang_up")
                case "hang_up":
                    self.answered += 1
                    self.pace.over(self.people, True, None, now)
                case "transfer":
                    self.dropped += talking >= self.people.count
                    talking += 1
                    self.pace.transferred(self.people, now - began, now)
                    after(chance.expovariate(1 / self.talk_s), "end", now)
                case "end":
                    talking -= 1
                    self.answered += 1
                    self.pace.over(self.people, True, now - began, now)
            self.worst = max(self.worst, self.dropped - MOST * max(self.answered, LEAST))
            while self.pace.may_begin(self.people, now):
                self.pace.began()
                if chance.random() < answer:
                    after(chance.uniform(5, 20), "answer", now)
                else:
                    after(25, "no_answer")
        return self

    @property
    def use(self) -> float:
        return self.busy_ms / (self.people.count * self.hours * HOUR)


@pytest.mark.parametrize(("people", "gain"), [(3, 1.25), (10, 1.7), (40, 1.9)])
def test_people_are_busier_than_with_a_call_for_each_free_one_and_the_cap_holds(
    people: int, gain: float
) -> None:
    ours, plain = Hall(crew(people)).run(1), Hall(crew(people, adaptive=False)).run(1)
    assert plain.dropped == 0
    assert ours.use > gain * plain.use
    assert ours.worst <= 0 < ours.dropped


@pytest.mark.parametrize("later", [(0.9, 0.9), (0.05, 0.9), (0.9, 0.05)])
def test_the_cap_holds_when_the_customers_become_others(later: tuple[float, float]) -> None:
    for seed in range(3):
        assert Hall(crew(8), later=later, talk_s=90).run(seed).worst <= 0


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["begin", "transfer", "end", "hang_up", "no_answer"]), max_size=300),
    st.integers(1, 30),
)
def test_the_cap_holds_in_any_order_of_events(n: int, events: list[str], least: int) -> None:
    people = People(n, True, 0.2, 30 * DAY_MS, least)
    pace, coming, talking, answered, dropped = PeoplePace(), 0, 0, 0, 0
    pace.handed_over, pace.answers = 0.01, 1.0  # what it has learnt leads it astray
    for what in events:
        if what == "begin":
            while coming < 50 and pace.may_begin(people, 0):
                pace.began()
                coming += 1
        elif what in ("hang_up", "no_answer") and coming:
            coming, answered = coming - 1, answered + (what == "hang_up")
            pace.over(people, what == "hang_up", None, 0)
        elif what == "transfer" and coming:
            coming, dropped, talking = coming - 1, dropped + (talking >= n), talking + 1
            pace.transferred(people, 1, 0)
        elif what == "end" and talking:
            talking, answered = talking - 1, answered + 1
            pace.over(people, True, 1, 0)
        pace.handed_over, pace.answers = 0.01, 1.0
        assert (pace.coming, pace.talking) == (coming, talking)
        assert dropped <= 0.2 * max(answered, least)
    assert pace.counted(people, 0) == (answered, dropped)


def test_what_is_older_than_the_span_counts_no_longer() -> None:
    people, pace = crew(1), PeoplePace()
    for day in range(40):
        pace.began()
        pace.over(people, True, None, day * DAY_MS)
    assert pace.counted(people, 39 * DAY_MS) == (31, 0)
    assert len(pace.days) == 31


def settings(**more: Any) -> dict[str, Any]:
    return {"playbook": "promotion", "purpose": "service", "recording_notice": True,
            "caller_ids": ["+861060000001"]} | more  # fmt: skip


def test_adaptive_pacing_without_people_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="adaptive needs `people`"):
        CampaignSettings.model_validate(settings(pacing="adaptive"))
    assert CampaignSettings.model_validate(settings()).people is None


def test_the_cap_is_the_strictest_that_a_rule_has_for_the_purpose() -> None:
    event = campaign(
        "spring", "running", settings(people=4, pacing="adaptive", purpose="marketing")
    )
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.give(event)
    people = desk.pool.terms("spring").people
    assert people == crew(4)
    assert {"us-abandoned", "house-abandoned"} <= {
        rule.id for rule in rule_book().abandoned("marketing")
    }


def _desk(**more: Any) -> Desk:
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=99))
    desk.give(campaign("spring", "running", settings(**more)))
    for n in range(30):
        desk.give(request(f"t{n:02}", phone=f"+86138000000{n:02}"))
    return desk


def _calls(desk: Desk) -> list[str]:
    return [e.call_id or "" for e in desk.events("assigned")]


def test_a_pool_has_a_call_on_its_way_for_each_free_person_also_after_a_restart() -> None:
    desk = _desk(people=2)
    first, second = _calls(desk)
    for kind in ("dialing", "answered", "transferred"):
        desk.give(call(first, kind))
    assert len(_calls(desk)) == 2
    desk.give(call(second, "ended", disposition="completed"))
    assert len(_calls(desk)) == 3
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)]), terms_of).pool
    pace = desk.pool.campaigns.people_of("spring")
    assert (pace.coming, pace.talking) == (1, 1) and pace.counted(crew(2), T0) == (0, 0)
    desk.now += MINUTE
    desk.give(call(first, "ended", disposition="transferred"))
    assert len(_calls(desk)) == 4
    assert (pace.coming, pace.talking) == (2, 0)


def test_what_a_pool_has_learnt_is_in_its_snapshot() -> None:
    desk = _desk(people=1, pacing="adaptive")
    for n in range(20):
        task = f"t{n:02}"
        called = ids.call_id(task, 1)
        desk.now += 10_000
        for kind in ("dialing", "answered"):
            desk.give(call(called, kind))
        if n % 4 == 0:
            desk.give(call(called, "transferred"))
        desk.now += 20_000
        desk.give(call(called, "ended", disposition="machine" if n % 5 == 1 else "completed"))
    pace = desk.pool.campaigns.people_of("spring")
    assert pace.counted(crew(1), desk.now) == (16, 0)
    rows = (saved := Snapshots(desk.pool)).pages()
    loaded = Snapshots.load("main", rows | dict([saved.head(9)]), terms_of)
    assert not loaded.differences(saved)
    assert loaded.pool.campaigns.people_of("spring") == pace
