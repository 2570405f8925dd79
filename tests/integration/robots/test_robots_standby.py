"""Robot workers die, stall and come back under running calls: real processes on a real broker.

What is asserted always: every final has one turn, every answer is what was asked for, once. How
long a takeover takes is asserted in the heavy tests alone.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringlog.clock import now_ms
from schemas.events import Directive
from schemas.ids import call_once_id
from tests.integration.robots.scene import Site
from tests.integration.robots.standby_run import Run, Workers, paused, spread

pytestmark = pytest.mark.stack

CALLS = 8
BAR_S = 3.0


@pytest.fixture
async def run(site: Site, tmp_path: Path) -> AsyncIterator[Run]:
    """Two workers, eight calls in the node where they stay."""
    workers = Workers(site.config, tmp_path)
    made = Run(site, workers)
    following = asyncio.create_task(made.follow())
    try:
        for name in ("a", "b"):
            workers.start(name)
        await made.speaks()
        await made.begin(CALLS)
        yield made
        for call in made.calls:
            await call.event("ended", event_id=call_once_id(call.call_id, "ended"))
    finally:
        made.close()
        following.cancel()
        await asyncio.to_thread(workers.stop_all)


def broker_pid(run: Run) -> int:
    pids: dict[str, int] = json.loads(run.site.config.pids_file.read_text())
    return pids["kafka"]


async def follower_ready(run: Run, name: str) -> None:
    """Waits until a worker that was started has read the log."""
    await asyncio.to_thread(run.workers.until_follows, name)


async def kills(run: Run, seed: int, count: int) -> tuple[list[float], list[float]]:
    """Kills the speaker so often, at any moment; returns s from each death to its successor's
    first answer, and the longest wait for an answer around it."""
    chance = random.Random(seed)
    deaths, epochs = list[tuple[float, int]](), list[float]()
    run.keep_asking(seed)
    for _ in range(count):
        await follower_ready(run, run.follower)
        await asyncio.sleep(chance.random() * 0.8)
        name, epoch = await run.speaks(), run.lease.epoch
        deaths.append((time.monotonic(), epoch))
        run.workers.kill(name)
        await run.speaks(than=epoch)
        epochs.append(time.monotonic() - deaths[-1][0])
        run.workers.start(name)
        await run.site.until(lambda e=epoch: bool(run.answers_of(e)))  # type: ignore[misc]
    await run.stop_asking()
    run.check()
    run.check_claims()
    nexts = [run.next_answer_s(*death) for death in deaths]
    waits = [run.longest_wait_s(*death) for death in deaths]
    print(f"\nfrom death to new epoch   {spread(epochs)}")
    print(f"from death to next answer {spread(nexts)}")
    print(f"longest wait for one      {spread(waits)}")
    return nexts, waits


async def test_calls_go_on_through_kills(run: Run) -> None:
    await kills(run, seed=5, count=4)


@pytest.mark.heavy
@pytest.mark.timeout(600)
async def test_twenty_kills_and_the_next_answer_within_three_seconds(run: Run) -> None:
    nexts, waits = await kills(run, seed=1, count=20)
    assert len(nexts) == 20
    assert max(nexts) <= BAR_S
    assert max(waits) <= BAR_S


async def test_a_stalled_follower_takes_nothing_away(run: Run) -> None:
    await follower_ready(run, run.follower)
    run.keep_asking(2)
    for _ in range(2):
        await run.speaks()
        with paused(run.workers.processes[run.follower].pid):
            await asyncio.sleep(1.2)
        await asyncio.sleep(1.0)
    await run.stop_asking()
    run.check()
    run.check_claims()


async def test_a_speaker_that_wakes_up_has_nothing_more_to_say(run: Run) -> None:
    await follower_ready(run, run.follower)
    run.keep_asking(3)
    for _ in range(2):
        name, epoch, known = await run.speaks(), run.lease.epoch, len(run.stale)
        with paused(run.workers.processes[name].pid):
            stopped_ms = now_ms()
            await run.site.until(lambda e=epoch: run.lease.epoch > e)  # type: ignore[misc]
            await asyncio.sleep(1.2)
        await follower_ready(run, name)
        await asyncio.sleep(0.5)
        # What it had decided before arrives late, and counts nowhere; it decides nothing more.
        assert [d for d in run.stale[known:] if d.occurred_at > stopped_ms] == []
    await run.stop_asking()
    run.check()
    run.check_claims()


async def test_a_broker_that_stalls_loses_nothing(run: Run) -> None:
    await follower_ready(run, run.follower)
    run.keep_asking(4)
    await asyncio.sleep(1.0)
    epoch = run.lease.epoch
    with paused(broker_pid(run)):
        await asyncio.sleep(2.0)
    await asyncio.sleep(1.0)
    await run.stop_asking()
    run.check()
    print("\nepoch", epoch, "->", run.lease.epoch)


@pytest.mark.heavy
@pytest.mark.timeout(400)
async def test_a_broker_that_stalls_often_changes_no_speaker(run: Run) -> None:
    await follower_ready(run, run.follower)
    run.keep_asking(6)
    taken, pauses = 0, 12
    for n in range(pauses):
        await run.speaks()
        epoch = run.lease.epoch
        await asyncio.sleep(1.0 + n * 0.017)  # at another moment between two heartbeats each time
        with paused(broker_pid(run)):
            await asyncio.sleep(2.0)
        await asyncio.sleep(0.5)
        taken += run.lease.epoch != epoch
    await run.stop_asking()
    run.check()
    print(f"\ntakeovers in {pauses} pauses: {taken}")
    assert taken == 0


@pytest.mark.heavy
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_broker_that_restarts_loses_nothing(run: Run, how: signal.Signals) -> None:
    await follower_ready(run, run.follower)
    run.keep_asking(7)
    await asyncio.sleep(1.0)
    pid, epoch, begun = broker_pid(run), run.lease.epoch, time.monotonic()
    os.kill(pid, how)
    while broker_pid_or_none(run) in (pid, None):
        await asyncio.sleep(0.05)
    before = len(run.turns)
    await run.site.until(lambda: len(run.turns) > before + 2 * CALLS)
    print(f"\nbroker away and back in {time.monotonic() - begun:.1f} s;",
          "epoch", epoch, "->", run.lease.epoch)  # fmt: skip
    await run.stop_asking()
    run.check()
    alive = [name for name, p in run.workers.processes.items() if p.poll() is None]
    assert alive == ["a", "b"]


def broker_pid_or_none(run: Run) -> int | None:
    try:
        return broker_pid(run)
    except (OSError, KeyError, ValueError):
        return None


@pytest.mark.parametrize("text", ["不需要", "转人工"])
async def test_a_speaker_that_dies_at_its_last_words(run: Run, text: str) -> None:
    prompt, end = {"不需要": ("goodbye", "hangup"), "转人工": ("transferring", "transfer")}[text]
    await follower_ready(run, run.follower)
    finals = [await run.ask(call, text, [prompt]) for call in run.calls]
    run.workers.kill(await run.speaks())
    await run.all_answered()
    run.check()
    ends = [d.causation_id for d in run.accepted.values() if d.kind == end]
    assert sorted(i or "" for i in ends) == sorted(finals)
    last: dict[str, Directive] = {}
    for d in run.accepted.values():
        last[d.call_id or ""] = d
    assert {last[call.call_id].kind for call in run.calls} == {end}
