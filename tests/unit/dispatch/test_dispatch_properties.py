"""Random lives of a pool: what must always hold, and that a restart changes nothing."""

import base64
import json
import random
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.terms import NO_COUNTS, Callee, Counts, Permission
from schemas.events import Campaign, TaskEvent
from schemas.events.tasks import TASK_OVER
from schemas.ids import call_id as id_of_call
from streams.dispatch.assignment import Assignment
from streams.dispatch.decided import Decided, Verdict
from streams.dispatch.facts import Output
from streams.dispatch.inputs import Input, SettingsChanged, TimerFired
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool
from streams.dispatch.roster import Robot
from streams.dispatch.site_terms import SiteTerms
from streams.dispatch.snapshot import Snapshots
from streams.dispatch.task import State, Task
from tests.unit.dispatch.build import (
    T0,
    alive,
    call,
    campaign,
    cancel,
    changed,
    edge,
    opted_out,
    profile,
    request,
    robot,
    worker,
)
from tests.unit.dispatch.build import (
    settings as told,
)

POLICY = Policy(retry_ms=30_000, max_attempts=4)
OTHER = Policy(
    retry_ms=77_000, max_attempts=1, max_dials=1, queue_limit=1, permit_ms=1_000,
    line_retry_ms=9_000, boost_intent=0.01,
)  # fmt: skip
"""Under which hardly any decision of POLICY would be made again."""

SKILLS = ("sales", "care")


