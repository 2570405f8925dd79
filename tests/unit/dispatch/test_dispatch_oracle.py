"""A pool against oracles that know nothing of it: the law, a campaign's limits, and whose turn it
is, whatever the order of events."""

from collections import Counter, defaultdict
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import terms_of
from ringlog.dispositions import NOT_DIALLED
from schemas.events import TaskEvent
from schemas.ids import call_id as id_of_call
from streams.dispatch.inputs import Input, TimerFired
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool
from tests.unit.dispatch.build import (
    T0,
    Desk,
    call,
    campaign,
    cancel,
    changed,
    edge,
    profile,
    request,
    robot,
    worker,
)
from verify.checks.law import breach

HOUR = 3_600_000
PHONES = ("+8613800138000", "+8613900139000", "+12125550143", "+4915112345678", "+33612345678")
SETTINGS = {
    "playbook": "promotion", "recording_notice": True, "caller_ids": ["+864000000000"],
    "consent": "written",
}  # fmt: skip


class World:
    """Random events, and a second book of what campaigns, customers and calls are like."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now = T0
        self.pool = Pool("main", terms_of=terms_of)
        self.campaigns: dict[str, tuple[str, CampaignSettings]] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self.dials: dict[str, list[int]] = defaultdict(list)
        self.permits: dict[str, TaskEvent] = {}
        self.dialled: dict[str, int] = {}
        self.slots: dict[str, set[str]] = defaultdict(set)
        self.paced: dict[str, list[int]] = defaultdict(list)
        self.tasks = self.checked = self.versions = 0
        staff: list[Input] = [worker(), edge(), *(robot(f"r{n}", slots=3) for n in range(3))]
        for record in staff:
            self.give(record)

    def give(self, record: Input) -> None:
        for _, event in self.pool.step(record, self.now):
            if event.kind == "assigned":
                assert isinstance(event, TaskEvent)
                self.check(event)
            elif event.kind not in ("dialing", "withdrawn"):
                self.slots[event.campaign_id or ""].discard(event.task_id or "")

    def check(self, permit: TaskEvent) -> None:
        """May this call be placed, now and as long as the permit holds?"""
        name, phone, call_id = permit.campaign_id or "", permit.phone or "", permit.call_id or ""
        state, of = self.campaigns[name]
        assert state == "running"
        self.slots[name].add(permit.task_id or "")
        assert of.concurrency is None or len(self.slots[name]) <= of.concurrency
        if of.calls_per_s is not None:
            recent = [at for at in self.paced[name] if at > self.now - 10_000]
            assert len(recent) <= of.calls_per_s * 10.25
        self.paced[name].append(self.now)
        attributes = self.attributes[permit.customer_id or ""]
        for at in (self.now, permit.permit_expires_at or 0):
            broken = breach(phone, at, of, attributes, tuple(self.dials[phone]))
            assert broken is None, broken
        self.permits[call_id] = permit
        self.checked += 1

    def known(self, n: int) -> Any:
        """A customer as they are by now."""
        rng, given = self.rng, dict[str, str]()
        if rng.random() < 0.3:
            given["zone"] = rng.choice(("America/New_York", "Asia/Shanghai", "Europe/Berlin"))
        if rng.random() < 0.1:
            given["consent"] = rng.choice(("none", "express"))
        if rng.random() < 0.1:
            given["refused_at"] = str(self.now - rng.randrange(400 * 24) * HOUR)
        customer = f"c{n}"
        self.attributes[customer] = given
        self.versions += 1
        return profile(customer, phone_hash=PHONES[n], attributes=given, version=self.versions)

    def act(self) -> None:
        rng = self.rng
        match rng.choices(range(7), (8, 3, 8, 8, 1, 1, 5))[0]:
            case 0 if self.campaigns:
                n = rng.randrange(len(PHONES))
                self.tasks += 1
                known = self.known(n)
                # Profile and request come in one order, as routers write them.
                self.give(changed(known))
                self.give(
                    request(
                        f"t{self.tasks}", known, phone=PHONES[n],
                        campaign_id=rng.choice(sorted(self.campaigns)),
                    )
                )  # fmt: skip
            case 1:
                self.version(rng.choice(("spring", "autumn")))
            case 2 if new := [c for c in self.permits if c not in self.dialled]:
                self.dial(rng.choice(new))
            case 3 if self.dialled:
                self.end(rng.choice(sorted(self.dialled)))
            case 4:
                self.give(cancel(f"t{rng.randint(0, self.tasks)}"))
            case 5:
                self.give(edge(up=rng.random() < 0.8))
            case _:
                self.wait(rng.choice((100, 1_000, 20_000, 600_000, HOUR, 7 * HOUR)))

    def version(self, name: str) -> None:
        rng = self.rng
        of = SETTINGS | {
            "purpose": rng.choice(("marketing", "collection", "service")),
            "windows": rng.choice(({}, {"any": ["09:00-12:00", "13:00-18:30"]})),
            "caps": rng.choice(({}, {"number_day": 1}, {"number_week": 2})),
            "concurrency": rng.choice((None, 1, 2)),
            "calls_per_s": rng.choice((None, None, 0.5, 3.0)),
            "retries": {"busy": ["5m", "1h"], "no_answer": ["1m"]},
        }
        state = rng.choice(("running", "running", "running", "paused", "ended"))
        self.campaigns[name] = state, CampaignSettings.model_validate(of)
        self.give(campaign(name, state, of))

    def dial(self, call_id: str) -> None:
        permit = self.permits[call_id]
        if self.now > (permit.permit_expires_at or 0):
            return
        self.dialled[call_id] = self.now
        self.give(call(call_id, "dialing", occurred_at=self.now))

    def end(self, call_id: str) -> None:
        how = self.rng.choice(("completed", "busy", "no_answer", "failed", "number_in_call"))
        at, permit = self.dialled.pop(call_id), self.permits.pop(call_id)
        if how not in NOT_DIALLED and self.pool.book.of_call(call_id) is not None:
            self.dials[permit.phone or ""].append(at)
        self.give(call(call_id, "ended", disposition=how, occurred_at=self.now))

    def wait(self, ms: int) -> None:
        """Calls in progress show signs of life; timers fire when they are due."""
        end = self.now + ms
        while due := self.pool.take_due(end):
            for timer in due:
                self.now = max(self.now, timer.due_ms)
                self.give(TimerFired(timer.event_id, timer.task_id, timer.name, timer.due_ms))
        self.now = end


@tries(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(20, 200))
def test_no_permit_is_outside_the_law_or_a_campaigns_limits(seed: int, steps: int) -> None:
    world = World(seed)
    for _ in range(steps):
        world.act()


def test_the_worlds_of_that_test_call_somebody() -> None:
    """Or it would prove nothing."""
    called = 0
    for seed in range(10):
        world = World(seed)
        for _ in range(200):
            world.act()
        called += world.checked
    assert called > 50


@tries(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    weights=st.tuples(*[st.integers(1, 9)] * 3),
    slots=st.integers(1, 3),
)
def test_nobody_starves_and_within_a_priority_the_first_is_served_first(
    seed: int, weights: tuple[int, int, int], slots: int
) -> None:
    """However many come with a higher priority, whoever ends and is cancelled meanwhile."""
    rng, desk = Random(seed), Desk(Policy(weights=weights))
    desk.open(robot("r", slots=slots))
    waiting: dict[str, list[str]] = defaultdict(list)
    passed_over: Counter[str] = Counter()
    running: list[str] = []
    names = ("high", "medium", "low")

    def follow(out: list[Any]) -> None:
        for event in out:
            if event.kind == "assigned":
                served = event.priority
                assert waiting[served].pop(0) == event.task_id
                running.append(event.task_id)
                for other in names:
                    passed_over[other] += bool(waiting[other]) and other != served
                passed_over[served] = 0
        for rank, name in enumerate(names):
            if not waiting[name]:
                passed_over[name] = 0
            assert passed_over[name] <= 3 * sum(weights) / weights[rank], name

    for n in range(150):
        if rng.random() < 0.55 or not running:
            # Urgent ones would fill every slot for ever.
            name = rng.choices(names, (6, 2, 1))[0]
            waiting[name].append(f"t{n}")
            follow(desk.give(request(f"t{n}", priority=name)))
        elif rng.random() < 0.1 and any(waiting.values()):
            name = rng.choice([name for name in names if waiting[name]])
            gone = waiting[name].pop(rng.randrange(len(waiting[name])))
            follow(desk.give(cancel(gone)))
        else:
            task = running.pop(rng.randrange(len(running)))
            follow(desk.give(call(id_of_call(task, 1), "ended", disposition="completed")))
