"""The network is cut for one robot worker, or for both, under running calls.

Each worker that can be cut off is in a network namespace of its own. A cut is a black hole:
connections stay open, and what was sent arrives when it ends, or (`reset`) gets lost with them.
How long something takes decides nothing here.
"""

import asyncio
import random
from pathlib import Path

import pytest

from ringlog.clock import now_ms
from streams.robots.leadership import Timing
from tests.integration.robots.apart import run_apart
from tests.integration.robots.relay import Cut, Relay
from tests.integration.robots.scene import Call, Site
from tests.integration.robots.standby_run import QUESTIONS, Run

pytestmark = pytest.mark.stack

CUT_S = 2.0


async def cut_speaker(
    run: Run, relays: dict[str, Relay], seconds: float, what: Cut = "all", *, reset: bool = False
) -> tuple[int, int]:
    """Cuts off whoever speaks until the other does, and at least so long. Returns its epoch, and
    when its fence was over, ms: what it decides later would be a fault."""
    name, epoch, worker = await run.speaks(), run.lease.epoch, run.lease.worker
    late = len(run.late)
    fence_s = Timing(death=run.workers.death_ms / 1000).fence
    with relays[name].cut(what, reset=reset):
        cut_ms, healed = now_ms(), asyncio.create_task(asyncio.sleep(seconds))
        await ask_each(run, run.calls[::2])
        await asyncio.sleep(fence_s + 0.1)
        # From here to the takeover nobody may answer. These have no decision in flight.
        await ask_each(run, run.calls[1::2])
        assert await run.speaks(than=epoch) != name
        await run.site.until(lambda: bool(run.answers_of(epoch)))
        await healed
    await run.site.until(lambda: any(x.worker == worker for x in run.late[late:]))
    return epoch, int(cut_ms + fence_s * 1000) + 50


async def ask_each(run: Run, calls: list[Call]) -> None:
    for call in calls:
        await run.ask(call, *QUESTIONS[0])


async def finish(run: Run, *fences: tuple[int, int]) -> None:
    """Whoever does not speak now must be able to; then the verdict. Its answers come after all
    that it wrote late."""
    name, epoch = await run.speaks(), run.lease.epoch
    run.workers.kill(name)
    await run.speaks(than=epoch)
    await ask_each(run, run.calls)
    await run.stop_asking()
    run.check()
    run.check_claims()
    for fenced, from_ms in fences:
        assert [d for d in run.stale if d.epoch == fenced and d.occurred_at > from_ms] == []


async def test_a_follower_cut_off_takes_nothing_away(site: Site, tmp_path: Path) -> None:
    # A long death time: on a loaded machine the speaker itself may be silent for half a second.
    async with run_apart(site, tmp_path, apart="b", death_ms=1500) as (run, relays):
        run.keep_asking(8)
        epoch = run.lease.epoch
        for reset in (False, True, False):
            with relays["b"].cut(reset=reset):
                await asyncio.sleep(CUT_S)
            await asyncio.sleep(0.5)
        assert (run.lease.epoch, run.speaker) == (epoch, "a")
        assert run.stale == []
        await finish(run)


async def test_a_speaker_cut_off_is_replaced_and_follows(site: Site, tmp_path: Path) -> None:
    async with run_apart(site, tmp_path, apart="ab") as (run, relays):
        run.keep_asking(9)
        fences = [await cut_speaker(run, relays, CUT_S, reset=reset) for reset in (False, True)]
        await finish(run, *fences)


async def test_what_a_speaker_could_not_write_counts_nowhere(site: Site, tmp_path: Path) -> None:
    async with run_apart(site, tmp_path, apart="a", death_ms=2000) as (run, relays):
        fence = await cut_speaker(run, relays, CUT_S, "writes")
        run.keep_asking(10)
        await run.site.until(lambda: bool(run.stale))
        await finish(run, fence)
        said = {d.directive_id for d in run.stale if d.kind == "say"}
        assert said and said <= run.accepted.keys()  # the successor said the same, once


async def test_both_cut_off_lose_nothing(site: Site, tmp_path: Path) -> None:
    async with run_apart(site, tmp_path, apart="ab") as (run, relays):
        run.keep_asking(11)
        for reset in (False, True):
            epoch = run.lease.epoch
            with relays["a"].cut(reset=reset), relays["b"].cut(reset=reset):
                await asyncio.sleep(1.5)
            await asyncio.sleep(0.5)
            await run.all_answered()
            print(f"\nreset {reset}: epoch {epoch} -> {run.lease.epoch}")
        await run.speaks()
        await finish(run)


@pytest.mark.heavy
@pytest.mark.timeout(400)
async def test_cuts_that_last_about_as_long_as_a_death(site: Site, tmp_path: Path) -> None:
    """Late records arrive before, in and after the takeover."""
    chance, taken, cuts = random.Random(12), 0, 40
    async with run_apart(site, tmp_path, apart="ab") as (run, relays):
        run.keep_asking(12)
        for n in range(cuts):
            name, epoch = await run.speaks(), run.lease.epoch
            what: Cut = "writes" if n % 2 else "all"
            with relays[name].cut(what, reset=chance.random() < 0.3):
                await asyncio.sleep(0.3 + chance.random() * 0.5)
            await asyncio.sleep(1.0)
            await run.all_answered()
            taken += run.lease.epoch != epoch
        print(f"\ntakeovers in {cuts} cuts: {taken}; stale directives: {len(run.stale)}")
        await finish(run)


@pytest.mark.heavy
@pytest.mark.timeout(400)
async def test_cuts_longer_than_any_request_may_take(site: Site, tmp_path: Path) -> None:
    async with run_apart(site, tmp_path, apart="ab") as (run, relays):
        run.keep_asking(13)
        fences = []
        for reset in (False, True):
            fences.append(await cut_speaker(run, relays, 14.0, reset=reset))
            with relays[run.follower].cut(reset=reset):
                await asyncio.sleep(14.0)
            await asyncio.sleep(1.0)
        await finish(run, *fences)
