"""What pools know of each other's calls: one call per number, dials, caller ids, silent calls."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.call.numbers import NumbersInCalls
from ringlog.campaigns.terms import terms_of
from schemas import ids
from schemas.events import CallEvent, DispatchInbox, TaskEvent
from streams.dispatch.elsewhere import OthersCall
from streams.dispatch.inputs import CallChanged, parse
from streams.dispatch.pool import Pool
from streams.dispatch.router import call_copies
from streams.dispatch.snapshot import Snapshots
from streams.dispatch.state import Touched
from streams.dispatch.tallies import SPAN_MS, Tallies, Times
from tests.unit.dispatch.build import NUMBERS, Desk, call, campaign, fresh, request, robot
from tests.unit.dispatch.test_dispatch_campaigns import DAY, HOUR

PHONE = "+8613800000000"
LINE = NUMBERS.hash(PHONE)
SURVEY = {"playbook": "p", "purpose": "survey", "recording_notice": True}


def theirs(call_id: str, kind: str, **values: Any) -> CallChanged:
    """A step of another pool's call, as its copy tells."""
    found = call(call_id, kind, pool="other", **values)
    return CallChanged(found.event_id, found.call, LINE if found.call.phone else "")


def of_line(task: str) -> Any:
    made = request(task)
    return type(made)(
        made.event_id, made.task, made.profile, made.profile_text, PHONE, (LINE,), None
    )


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.open(robot("r1", slots=9))
    return made


def test_a_number_that_another_pool_calls_waits_until_that_is_over(desk: Desk) -> None:
    desk.give(theirs("x", "dialing", phone=PHONE))
    desk.give(of_line("t1"))
    assert not desk.events("assigned")
    rows = (saved := Snapshots(desk.pool)).pages()
    loaded = Snapshots.load("main", rows | dict([saved.head(9)]))
    assert not saved.differences(loaded)
    for pool in (desk.pool, loaded.pool):
        desk.pool, desk.said = pool, []
        desk.give(theirs("x", "ended", disposition="busy"))
        [permit] = desk.events("assigned")
        assert permit.number_dials == [desk.now], "their dial counts here"
    desk.give(theirs("x", "ended", disposition="busy"))
    assert desk.pool.eligibility.dials.of(LINE, desk.now) == (desk.now,)


def test_what_another_pool_put_off_is_no_dial(desk: Desk) -> None:
    desk.give(theirs("x", "dialing", phone=PHONE))
    desk.give(theirs("x", "ended", disposition="number_in_call"))
    desk.give(of_line("t1"))
    assert desk.events("assigned")[0].number_dials == []


def test_a_call_whose_end_never_comes_does_not_hold_its_number_for_ever(desk: Desk) -> None:
    desk.give(theirs("x", "dialing", phone=PHONE))
    desk.now += 3 * HOUR
    desk.give(of_line("t1"))
    assert desk.events("assigned")


@pytest.mark.parametrize("restored", [False, True])
def test_who_waits_for_a_call_whose_end_never_comes_is_called_in_the_end(
    desk: Desk, restored: bool
) -> None:
    began = desk.now
    desk.give(theirs("x", "dialing", phone=PHONE))
    desk.give(of_line("t1"))
    if restored:
        rows = (saved := Snapshots(desk.pool)).pages()
        desk.pool = Snapshots.load("main", rows | dict([saved.head(9)])).pool
    desk.now += 2 * HOUR
    desk.give(of_line("t2"))
    [permit] = desk.events("assigned")
    assert (permit.task_id, permit.number_dials) == ("t1", [began]), "it may have rung"
    others = desk.pool.eligibility.elsewhere
    assert not others.order and others.oldest == others.next_n
    desk.give(theirs("x", "ended", disposition="completed"))
    assert desk.pool.eligibility.dials.of(LINE, desk.now) == (began,), "it counts once"


def test_only_what_matters_to_all_pools_goes_to_all() -> None:
    dialing = call("c", "dialing", pool="main", phone=PHONE, profile="{}").call
    copies = [
        record
        for _, record in call_copies(dialing, {"main", "a", "b"})
        if isinstance(record, DispatchInbox)
    ]
    assert [record.pool for record in copies] == ["main", "a", "b"]
    parsed = [one for record in copies if isinstance(one := parse(record, NUMBERS), CallChanged)]
    assert [(one.line, one.call.profile) for one in parsed] == [
        (LINE, "{}"), (LINE, None), (LINE, None),
    ]  # fmt: skip
    answered = call("c", "answered", pool="main").call
    assert [record.pool for _, record in call_copies(answered, {"main", "a"})] == ["main"]


