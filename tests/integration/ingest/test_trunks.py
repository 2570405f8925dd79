"""Two simulated carriers beside a real edge and broker; one of them dies amid fifty calls."""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingest.trunks.plan import SitePlan, default_plan
from ingest.trunks.publish import publish_plan, told
from ringlog.settings import Settings
from schemas.events import CallEvent
from tests.integration.ingest.edge_world import Carrier, World
from verify.check import Context
from verify.checks.tries import CallTries
from verify.record import LogRecord

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

CALLS = 50


@pytest.fixture
async def other() -> AsyncIterator[Carrier]:
    """The second carrier."""
    made = Carrier(0)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def world(stack: Settings, other: Carrier, tmp_path: Path) -> AsyncIterator[World]:
    rest = {"open_s": 600, "longest_s": 600}  # no probe amid a test
    await publish(stack, plan(stack, other, tries=4, breaker=rest))
    async with World(stack, tmp_path) as made:
        yield made
    await publish(stack, default_plan(stack))


def plan(config: Settings, other: Carrier, **routing: Any) -> SitePlan:
    return SitePlan.model_validate(
        {
            "switches": {"one": {"type": "sim", "url": config.sim_url},
                         "two": {"type": "sim", "url": f"http://127.0.0.1:{other.port}"}},
            "trunks": {"a": {"switch": "one", "calls": CALLS}, "b": {"switch": "two"}},
            "routing": {"no_response_s": 2, **routing},
        }
    )  # fmt: skip


async def publish(config: Settings, wanted: SitePlan) -> None:
    await asyncio.to_thread(publish_plan, config, wanted)


def trunks(events: list[CallEvent], kind: str) -> list[str | None]:
    return [event.trunk for event in events if event.kind == kind]


async def test_a_carrier_killed_amid_fifty_calls(world: World, other: Carrier) -> None:
    log = world.log
    calls = [await log.assign() for _ in range(CALLS // 2)]
    await log.until(
        lambda: all(c in world.carrier.phones or c in other.phones for c in calls), "the first half"
    )
    kept = [call for call in calls if call in other.phones]
    lost = [call for call in calls if call in world.carrier.phones]
    assert kept and lost, "both carry calls"
    # A carrier gives up a try that it had taken: the other is asked.
    given_up = await log.assign()
    carriers = world.carrier, other
    await log.until(lambda: any(given_up in c.phones for c in carriers), "the first carrier")
    await log.status(given_up, "refused", try_no=1, cause_q850=34)
    await log.until(lambda: all(given_up in c.phones for c in carriers), "the second carrier")
    asked = [a for c in carriers for a in c.asked if a["call_id"] == given_up]
    assert sorted(a["try_no"] for a in asked) == [1, 2]
    assert [event.try_no for event in log.call(given_up) if event.kind == "refused"] == [1]
    await log.direct(given_up, "hangup", reason="completed")
    await log.until(lambda: "ended" in log.kinds(given_up), "its end")

    for call in kept:
        await log.status(call, "ringing")
        await log.status(call, "answered")
    await world.carrier.stop()
    calls += [await log.assign() for _ in range(CALLS // 2)]
    await log.until(lambda: all(c in other.phones for c in calls), "the other carries all")

    for call in lost:  # silence of the dead carrier, then the other
        assert trunks(log.call(call), "tried") == ["a", "b"]
        refused = next(event for event in log.call(call) if event.kind == "refused")
        assert (refused.trunk, refused.cause_q850) == ("a", 102)
    for call in kept:
        assert trunks(log.call(call), "tried") == ["b"]
    for call in calls[CALLS // 2 :]:
        tried = trunks(log.call(call), "tried")
        assert tried in (["b"], ["a", "b"])
        assert trunks(log.call(call), "refused") == tried[:-1]
    ids = [a["call_id"] for a in other.asked]
    assert len(ids) == len(set(ids)), "nobody is asked for twice"

    # The dead carrier rests: the last ones did not even try it.
    late = [await log.assign() for _ in range(5)]
    await log.until(lambda: all(c in other.phones for c in late), "five more")
    assert {tuple(trunks(log.call(call), "tried")) for call in late} == {("b",)}
    statuses = await asyncio.to_thread(told, world.config)
    for _ in range(50):
        statuses = await asyncio.to_thread(told, world.config)
        if "a" in statuses and statuses["a"].state != "closed":
            break
        await asyncio.sleep(0.1)
    assert statuses["a"].state == "open" and statuses["a"].reason in ("cause 38", "cause 102")
    verified(log.events["calls.events"])


async def test_a_restarted_edge_knows_the_trunk_of_its_calls(world: World, other: Carrier) -> None:
    log = world.log
    calls = [await log.assign() for _ in range(6)]
    await log.until(
        lambda: all(c in world.carrier.phones or c in other.phones for c in calls), "all placed"
    )
    for call in calls:
        await log.status(call, "answered")
    await log.until(lambda: all("answered" in log.kinds(c) for c in calls), "all answered")
    await world.edge.end(9)
    await world.edge.start()
    for call in calls:
        await log.direct(call, "hangup", reason="completed")
    await log.until(lambda: all("ended" in log.kinds(c) for c in calls), "all ended")
    await log.until(
        lambda: set(world.carrier.hung_up) | set(other.hung_up) >= set(calls), "all hung up"
    )
    for call in calls:
        held, spared = (
            (world.carrier, other) if call in world.carrier.phones else (other, world.carrier)
        )
        assert call in held.hung_up and call not in spared.hung_up
        assert (
            len([a for c in (world.carrier, other) for a in c.asked if a["call_id"] == call]) == 1
        )


async def test_a_change_of_the_plan_counts_for_the_next_call(world: World, other: Carrier) -> None:
    log = world.log
    paused = plan(world.config, other).model_dump()
    paused["trunks"]["a"]["state"] = "paused"
    await publish(world.config, SitePlan.model_validate(paused))
    await asyncio.sleep(1)
    calls = [await log.assign() for _ in range(8)]
    await log.until(lambda: all(c in other.phones for c in calls), "all by the other")
    assert world.carrier.asked == []
    listed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "trunks", "list", "--json", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await listed.communicate()
    rows = {row["trunk"]: row for row in json.loads(out)}
    assert listed.returncode == 0 and rows["a"]["state"] == "paused"
    assert rows["b"]["switch"] == "two" and rows["b"]["state"] == "closed"


def verified(events: list[Any], tries: int = CALLS) -> None:
    """What `ringlog verify` says of the tries, of which there are more than so many."""
    check, seen = CallTries(), set[str]()
    places = itertools.count()
    for event in events:
        first = event.event_id not in seen
        seen.add(event.event_id)
        record = LogRecord(
            "calls.events", 0, next(places), event.occurred_at, None, event.model_dump(),
            first=first,
        )  # fmt: skip
        check.feed(record)
    result = check.finish(Context(judged_ms=0, read_ms=0))
    assert result.violations == [] and result.looked_at > tries
