"""A history as it should be: every check looks at something and finds nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import CustomerChange
from schemas.ids import root_id
from tests.unit.verify.campaign_world import MORNING, TOMORROW_3PM, CampaignWorld, profile
from tests.unit.verify.planted_campaigns import HOUR_MS, quick
from tests.unit.verify.world import Tables, World, judge
from verify.run import NAMES

WITHOUT_TABLES = tuple(n for n in NAMES if n not in ("status", "views", "history"))


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    for n in range(1, 4):
        world.whole_call(n)
    campaign = CampaignWorld(world).launch(concurrency=1, calls_per_s=1, caps={"number_day": 1})
    wish = campaign.ask(campaign.contact())
    call_id = world.call(wish, "明天下午三点再打给我", outcome="callback")
    world.now = TOMORROW_3PM
    world.call(campaign.call_back(call_id, wish, not_before=TOMORROW_3PM))
    world.windows()
    world.dead_letter("logs.app", 3, "no value")
    return world


def test_all_holds(world: World) -> None:
    results = judge(world, *WITHOUT_TABLES, "views", "history", tables=Tables(), idle=True)
    assert {n: r.violations for n, r in results.items() if r.total} == {}
    assert {n for n, r in results.items() if not r.looked_at} == set()
    assert {n for n, r in results.items() if r.open} == set()
    assert (results["calls"].looked_at, results["tasks"].looked_at) == (5, 5)
    assert results["turns"].looked_at == 14
    assert results["directives"].looked_at == 14


def test_a_customer_who_was_merged_into_another_is_folded_too() -> None:
    world = World()
    for n in (1, 2):
        world.whole_call(n)
    merge = CustomerChange(
        event_id=root_id("merge"), kind="merged", occurred_at=world.now, producer="api",
        customer_id="customer-1", merged_into="customer-2", source="api",
    )  # fmt: skip
    world.write("customers.changes", merge)
    world.whole_call(3)
    world.opt_out()
    results = judge(world, "ids", "routes", "profiles", idle=True)
    assert {n: r.violations for n, r in results.items() if r.total} == {}
    assert results["profiles"].looked_at == 3


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_repeats_change_nothing(world: World, data: st.DataObject) -> None:
    """A record that is written again, anywhere behind the first, is a repeat and nothing else."""
    entries = list(world.entries)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(entries) - 1))
        behind = data.draw(st.integers(at + 1, len(entries)))
        entries.insert(behind, entries[at])
    repeated = World(entries=entries, now=world.now)
    results = judge(repeated, *WITHOUT_TABLES, idle=True)
    assert {n: r.violations for n, r in results.items() if r.total} == {}
    plain = judge(world, *WITHOUT_TABLES, idle=True)
    assert {n: r.looked_at for n, r in results.items() if n != "ids"} == {
        n: r.looked_at for n, r in plain.items() if n != "ids"
    }
    assert results["ids"].repeats == len(entries) - len(world.entries)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_partitions_have_no_order_among_them(world: World, data: st.DataObject) -> None:
    """Only the order within a partition counts: any interleaving gives the same verdict."""
    queues: dict[tuple[str, int], list[int]] = {}
    for n, entry in enumerate(world.entries):
        queues.setdefault((entry.topic, entry.partition), []).append(n)
    order = data.draw(st.permutations(sorted(queues)))
    entries = [world.entries[n] for place in order for n in queues[place]]
    results = judge(World(entries=entries, now=world.now), *WITHOUT_TABLES, idle=True)
    assert {n: r.violations for n, r in results.items() if r.total} == {}


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 200))
def test_no_moment_of_a_running_system_is_a_violation(world: World, cut: int) -> None:
    """Whatever was written when the cut was taken: the rest is on its way, nothing is wrong."""
    entries = world.entries[:cut]
    running = World(entries=entries, now=entries[-1].timestamp_ms if entries else world.now)
    names = [n for n in WITHOUT_TABLES if n != "ids"]
    results = judge(running, *names, reached=frozenset())
    assert {n: r.violations for n, r in results.items() if r.total} == {}


def test_an_empty_log_is_told_as_such() -> None:
    results = judge(World(), *WITHOUT_TABLES, idle=True)
    assert all(not r.looked_at and not r.total for r in results.values())


def test_a_call_may_go_over_several_trunks_one_after_another() -> None:
    world = World()
    for n, trunk in enumerate(("a", "b", "c"), 1):
        world.call_event("call-5", "tried", try_no=n, trunk=trunk)
        if n < 3:
            world.call_event("call-5", "refused", try_no=n, cause_q850=38)
    world.call_event("call-5", "ringing")
    world.call_event("call-5", "ended")
    result = judge(world, "tries", idle=True)["tries"]
    assert (result.looked_at, result.violations) == (3, [])


def test_a_dial_that_the_edge_put_off_at_the_last_instant_is_within_the_law() -> None:
    world = World(now=MORNING + 12 * HOUR_MS)
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    world.task(wish, "queued")
    quick(world, wish, "unlawful", profile=profile())
    assert judge(world, "law", idle=True)["law"].total == 0
