"""The router: caps and budgets hold, no carrier starves, a replay decides the same."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.trunks.plan import SitePlan
from ingest.trunks.router import Ask, NextTry, TrunkRouter, share
from ingest.trunks.tries import HOUR_MS, Try
from schemas.events import CallEvent
from schemas.ids import root_id

PHONE = "+8613800000000"
OK = {"cause_q850": 16}


def plan(trunks: dict[str, dict[str, Any]], **more: Any) -> SitePlan:
    data = {
        "switches": {"s": {"type": "sim", "url": "http://x"}},
        "trunks": {name: {"switch": "s", **trunk} for name, trunk in trunks.items()},
        **more,
    }
    made = SitePlan.model_validate(data)
    assert not list(made.unknown_names())
    return made


def event(kind: str, call: str, at_ms: int, **more: Any) -> CallEvent:
    return CallEvent(
        event_id=root_id(kind, call, at_ms, str(more)), kind=kind, occurred_at=at_ms,
        producer="edge", call_id=call, **more,
    )  # fmt: skip


def tried(call: str, next_try: NextTry, at_ms: int, edge: str = "e", task: str = "") -> CallEvent:
    way = next_try.ways[0]
    return event(
        "tried", call, at_ms, try_no=next_try.n, trunk=way.trunk, caller_id=way.caller_id,
        edge_id=edge, task_id=task or None,
    )  # fmt: skip


def ask(call: str, task: str = "", phone: str = PHONE, edge: str = "e",
        edges: tuple[str, ...] = ("e",), caller_id: str | None = None) -> Ask:  # fmt: skip
    return Ask(call, task or call, phone, edge, edges, caller_id)


@dataclass
class Site:
    """A router, and what it was told."""

    router: TrunkRouter
    log: list[CallEvent] = field(default_factory=list)

    def take(self, one: CallEvent) -> None:
        self.log.append(one)
        self.router.evolve(one)

    def dial(self, call: str, at_ms: int, **more: Any) -> str | None:
        """The trunk by which a call goes now."""
        found = self.router.choose(ask(call, **more), at_ms)
        if not found.ways:
            return None
        self.take(tried(call, found, at_ms, task=more.get("task", "")))
        return found.ways[0].trunk

    def fail(self, call: str, at_ms: int, cause: int = 38) -> None:
        n = self.router.tries.last_try(call)
        self.take(event("refused", call, at_ms, try_no=n, cause_q850=cause))


def site(*args: Any, **more: Any) -> Site:
    return Site(TrunkRouter(plan(*args, **more)))


def test_a_refused_call_goes_by_the_other_trunk_and_then_nowhere() -> None:
    s = site({"a": {}, "b": {}})
    first = s.dial("c", 0)
    s.fail("c", 5)
    second = s.dial("c", 6)
    assert {first, second} == {"a", "b"}
    s.fail("c", 7)
    left = s.router.choose(ask("c"), 8)
    assert not left.ways and left.wait_ms is None
    assert set(left.refusals.values()) == {"tried"}


def test_the_cheapest_by_the_longest_prefix_is_first() -> None:
    s = site(
        {"a": {"cost": {"+86": 0.03, "+8610": 0.01}}, "b": {"cost": {"+86": 0.02}},
         "far": {"cost": {"+49": 0.001}}},
        routing={"order": "cost"},
    )  # fmt: skip

    def ways(phone: str) -> list[str]:
        return [way.trunk for way in s.router.choose(ask("c", phone=phone), 0).ways]

    assert ways("+8610888") == ["a", "b"] and ways("+8621888") == ["b", "a"]
    assert ways("+49301") == ["far"] and ways("+1555") == []


def test_the_campaigns_caller_id_is_shown_where_no_number_of_the_trunk_is_more_local() -> None:
    pool: list[dict[str, Any]] = [{"number": f"+86106000000{n}"} for n in range(9)]
    pool.append({"number": "+862160000001", "near": ["+8621"]})
    s = site({"a": {"caller_ids": "p"}}, caller_ids={"p": pool})

    def shown(phone: str, wanted: str) -> str | None:
        return s.router.choose(ask("c", phone=phone, caller_id=wanted), 0).ways[0].caller_id

    for number in pool[:9]:
        assert shown("+49301", str(number["number"])) == number["number"]
    assert shown("+8621999", "+861060000003") == "+862160000001"
    assert shown("+49301", "+4989000") in {one["number"] for one in pool}  # none of the trunk's
    bare = site({"a": {}})
    assert bare.router.choose(ask("c", caller_id="+4989000"), 0).ways[0].caller_id == "+4989000"


def test_local_presence_and_the_caps_of_caller_ids() -> None:
    pool = [
        {"number": "+861060000001", "near": ["+8610"], "calls": 1},
        {"number": "+862160000001", "near": ["+8621"], "calls_per_hour": 2},
    ]
    s = site({"a": {"caller_ids": "p"}}, caller_ids={"p": pool})

    def shown(call: str, phone: str, at_ms: int = 0) -> str | None:
        found = s.router.choose(ask(call, phone=phone), at_ms)
        if not found.ways:
            assert found.refusals == {"a": "caller_id"}
            return None
        s.take(tried(call, found, at_ms))
        return found.ways[0].caller_id

    assert shown("1", "+8610999") == "+861060000001"
    assert shown("2", "+8610999") == "+862160000001"  # the local one is in a call
    assert shown("3", "+8621999") == "+862160000001"
    assert shown("4", "+8621999") is None
    s.take(event("ended", "1", 9, **OK))
    assert shown("4", "+8621999") == "+861060000001"
    assert shown("5", "+8621999", HOUR_MS + 10) == "+862160000001"


def test_a_trunk_rests_after_faults_and_a_probe_wakes_it() -> None:
    s = site({"a": {}}, routing={"breaker": {"failures": 2, "open_s": 1}})
    for n in range(2):
        assert s.dial(f"c{n}", n) == "a"
        s.fail(f"c{n}", n)
    refused = s.router.choose(ask("x"), 500)
    assert refused.refusals == {"a": "breaker"} and refused.wait_ms is None
    assert s.dial("probe", 1_001) == "a"
    waiting = s.router.choose(ask("y"), 1_002)
    assert waiting.refusals == {"a": "breaker"} and waiting.wait_ms is not None
    s.take(event("ringing", "probe", 1_100))
    assert s.router.figures("a", 1_101).state == "closed" and s.dial("y", 1_102) == "a"


@pytest.mark.parametrize("end", [{"cause_q850": 17}, {"cause_q850": 19}, {"cause_sip": 480}])
def test_busy_and_no_answer_are_no_faults(end: dict[str, int]) -> None:
    s = site({"a": {}}, routing={"breaker": {"failures": 1}})
    s.dial("c", 0)
    s.take(event("ended", "c", 1, **end))
    assert s.router.figures("a", 2).failures == 0 and s.router.figures("a", 2).state == "closed"


def test_the_switch_tells_that_a_trunk_is_gone() -> None:
    s = site({"a": {}, "b": {}})
    s.router.told("a", False, 0)
    assert {s.dial(f"c{n}", n) for n in range(20)} == {"b"}
    s.router.told("a", True, 30)
    assert {s.dial(f"d{n}", 30 + n) for n in range(20)} == {"a", "b"}


def test_few_answers_slow_answers_and_one_way_sound_cost_weight() -> None:
    s = site({"a": {}, "b": {}})
    for n in range(200):
        trunk = s.dial(f"c{n}", n * 10)
        if trunk == "b":
            s.take(event("answered", f"c{n}", n * 10 + 5))
        s.take(event("ended", f"c{n}", n * 10 + 6, **OK))
    got = Counter(s.dial(f"d{n}", 5_000 + n) for n in range(400))
    assert 0 < got["a"] < got["b"] / 4
    slow = site({"a": {}, "b": {}})
    slow.dial("c", 0)
    used = slow.log[-1].trunk
    slow.take(event("ringing", "c", 60_000))
    got = Counter(slow.dial(f"d{n}", 60_001 + n) for n in range(400))
    assert 0 < got[used] < 120


def test_a_repeated_record_counts_once() -> None:
    s = site({"a": {"calls": 1}})
    s.dial("c", 0)
    for one in list(s.log) * 2:
        s.router.evolve(one)
    assert s.router.tries.on_trunk["a"] == 1
    s.take(event("ended", "c", 1, **OK))
    s.router.evolve(s.log[0])
    assert s.router.tries.on_trunk["a"] == 0


def test_a_try_whose_end_is_never_told_is_forgotten() -> None:
    s = site({"a": {"calls": 1}})
    s.dial("c", 0)
    assert s.dial("d", HOUR_MS) is None
    assert s.dial("d", HOUR_MS + 80_000) == "a"


@given(st.integers(0, 200), st.sets(st.sampled_from("abcdefg"), min_size=1))
def test_shares_add_up(cap: int, edges: set[str]) -> None:
    assert sum(share(cap, edge, edges) for edge in edges) == cap
    assert share(cap, "nobody", edges) == 0


# Any traffic -------------------------------------------------------------------------------------

STEP = st.tuples(
    st.sampled_from(["dial", "dial", "dial", "ring", "answer", "refuse", "end"]),
    st.integers(0, 11),  # contact
    st.integers(0, 400),  # ms since the step before
    st.integers(0, 2),  # edge
    st.sampled_from([16, 17, 38, 34]),
)
TRUNK = st.fixed_dictionaries(
    {"weight": st.integers(1, 9)},
    optional={
        "calls": st.integers(1, 6), "calls_per_second": st.integers(1, 4),
        "cost": st.just({"+86": 0.1}), "caller_ids": st.just("p"),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), TRUNK, min_size=1),
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(STEP, max_size=80),
    st.sampled_from(["weight", "cost"]),
)
def test_any_traffic(
    trunks: dict[str, dict[str, Any]], tries: int, edges: int, steps: list[Any], order: str
) -> None:
    """Several edges, each of which knows the others' records late; none exceeds anything."""
    pool = [{"number": "+861060000001", "calls": 2}, {"number": "+861060000002",
             "calls_per_hour": 5}]  # fmt: skip
    site_plan = plan(trunks, caller_ids={"p": pool}, routing={"tries": tries, "order": order})
    names = tuple(f"e{n}" for n in range(edges))
    routers = {name: TrunkRouter(site_plan) for name in names}
    asked: dict[str, list[Any]] = {name: [] for name in names}
    late: list[CallEvent] = []
    running: dict[str, tuple[str, str | None]] = {}
    begun: list[tuple[int, str, str | None, str]] = []
    now, calls = 0, dict[int, str]()

    def tell(one: CallEvent, edge: str) -> None:
        """Its own edge knows it at once, the others later."""
        routers[edge].evolve(one)
        asked[edge].append(one)
        late.append(one)

    for n, (step, who, wait, which, cause) in enumerate(steps):
        now += wait
        edge = names[who % edges]  # a contact's calls are one edge's
        if which == 0:
            for one in late:
                for name in names:
                    routers[name].evolve(one)
                    asked[name].append(one)
            late.clear()
        call = calls.get(who)
        match step:
            case "dial" if call is None or call not in running:
                call = calls.setdefault(who, f"call-{n}")
                question = ask(call, f"task-{who}", edge=edge, edges=names)
                found = routers[edge].choose(question, now)
                asked[edge].append((question, now, found))
                if found.ways:
                    tell(tried(call, found, now, edge, f"task-{who}"), edge)
                    way = found.ways[0]
                    running[call] = way.trunk, way.caller_id
                    begun.append((now, way.trunk, way.caller_id, f"task-{who}"))
            case "ring" | "answer" if call in running:
                tell(event({"ring": "ringing"}.get(step, "answered"), call, now), edge)
            case "refuse" if call in running:
                last = routers[edge].tries.last_try(call)
                tell(event("refused", call, now, try_no=last, cause_q850=38), edge)
                del running[call]
            case "end" if call is not None:
                tell(event("ended", call, now, cause_q850=cause), edge)
                running.pop(call, None)
                del calls[who]
            case _:
                pass
        on_trunk = Counter(trunk for trunk, _ in running.values())
        for name, trunk in site_plan.trunks.items():
            assert trunk.calls is None or on_trunk[name] <= trunk.calls
            second = sum(1 for at, t, _, _ in begun if t == name and at > now - 1_000)
            assert trunk.calls_per_second is None or second <= trunk.calls_per_second
        shown = Counter(number for _, number in running.values())
        assert shown["+861060000001"] <= 2
        assert sum(1 for b in begun if b[2] == "+861060000002" and b[0] > now - HOUR_MS) <= 5
        contacts = Counter(b[3] for b in begun if b[0] > now - HOUR_MS)
        assert max(contacts.values(), default=0) <= tries

    for name in names:
        again = TrunkRouter(site_plan)
        for one in asked[name]:
            if isinstance(one, CallEvent):
                again.evolve(one)
            else:
                assert again.choose(one[0], one[1]) == one[2]


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=2),
    st.integers(0, 2**32),
)
def test_no_carrier_starves(weights: dict[str, int], seed: int) -> None:
    """Each trunk gets its share by weight within six standard deviations."""
    s = site({name: {"weight": weight} for name, weight in weights.items()})
    n, total = 1_000, sum(weights.values())
    got: Counter[str | None] = Counter()
    for call in range(n):
        one = f"{seed}-{call}"
        got[s.dial(one, call * 10)] += 1
        s.take(event("answered", one, call * 10 + 1))
        s.take(event("ended", one, call * 10 + 2, **OK))
    for name, weight in weights.items():
        p = weight / total
        assert abs(got[name] - n * p) <= 6 * (n * p * (1 - p)) ** 0.5 + 1