@dataclass(frozen=True)
class Strict(SiteTerms):
    """A campaign with limits: `settings` name them."""

    start_s: int = 0
    per_number: int = 99

    def permission(
        self, callee: Callee, dials: Sequence[int], now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        """Only in some seconds of every minute, and so many times a number."""
        if len(dials) >= self.per_number:
            return Permission(None, "cap", f"{self.per_number} dials")
        second = now_ms // 1_000 % 60
        if second < self.start_s:
            return Permission(now_ms + 1_000 * (self.start_s - second), "hours", "too early")
        return Permission(now_ms)


def strict_terms(event: Campaign, site: SiteTerms) -> Strict:
    return Strict(
        site.policy, event.event_id, event.state == "running", **json.loads(event.settings)
    )


def new_pool() -> Pool:
    return Pool("main", terms_of=strict_terms)


def loaded(rows: dict[str, str]) -> Snapshots:
    return Snapshots.load("main", rows, strict_terms)


class CheckedAssignment(Assignment):
    """Compares every choice with a search through all robots and all tasks."""

    def permit(self, task: Task, robot: Robot, verdict: Verdict) -> Output:
        pool = self._pool
        others = [t for t in pool.tasks.values() if t.line == task.line and t is not task]
        assert all(t.call_id is None for t in others), "a number is on two calls"

        def suits(r: Robot, t: Task) -> bool:
            need = t.requirement
            return (
                r.idle
                and (need.playbook is None or need.playbook in r.playbooks)
                and all(r.skills.get(skill, -1) >= level for skill, level in need.skills)
                and sum(r.skills.get(skill, 0) for skill in need.best) >= need.least
            )

        def key(r: Robot) -> tuple[int, int, int, str]:
            required = dict(task.requirement.skills)
            unused = sum((has - required.get(s, 0)) ** 2 for s, has in r.skills.items())
            best = sum(r.skills.get(skill, 0) for skill in task.requirement.best)
            return -best, unused, r.last_used, r.robot_id

        assert robot is min((r for r in pool.roster if suits(r, task)), key=key)
        rivals = [
            t for t in pool.tasks.values()
            if t.state is State.QUEUED and any(suits(r, t) for r in pool.roster)
            and pool.campaigns.has_room(t.campaign_id, pool.terms(t.campaign_id), pool.now)
            and (t is task or pool.terms(t.campaign_id).calls_per_s is None)
        ]  # fmt: skip
        had_turn = [t for t in rivals if t.turn]
        rivals = had_turn or [t for t in rivals if t.rank == task.rank]
        assert task is min(rivals, key=lambda t: t.seq)
        if task.requirement.best and not task.turn and task.wait_ms:
            working = [
                r for r in pool.roster
                if suits(replace_calls(r), task) and r.state == "active" and r.slots
            ]  # fmt: skip
            top = max(-key(r)[0] for r in working)
            slots = sum(r.slots for r in working if -key(r)[0] == top)
            waiting = sum(
                t.turn and t.requirement.least == top
                and (t.requirement.skills, t.requirement.best, t.requirement.playbook)
                == (task.requirement.skills, task.requirement.best, task.requirement.playbook)
                for t in pool.tasks.values() if t.call_id is None
            )  # fmt: skip
            soon = (waiting + 1) * pool.matching.mean_call_ms <= task.wait_ms * slots
            assert -key(robot)[0] == top or not soon, "it did not wait for the best"
        return super().permit(task, robot, verdict)


def replace_calls(robot: Robot) -> Robot:
    """The robot as if it had no call."""
    return replace(robot, calls=set())


class Life:
    """Drives a pool with a seeded random source and keeps the journal of its inbox."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.pool = new_pool()
        self.pool.assignment = CheckedAssignment(self.pool)
        self.now = T0
        self.tasks = 0
        self.open_calls: list[str] = []
        self.journal: list[tuple[Input, int, list[Output]]] = []

    def give(self, record: Input) -> None:
        out = self.pool.step(record, self.now)
        self.journal.append((record, self.now, out))
        for _, event in out:
            if event.kind == "assigned":
                assert event.call_id is not None
                self.open_calls.append(event.call_id)

    def wait(self, ms: int) -> None:
        self.now += ms
        for timer in self.pool.take_due(self.now):
            self.give(TimerFired(timer.event_id, timer.task_id, timer.name, timer.due_ms))

    def act(self) -> None:
        rng = self.rng
        match rng.choices(range(12), (8, 4, 3, 8, 1, 1, 2, 2, 1, 1, 1, 6))[0]:
            case 0:
                self.tasks += 1
                customer = f"c{rng.randrange(6)}"
                late = rng.choice((None, None, self.now + rng.randrange(1, 60_000)))
                early = rng.choice((None, None, None, self.now + rng.randrange(1, 30_000)))
                known = profile(
                    customer, purchase_intent=rng.random(), phone_hash=customer,
                    level=rng.choice(("normal", "vip")),
                    tags=rng.sample(("industry:sales", "industry:care", "value:high"), 2),
                )  # fmt: skip
                self.give(
                    request(
                        f"t{rng.randrange(self.tasks) if rng.random() < 0.1 else self.tasks}",
                        known,
                        priority=rng.choice(("high", "medium", "low")),
                        skills={s: rng.randint(1, 4) for s in SKILLS if rng.random() < 0.4},
                        campaign_id=rng.choice((None, "spring", "autumn")),
                        deadline=late,
                        not_before=early,
                    )
                )
            case 1 if self.open_calls:
                self.give(call(rng.choice(self.open_calls), "dialing"))
            case 2 if self.open_calls:
                kind = rng.choice(("ringing", "answered", "alive"))
                found = rng.choice(self.open_calls)
                self.give(alive(found) if kind == "alive" else call(found, kind))
            case 3 if self.open_calls:
                found = rng.choice(self.open_calls)
                how = rng.choice(
                    ("completed", "busy", "no_answer", "failed", "opted_out", "number_in_call")
                )
                self.give(call(found, "ended", disposition=how))
            case 4:
                self.give(opted_out(f"c{rng.randrange(6)}", allowed=rng.random() < 0.7))
            case 5:
                self.give(cancel(f"t{rng.randint(0, self.tasks)}"))
            case 6:
                self.give(
                    robot(
                        f"r{rng.randrange(4)}",
                        state=rng.choice(("active", "active", "active", "paused", "removed")),
                        slots=rng.randint(0, 2),
                        skills={s: rng.randint(1, 5) for s in SKILLS if rng.random() < 0.7},
                    )
                )
            case 7:
                self.give(edge(f"e{rng.randrange(2)}", up=rng.random() < 0.7))
            case 8:
                known = profile(
                    f"c{rng.randrange(6)}", version=rng.randint(1, 9),
                    purchase_intent=rng.random(), tags=rng.sample(("industry:care", "x"), 1),
                )  # fmt: skip
                self.give(changed(known))
            case 10:
                limits = {
                    "concurrency": rng.choice((None, 0, 1, 2)),
                    "calls_per_s": rng.choice((None, None, 0.1, 2.0)),
                    "start_s": rng.choice((0, 0, 30)),
                    "per_number": rng.choice((1, 3, 99)),
                }
                state = rng.choice(("running", "running", "paused", "ended"))
                self.give(campaign(rng.choice(("spring", "autumn")), state, limits))
            case 9:
                self.give(told(rng.choice((POLICY, POLICY, OTHER))))
            case _:
                self.wait(rng.choice((10, 1_000, 10_000, 20_000)))

    def drain(self) -> None:
        """Everything ends: robots and an edge are there, calls are over, times pass."""
        self.give(robot("r0", slots=2, skills=dict.fromkeys(SKILLS, 5)))
        self.give(edge("e0"))
        for name in ("spring", "autumn"):
            self.give(campaign(name, "running", {}))
        for _ in range(2_000):
            if not self.pool.tasks:
                return
            for found in self.open_calls[-20:]:
                self.give(call(found, "ended", disposition="completed"))
            for task in list(self.pool.tasks.values()):
                if task.state is State.ENDING and task.call_id:
                    self.give(call(task.call_id, "ended", disposition="failed"))
            self.wait(20_000)


def live(seed: int, steps: int) -> Life:
    life = Life(seed)
    life.give(told(POLICY))
    life.give(worker())
    life.give(edge("e0"))
    for n in range(3):
        life.give(robot(f"r{n}", skills={"sales": 3}))
    for _ in range(steps):
        life.act()
    return life


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150))
def test_every_request_ends_once_and_no_slot_is_used_twice(seed: int, steps: int) -> None:
    life = live(seed, steps)
    life.drain()
    assert life.pool.tasks == {}
    ends: dict[str, int] = defaultdict(int)
    queued: set[str] = set()
    holds: dict[str, set[str]] = defaultdict(set)
    robot_of: dict[str, str] = {}
    slots: dict[str, int] = {}
    seen: set[str] = set()
    for record, _, out in life.journal:
        status = getattr(record, "robot", None)
        if status is not None:
            slots[status.robot_id] = status.slots
        for topic, event in out:
            assert event.event_id not in seen
            seen.add(event.event_id)
            task = event.task_id or ""
            frees = event.kind in TASK_OVER | {"retry_scheduled", "ended", "queued"}
            if frees and task in robot_of:
                holds[robot_of.pop(task)].discard(task)
            if topic != "tasks.events":
                continue
            assert not ends[task] or event.kind == "refused", "nothing follows the end"
            if event.kind == "queued":
                queued.add(task)
            elif event.kind == "assigned":
                assert task in queued
                assert event.call_id == id_of_call(task, getattr(event, "attempt", 0))
                robot_of[task] = event.robot_id or ""
                holds[robot_of[task]].add(task)
                assert len(holds[robot_of[task]]) <= slots[robot_of[task]]
            elif event.kind in TASK_OVER and (event.kind != "refused" or task in queued):
                ends[task] += 1
    assert all(ends[task] == 1 for task in queued)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150), data=st.data())
def test_a_restart_at_any_point_gives_the_same_outputs(
    seed: int, steps: int, data: st.DataObject
) -> None:
    journal = live(seed, steps).journal
    rows: dict[str, str] = {}
    pool = Snapshots(new_pool())
    at = 0
    while at < len(journal):
        record, now, expected = journal[at]
        assert pool.pool.step(record, now) == expected
        at += 1
        happens = data.draw(st.sampled_from(["nothing"] * 6 + ["snapshot", "kill", "torn"]))
        if happens in ("snapshot", "torn"):
            rows.update(pool.pages())
        if happens == "snapshot":
            key, value = pool.head(at)
            rows[key] = value
            for gone in pool.garbage():
                rows.pop(gone, None)
        if happens in ("kill", "torn"):
            pool = loaded(rows)
            assert pool.offset <= at
            at = pool.offset  # the records since are worked again
            if not data.draw(st.booleans()):
                continue
            while at < len(journal) and data.draw(st.booleans()):
                record, now, expected = journal[at]
                assert pool.pool.step(record, now) == expected
                at += 1


def test_an_answer_while_a_call_ends_is_in_the_next_snapshot() -> None:
    """`answered` that comes after our own end decides what the end means: completed, not failed."""
    journal, chance = live(511, 104).journal, random.Random(2)
    rows: dict[str, str] = {}
    pool, at, steps = Snapshots(Pool("main", POLICY)), 0, 0
    while at < len(journal):
        record, now, expected = journal[at]
        assert pool.pool.step(record, now) == expected
        at, steps = at + 1, steps + 1
        happens = chance.choice(["nothing"] * 6 + ["snapshot", "kill"])
        if happens == "snapshot":
            rows.update(pool.pages())
            key, value = pool.head(at)
            rows[key] = value
        elif happens == "kill" and steps < 2_000:
            pool = loaded(rows)
            at = pool.offset


def test_an_empty_snapshot_is_an_empty_pool() -> None:
    empty = loaded({})
    assert (empty.offset, empty.pool.tasks) == (0, {})


def test_only_changed_pages_are_written() -> None:
    pool = Snapshots(new_pool())
    pool.pool.step(worker(), T0)
    pool.pool.step(edge(), T0)
    for n in range(200):
        pool.pool.step(robot(f"r{n:04d}"), T0)
    for n in range(1_000):
        pool.pool.step(request(f"t{n}"), T0)
    assert len(pool.pages()) > 30
    pool.head(1)
    pool.pool.step(cancel("t999"), T0)
    assert {key.rsplit(".", 1)[0] for key in pool.pages()} == {
        "task.31", "recent.0", "sides-task.0", "sides-recent.0"
    }  # fmt: skip


def test_the_head_does_not_grow_with_the_queue_and_an_older_one_is_read() -> None:
    pool, rows = Snapshots(new_pool()), dict[str, Any]()
    pool.pool.step(robot("r1"), T0)
    for n in range(20_000):
        pool.pool.step(request(f"t{n}"), T0)
    rows.update(pool.pages())
    rows.update([pool.head(1)])
    assert len(rows["head|main"]) < 1_000
    assert loaded(rows).differences(pool) == []
    # As version 3 wrote it: the head names every page.
    head = json.loads(zlib.decompress(base64.b64decode(rows["head|main"])))
    del head["blocks"]
    names = [key.split("|")[0].split(".") for key in rows if "." in key and "sides" not in key]
    head |= {"version": 3, "pages": [[kind, int(n), int(side)] for kind, n, side in names]}
    older = {key: row for key, row in rows.items() if "sides" not in key}
    packed = base64.b64encode(zlib.compress(json.dumps(head).encode())).decode()
    read = loaded(older | {"head|main": packed})
    assert read.differences(pool) == []
    written = older | {"head|main": packed} | read.pages()
    written.update([read.head(2)])
    assert loaded(written).differences(pool) == []


def test_rows_of_what_is_over_are_deleted() -> None:
    pool = Snapshots(new_pool())
    rows: dict[str, Any] = {}
    pool.pool.step(robot("r1"), T0)
    pool.pool.step(request("t1"), T0)
    rows.update(pool.pages())
    pool.pool.step(cancel("t1"), T0)
    rows.update(pool.pages())
    rows.update([pool.head(3)])
    names = ("task.0.0", "task.0.1", "sides-task.0.0", "sides-task.0.1")
    assert {f"{name}|main" for name in names} == set(pool.garbage())
    rows.pop("task.0.0|main")
    assert loaded(rows).pool.tasks == {}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(10, 120), restored=st.booleans())
def test_a_pool_folded_anew_is_the_same_and_can_take_its_place(
    seed: int, steps: int, restored: bool
) -> None:
    journal = live(seed, steps).journal
    kept, anew = (
        Snapshots(new_pool()),
        Snapshots(new_pool()),
    )
    for record, now, _ in journal:
        kept.pool.step(record, now)
        anew.pool.step(record, now)
    rows = kept.pages()
    rows.update([kept.head(len(journal))])
    if restored:
        kept = loaded(rows)
    assert kept.differences(anew) == []

    kept.pool.optouts.put("wrong", True)
    kept.pool.step(robot("wrong"), 0)
    assert {"optout", "robot"} <= set(kept.differences(anew))
    rows |= kept.pages()
    rows.update([kept.head(len(journal))])
    before = dict(rows)
    kept.replace(anew.pool)
    written = kept.pages()
    # Nothing that the old head names is written over: whoever dies here leaves that state whole.
    assert loaded(before | written).differences(anew) != []
    rows |= written
    rows.update([kept.head(len(journal))])
    for gone in kept.garbage():
        rows.pop(gone, None)
    assert loaded(rows).differences(anew) == []


def decided_of(life: Life) -> Decided:
    decided = Decided()
    for _, _, out in life.journal:
        for _, event in out:
            if isinstance(event, TaskEvent):
                decided.add(event)
    return decided


def standing(pool: Pool) -> dict[str, Any]:
    """What was decided about every task and robot, without what only a policy says."""
    return {
        "tasks": {
            t.task_id: (
                t.state is State.ENDING, t.attempt, t.call_id, t.robot_id, t.edge_id, t.dials,
                t.undialled, t.cancel_requested, t.last_event_id, t.phone_hash,
            )
            for t in pool.tasks.values()
        },
        "slots": {r.robot_id: (r.state, r.slots, r.skills, r.calls) for r in pool.roster},
        "over": set(pool.recent.slots.values()),
        "optouts": pool.optouts.order,
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150), drained=st.booleans())
def test_review_4_folded_anew_under_another_policy_what_was_decided_stays(
    seed: int, steps: int, drained: bool
) -> None:
    life = live(seed, steps)
    if drained:
        life.drain()
    anew = Pool("main", OTHER, decided_of(life), strict_terms)
    for record, now, _ in life.journal:
        if not isinstance(record, SettingsChanged):  # a log of before settings were on it
            anew.step(record, now)
    anew.assignment.catch_up()
    assert standing(anew) == standing(life.pool)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150))
def test_a_rebuild_with_other_settings_changes_nothing_that_was_decided(
    seed: int, steps: int
) -> None:
    life = live(seed, steps)
    anew = Pool("main", OTHER, decided_of(life), strict_terms)
    for record, now, out in life.journal:
        assert anew.step(record, now) == out
    anew.assignment.catch_up()
    assert Snapshots(life.pool).differences(Snapshots(anew)) == []