def test_a_campaign_with_too_many_abandoned_calls_calls_nobody(desk: Desk) -> None:
    """3 of the first 100 may be; calls of all pools count, people's alone."""
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=9))
    desk.give(campaign("spring", "running", SURVEY))
    desk.now += -desk.now % DAY + 4 * HOUR  # noon in China
    said = {"campaign_id": "spring", "disposition": "completed"}
    for n in range(3):
        desk.give(theirs(f"x{n}", "dialing", phone=f"+861380000{n:04}"))
        desk.give(theirs(f"x{n}", "ended", silent_ms=2_001, **said))
    others: list[dict[str, Any]] = [
        {"silent_ms": 2_000}, {}, {"silent_ms": 9_000, "disposition": "machine"},
    ]  # fmt: skip
    for n, more in enumerate(others):
        desk.give(theirs(f"y{n}", "dialing", phone=f"+861380001{n:04}"))
        desk.give(theirs(f"y{n}", "ended", **(said | more)))
    desk.give(request("t1", phone="+8613800138000"))
    assert desk.kinds("t1") == ["queued", "assigned"]
    desk.give(call(ids.call_id("t1", 1), "dialing", phone="+8613800138000"))
    desk.give(call(ids.call_id("t1", 1), "ended", silent_ms=5_000, **said))
    refused = desk.give(request("t2", phone="+8613800138000"))[-1]
    assert refused.kind == "queued"
    assert refused.reason.startswith("house-abandoned: in 4 of 5 answered calls")
    assert refused.retry_at > desk.now + 29 * DAY


def test_dials_of_a_caller_id_are_counted_in_all_pools() -> None:
    tallies, at = Tallies(Touched()), 400 * DAY
    for n in range(130):
        tallies.dialled("+8610", at + n * 30_000)
    now = at + 129 * 30_000
    times = tallies.dials_of("+8610", now)
    assert len(times) == 130 and list(times) == sorted(times) and times[-1] == now
    assert times[-130] == at + 59_999 and not tallies.dials_of("+8611", now)
    later = now + SPAN_MS + 2 * HOUR
    tallies.dialled("+8612", later)
    assert len(tallies.dials_of("+8610", later)) == 0 and len(tallies.order) == 1


def test_a_dial_that_is_told_twice_counts_once_for_its_caller_id(desk: Desk) -> None:
    """A router that died repeats its copies."""
    mine = desk.give(request("t1"))[-1]
    steps = (
        theirs("x", "dialing", phone=PHONE, caller_id="+8610"),
        call(mine.call_id or "", "dialing", caller_id="+8610"),
    )
    for step in (*steps, *steps):
        desk.give(step)
    assert len(desk.pool.eligibility.tallies.dials_of("+8610", desk.now)) == 2


@pytest.mark.parametrize("restored", [False, True])
def test_a_call_that_is_told_twice_as_a_whole_counts_once(desk: Desk, restored: bool) -> None:
    """Of a router that died the second copies may come after the call's end."""
    steps = (
        theirs("x", "dialing", phone=PHONE, caller_id="+8610"),
        theirs("x", "ended", campaign_id="spring", silent_ms=5_000, disposition="completed"),
    )
    for step in steps:
        desk.give(step)
    if restored:
        rows = (saved := Snapshots(desk.pool)).pages()
        loaded = Snapshots.load("main", rows | dict([saved.head(9)]))
        assert not saved.differences(loaded)
        desk.pool = loaded.pool
    for step in steps:
        desk.give(step)
    known = desk.pool.eligibility
    assert len(known.dials.of(LINE, desk.now)) == 1
    assert len(known.tallies.dials_of("+8610", desk.now)) == 1
    assert [a.answered for a in known.tallies.answers_of("spring", desk.now)] == [1]
    assert not known.elsewhere.order, "its number is free"


def test_only_so_many_finished_calls_of_others_are_remembered(desk: Desk) -> None:
    others = desk.pool.eligibility.elsewhere
    for n in range(others.over.SLOTS + 1):
        others.began(OthersCall(f"x{n}", LINE, desk.now))
        others.ended(f"x{n}")
    assert len(others.over.slots) == others.over.SLOTS
    assert "x0" not in others.over and "x1" in others.over