def test_a_bad_carrier_gets_calls_again_once_it_works() -> None:
    s = site({"a": {}, "b": {}}, routing={"breaker": {"failures": 3, "open_s": 1}})
    down = True
    got: Counter[str | None] = Counter()
    for n in range(3_000):
        now = n * 100
        down = n < 1_500
        trunk = s.dial(f"c{n}", now)
        if trunk == "a" and down:
            s.fail(f"c{n}", now + 1)
            assert s.dial(f"c{n}", now + 2) == "b"
        s.take(event("answered", f"c{n}", now + 3))
        s.take(event("ended", f"c{n}", now + 4, **OK))
        if n >= 2_500:
            got[trunk] += 1
    assert got["a"] > 150


def test_an_own_try_counts_before_it_is_read_back() -> None:
    router = TrunkRouter(plan({"a": {"calls": 1}}))
    router.begin(Try("c", 1, "c", "a", None, "e", 0))
    assert not router.choose(ask("d"), 1).ways


def test_a_fault_counts_that_is_read_after_the_next_try_has_begun() -> None:
    """The edge begins the next try at once, and reads its own `refused` later."""
    router = TrunkRouter(plan({"a": {}, "b": {}}, routing={"breaker": {"failures": 1}}))
    router.begin(Try("c", 1, "c", "a", None, "e", 0))
    router.begin(Try("c", 2, "c", "b", None, "e", 1))
    one = event("refused", "c", 2, try_no=1, cause_q850=38)
    router.evolve(one)
    router.evolve(one)
    assert (router.figures("a", 3).state, router.figures("a", 3).failures) == ("open", 1)
    assert router.figures("b", 3).calls == 1 and router.figures("b", 3).failures == 0
