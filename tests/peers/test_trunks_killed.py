"""Two carriers of a real Asterisk beside a real edge and broker: a carrier dies amid fifty calls,
and Asterisk itself amid twenty.

Trunks that are published count before a test's settings, on the log that the tests share. So this
file is the last in the alphabet.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import pytest

from demo.asterisk.instance import Asterisk
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from ingest.trunks.plan import SitePlan, default_plan
from ingest.trunks.publish import publish_plan
from ringlog.settings import Settings
from tests.integration.ingest.edge_world import World
from tests.integration.ingest.test_trunks import trunks, verified
from tests.peers.asterisk_world import tone
from tests.peers.test_harness import ari, until

pytestmark = [pytest.mark.needs("asterisk"), pytest.mark.stack, pytest.mark.timeout(300)]

CALLS = 50
PAIR = ("carrier-a", "carrier-b")
ANSWER = scripts.answer(say=tone(700, 60.0), after_s=0.0)


def plan(asterisk: Asterisk, rest_s: int) -> SitePlan:
    """Both carriers share the calls; who keeps silent for 2 s is passed over, and rests."""
    rest = {"failures": 3, "open_s": rest_s, "longest_s": rest_s}
    return SitePlan.model_validate(
        {
            "switches": {"pbx": {"type": "asterisk", "url": asterisk.base_url,
                                 "options": {"formats": "alaw"}}},
            "trunks": {n: {"switch": "pbx", "endpoint": f"PJSIP/{{digits}}@{n}"} for n in PAIR},
            "routing": {"no_response_s": 2, "tries": 4, "breaker": rest},
        }
    )  # fmt: skip


@pytest.fixture
async def world(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, rest_s: int,
) -> AsyncIterator[World]:  # fmt: skip
    """An edge that calls over both; nothing is left on the switch afterwards."""
    monkeypatch.setenv("RINGLOG_ARI_USER", asterisk.ari_user)
    monkeypatch.setenv("RINGLOG_ARI_PASSWORD", asterisk.password)
    for name in PAIR:
        carriers[name].default = ANSWER
    await asyncio.to_thread(publish_plan, stack, plan(asterisk, rest_s))
    try:
        async with World(stack, tmp_path) as made:
            yield made
            await until(lambda: ari(asterisk, "GET", "/channels") == [], 30.0)
    finally:
        await asyncio.to_thread(publish_plan, stack, default_plan(stack))


def in_state(world: World, calls: Iterable[str], kind: str) -> bool:
    """Whether the log has a record of this kind of every call."""
    return all(kind in world.log.kinds(call) for call in calls)


def over_or_answered(world: World, call: str) -> bool:
    """Whether it is known what became of a call."""
    return bool({"answered", "ended"} & set(world.log.kinds(call)))


def rung(carriers: dict[str, SipCarrier]) -> Counter[str]:
    """How often each number was called, over both carriers."""
    return Counter(call.number for name in PAIR for call in carriers[name].calls)


async def ended_by_robot(world: World, calls: Iterable[str]) -> None:
    """Hangs up what still runs, and waits for every end."""
    calls = list(calls)
    for call in calls:
        if "ended" not in world.log.kinds(call):
            await world.log.direct(call, "hangup", reason="completed")
    await world.log.until(partial(in_state, world, calls, "ended"), "all ended")


async def until_a_line_is_free(world: World) -> list[str]:
    """One call after another, until one is answered; gives them all. While all trunks rest, a call
    ends without a line."""
    calls: list[str] = []
    for _ in range(60):
        calls.append(call := await world.log.assign())
        await world.log.until(partial(over_or_answered, world, call), "a probe")
        if "answered" in world.log.kinds(call):
            return calls
        await asyncio.sleep(1.0)
    raise AssertionError("no trunk came back")


@pytest.mark.parametrize("rest_s", [600])
async def test_a_carrier_killed_amid_fifty_calls(
    world: World, carriers: dict[str, SipCarrier]
) -> None:
    """Nobody is called twice, later calls go over the other, which keeps its conversations."""
    log, (a, b) = world.log, (carriers[name] for name in PAIR)
    first = [await log.assign() for _ in range(CALLS // 2)]
    await log.until(partial(in_state, world, first, "answered"), "the first half answered")
    assert a.live and b.live, "both carry calls"
    before, kept = len(a.calls), b.live
    a.kill()
    second = [await log.assign() for _ in range(CALLS // 2)]
    await log.until(partial(in_state, world, second, "answered"), "the second half answered")

    assert len(a.calls) == before and all(call.ending is None for call in kept)
    assert len(b.live) == CALLS - before, "all are on the other now"
    assert max(rung(carriers).values()) == 1 and len(rung(carriers)) == CALLS
    for call in first:
        assert len(trunks(log.call(call), "tried")) == 1
    for call in second:
        tried = trunks(log.call(call), "tried")
        assert tried in (["carrier-b"], ["carrier-a", "carrier-b"])
        assert trunks(log.call(call), "refused") == tried[:-1]

    # It rests: the last ones did not even try it.
    late = [await log.assign() for _ in range(5)]
    await log.until(partial(in_state, world, late, "answered"), "five more")
    assert {tuple(trunks(log.call(call), "tried")) for call in late} == {("carrier-b",)}
    await ended_by_robot(world, first + second + late)
    assert {len([e for e in log.call(c) if e.kind == "ended"]) for c in first + second} == {1}
    verified(log.events["calls.events"])


@pytest.mark.parametrize("rest_s", [2])
async def test_asterisk_killed_and_started_again_amid_calls(
    world: World, asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    """Its calls are told as over, whoever is to be called meanwhile is called once or not at all,
    and calls go on when it is back and its trunks have rested."""
    log = world.log
    calls = [await log.assign() for _ in range(20)]
    await log.until(partial(in_state, world, calls, "answered"), "all answered")
    asterisk.kill()
    meanwhile = [await log.assign() for _ in range(3)]
    await asyncio.sleep(1.0)
    await asyncio.to_thread(asterisk.start)
    await log.until(partial(in_state, world, calls, "ended"), "the end of all its calls")
    for call in calls:
        (over,) = [event for event in log.call(call) if event.kind == "ended"]
        assert over.cause_q850 is not None and over.cause_q850 != 16

    probes = await until_a_line_is_free(world)
    again = [await log.assign() for _ in range(5)]
    await log.until(partial(in_state, world, again, "answered"), "calls go on")
    await ended_by_robot(world, again + probes + meanwhile)
    assert max(rung(carriers).values()) == 1, "nobody was called twice"
    verified(log.events["calls.events"], len(calls))