@given(st.lists(st.integers(1, 5), max_size=20))
def test_times_are_a_sequence(counts: list[int]) -> None:
    flat = [at for at, n in enumerate(counts) for _ in range(n)]
    times = Times(list(enumerate(counts)))
    assert list(times) == flat and times[-3:] == flat[-3:]
    assert [times[-k] for k in range(1, len(flat) + 1)] == flat[::-1]
    with pytest.raises(IndexError):
        times[-len(flat) - 1]


@dataclass
class Site:
    """Two pools and two edges around one log. Whoever reads it may be late by any number of
    records; an edge reads to the end between its own `dialing` and the dial."""

    log: list[CallEvent] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=lambda: [Pool("p0"), Pool("p1")])
    edges: list[NumbersInCalls] = field(default_factory=lambda: [NumbersInCalls() for _ in "ab"])
    read: dict[str, int] = field(default_factory=dict)
    assigned: list[TaskEvent] = field(default_factory=list)
    dialing: list[tuple[int, TaskEvent]] = field(default_factory=list)
    talking: list[TaskEvent] = field(default_factory=list)
    now: int = 1_760_000_000_000
    tasks: int = 0

    def give(self, n: int, record: Any) -> None:
        self.now += 1
        for topic, event in self.pools[n].step(record, self.now):
            if topic == "tasks.events" and event.kind == "assigned":
                assert isinstance(event, TaskEvent)
                self.assigned.append(event)

    def pool_reads(self, n: int) -> None:
        at = self.read.get(f"p{n}", 0)
        for event in self.log[at : at + 1]:
            self.read[f"p{n}"] = at + 1
            for _, record in call_copies(event, ["p0", "p1"]):
                assert isinstance(record, DispatchInbox)
                if record.pool == f"p{n}":
                    self.give(n, parse(record, NUMBERS))

    def edge_reads(self, n: int, most: int) -> None:
        at = self.read.get(f"e{n}", 0)
        for event in self.log[at : at + most]:
            at += 1
            if event.kind == "ended":
                self.edges[n].ended(event.call_id or "")
            else:
                self.edges[n].began(LINE, event.call_id or "", event.occurred_at)
        self.read[f"e{n}"] = at

    def write(self, task: TaskEvent, kind: Any, **more: Any) -> None:
        self.log.append(
            CallEvent(
                event_id=fresh(kind), kind=kind, occurred_at=self.now, producer="edge",
                call_id=task.call_id, task_id=task.task_id, pool=task.pool,
                phone=task.phone if kind == "dialing" else None, **more,
            )
        )  # fmt: skip

    def act(self, what: str, n: int) -> None:
        match what:
            case "ask":
                self.tasks += 1
                made = of_line(f"t{self.tasks}")
                self.give(n, made)
            case "pool":
                self.pool_reads(n)
            case "edge":
                self.edge_reads(n, 1)
            case "begin" if self.assigned:
                task = self.assigned.pop(0)
                if not self.edges[n].claim(LINE, task.call_id or "", self.now):
                    self.write(task, "ended", disposition="number_in_call")
                    return
                self.write(task, "dialing")
                self.dialing.append((n, task))
            case "dial" if self.dialing:
                n, task = self.dialing.pop(n % len(self.dialing))
                self.edge_reads(n, len(self.log))
                if self.edges[n].claim(LINE, task.call_id or "", self.now):
                    self.talking.append(task)
                    assert len(self.talking) == 1, "one number is on two calls at once"
                else:
                    self.write(task, "ended", disposition="number_in_call")
            case "end" if self.talking:
                self.write(self.talking.pop(), "ended", disposition="completed")
            case _:
                pass


_ROUND = [
    ("ask", 0), ("ask", 1), ("begin", 0), ("begin", 1), ("dial", 0), ("dial", 1), ("edge", 0),
    ("edge", 1), ("pool", 0), ("pool", 1), ("end", 0),
]  # fmt: skip


@given(st.lists(st.permutations(_ROUND), min_size=1, max_size=4))
def test_one_number_is_never_on_two_calls_whatever_the_order(
    rounds: list[list[tuple[str, int]]],
) -> None:
    site = Site()
    for n, pool in enumerate(site.pools):
        desk = Desk()
        desk.pool, desk.now = pool, site.now
        desk.open(robot(f"r{n}", slots=9))
        site.now = desk.now
    for steps in rounds:
        for what, n in steps:
            site.act(what, n)
