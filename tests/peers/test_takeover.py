"""A lost edge's calls go on: a real Asterisk holds them, and another edge takes them over.

What is measured is what the customer heard.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from demo.asterisk.instance import Asterisk
from demo.sip import scripts
from demo.sip.call import SipCall
from demo.sip.carrier import SipCarrier
from ringlog.settings import Settings
from schemas.events import MediaChunk, Transcript
from tests.integration.asr.log import Log as Transcripts
from tests.integration.asr.log import first_finals
from tests.integration.asr.test_service import Worker
from tests.integration.ingest.edge_world import Log, World
from tests.peers.asterisk_world import strongest_hz, tone
from tests.peers.test_asterisk_edge import NUMBER, answered, incoming, running
from tests.peers.test_harness import ari, until
from tests.unit.asr_worker.material import SENTENCES, VOICES, utterance
from verify.check import Check, Context
from verify.checks.calls import Calls
from verify.checks.numbers import LinesInUse
from verify.checks.tries import CallTries
from verify.record import LogRecord

pytestmark = [pytest.mark.needs("asterisk"), pytest.mark.stack, pytest.mark.timeout(300)]

CALLS = 20
ROBOT_HZ, CALLER_HZ = 300, 700

GENEROUS_S = 15.0
"""A machine of two cores runs it beside other tests; what is measured is printed."""


async def talking(world: World, carrier: SipCarrier, edge: str, n: int) -> dict[str, SipCall]:
    """Calls of an edge, each with a robot that talks and a caller who does, by their ids."""
    log, prompt = world.log, world.prompt(30_000)
    calls: dict[str, SipCall] = {}
    for _ in range(n):
        call = await log.assign(edge=edge)
        calls[call] = await carrier.next_call(30)
    for call in calls:
        await log.until(partial(answered, world, call), "the answer")
        await log.direct(call, "say", prompt_sha256=prompt, barge_in="never")
    for call, far in calls.items():
        await log.until(lambda c=call: log.chunks(c, "customer"), "the caller")  # type: ignore[misc]
        await log.until(far.media.voiced, "the robot")
    return calls


def edge_now(log: Log, call: str) -> str | None:
    """The edge of a call, as its records tell."""
    moves = [e.edge_id for e in log.call(call) if e.kind == "moved"]
    return moves[-1] if moves else log.call(call)[0].edge_id


async def gap_s(log: Log, far: SipCall, died_s: float) -> float:
    """How long the customer heard no robot after a moment."""
    await log.until(lambda: far.media.voiced(died_s + 0.5), "the robot's voice")
    heard = far.media.voiced(died_s - 1.0)
    return max(b - a for a, b in itertools.pairwise(heard))


async def recognisable(log: Log, call: str, after_ms: int) -> None:
    """The caller's sound reaches the log again, at its true call time, on a leg of its own."""

    def since() -> list[MediaChunk]:
        chunks = [c for c in log.chunks(call, "customer") if c.kind == "chunk"]
        return [c for c in chunks if c.occurred_at > after_ms]

    def opened_ms(chunks: Iterable[MediaChunk]) -> int:
        """Chunks are dated late when they come late, never early."""
        return min(
            c.occurred_at - c.leg_start_ms - (c.rtp_ts - c.leg_start_ts) * 1000 // c.rate_hz
            for c in chunks
        )

    await log.until(lambda: len(since()) > 10, "the caller's sound")
    first = opened_ms([c for c in log.chunks(call, "customer") if c.kind == "chunk"][:10])
    await log.until(lambda: abs(opened_ms(since()) - first) < 1_000, "one call clock")


def verified(log: Log, calls: Iterable[str]) -> None:
    """What `ringlog verify` says of these calls."""
    mine, seen, places = set(calls), set[str](), itertools.count()
    checks: list[Check] = [Calls(), CallTries(), LinesInUse(None)]
    for event in log.events["calls.events"]:
        if event.call_id not in mine:
            continue
        first = event.event_id not in seen
        seen.add(event.event_id)
        record = LogRecord(
            "calls.events", 0, next(places), event.occurred_at, None, event.model_dump(),
            first=first,
        )  # fmt: skip
        for check in checks:
            check.feed(record)
    for check in checks:
        result = check.finish(Context(judged_ms=0, read_ms=0))
        assert result.violations == [], check.name
        assert result.looked_at > 0, check.name


async def ends(world: World, calls: dict[str, SipCall]) -> None:
    """Every call is ended by its robot, and the customer's line with it."""
    log = world.log
    for call in calls:
        await log.direct(call, "stop")
        await log.direct(call, "hangup", reason="completed")
    for call, far in calls.items():
        await log.until(lambda c=call: "ended" in log.kinds(c), "the end")  # type: ignore[misc]
        assert log.call(call)[-1].disposition == "completed"
        await asyncio.wait_for(far.ended.wait(), 30)


@pytest.mark.parametrize("media", ["rtp", "audiosocket", "websocket-in"])
async def test_two_edges_one_killed(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, media: str,
) -> None:  # fmt: skip
    """The calls of the dead one go on with the other, whose own are not disturbed."""
    carrier = carriers["carrier-a"]
    carrier.default = scripts.answer(say=tone(CALLER_HZ, 120.0), after_s=0.0)
    async with running(stack, asterisk, tmp_path, monkeypatch, media) as world:
        log = world.log
        await world.far.start()
        own = await talking(world, carrier, "edge", 2)
        lost = await talking(world, carrier, "edge-2", CALLS if media == "rtp" else 5)
        died_s = time.time()
        await world.far.end(signal.SIGKILL)
        gaps = sorted([await gap_s(log, far, died_s) for far in lost.values()])
        print(f"\n{media}: the robot is heard again after {gaps[0]:.2f} to {gaps[-1]:.2f} s,"
              f" median {gaps[len(gaps) // 2]:.2f}")  # fmt: skip
        assert gaps[-1] < GENEROUS_S
        for call in own:
            assert log.kinds(call).count("playout_started") == 1
            assert "playout_ended" not in log.kinds(call)
        for call, far in lost.items():
            await recognisable(log, call, round(died_s * 1000) + 500)
            assert (edge_now(log, call), log.kinds(call).count("moved")) == ("edge", 1)
            again = far.media.heard(far.media.voiced(died_s + 0.5)[0])[:4_000]
            assert strongest_hz(again) == pytest.approx(ROBOT_HZ, abs=10)
        assert all(edge_now(log, call) == "edge" for call in own)
        await ends(world, own | lost)
        assert len(carrier.calls) == len(own | lost), "nobody is dialled twice"
        verified(log, own | lost)


async def test_an_edge_killed_and_started_again(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nobody else is there: it goes on with its calls itself."""
    carrier = carriers["carrier-a"]
    carrier.default = scripts.answer(say=tone(CALLER_HZ, 120.0), after_s=0.0)
    async with running(stack, asterisk, tmp_path, monkeypatch, "rtp") as world:
        log = world.log
        calls = await talking(world, carrier, "edge", CALLS)
        died_s = time.time()
        await world.edge.end(signal.SIGKILL)
        await world.edge.start()
        gaps = sorted([await gap_s(log, far, died_s) for far in calls.values()])
        print(f"\nstarted again: the robot is heard after {gaps[0]:.2f} to {gaps[-1]:.2f} s")
        for call in calls:
            await recognisable(log, call, round(died_s * 1000) + 500)
            assert "moved" not in log.kinds(call)
        await ends(world, calls)
        assert len(carrier.calls) == CALLS, "nobody is dialled twice"
        verified(log, calls)


async def test_two_edges_die_one_after_the_other(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The first comes back before the second dies, and gets its calls back: one that talks, one
    that only rang, one that came in. What ended meanwhile stays so."""
    carrier, other = carriers["carrier-a"], carriers["carrier-b"]
    carrier.default = scripts.answer(say=tone(CALLER_HZ, 120.0), after_s=0.0)
    carrier.when("*77", scripts.answer(rings_s=9.0, say=tone(CALLER_HZ, 120.0), after_s=0.0))
    async with running(stack, asterisk, tmp_path, monkeypatch, "rtp") as world:
        log = world.log
        await world.far.start()
        here, before = (asterisk.host, asterisk.sip_port), incoming(world)
        caller = await other.dial(here, NUMBER, caller="+8613912345677")
        (came,) = await log.until(lambda: incoming(world) - before, "the call that came in")
        caller.media.play(tone(CALLER_HZ, 120.0))
        calls = await talking(world, carrier, "edge-2", 3)
        goes, _, stays = calls
        rings = await log.assign(edge="edge-2", phone="+8613800000077")
        calls[rings] = await carrier.next_call(30)
        await log.until(lambda: "ringing" in log.kinds(rings), "the ringing")
        await world.far.end(signal.SIGKILL)
        for call in calls:
            await log.until(lambda c=call: edge_now(log, c) == "edge", "the move")  # type: ignore[misc]
        calls.pop(goes).hang_up()
        await log.until(lambda: "ended" in log.kinds(goes), "the end of who left")
        await log.until(lambda: "answered" in log.kinds(rings), "the answer")
        await log.direct(rings, "say", prompt_sha256=world.prompt(30_000), barge_in="never")
        await log.until(calls[rings].media.voiced, "the robot")

        await world.far.start()
        died_s = time.time()
        await world.edge.end(signal.SIGKILL)
        calls[came] = caller
        await log.direct(came, "say", prompt_sha256=world.prompt(30_000), barge_in="never")
        for call, far in calls.items():
            await log.until(lambda c=call: edge_now(log, c) == "edge-2", "the move")  # type: ignore[misc]
            await log.until(partial(far.media.voiced, died_s + 1.0), "the robot")
            await recognisable(log, call, round(died_s * 1000) + 500)
        assert [e.move_no for e in log.call(stays) if e.kind == "moved"] == [1, 2]
        await ends(world, calls)
        assert len(carrier.calls) == 4, "nobody is dialled twice"
        verified(log, [*calls, goes])


async def test_a_stalled_edge_wakes_up_and_leaves_its_calls_alone(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It has lost them meanwhile; new ones are its own."""
    carrier = carriers["carrier-a"]
    carrier.default = scripts.answer(say=tone(CALLER_HZ, 120.0), after_s=0.0)
    async with running(stack, asterisk, tmp_path, monkeypatch, "rtp") as world:
        log = world.log
        await world.far.start()
        calls = await talking(world, carrier, "edge-2", 3)
        world.far.send_signal(signal.SIGSTOP)
        for call in calls:
            await log.until(lambda c=call: edge_now(log, c) == "edge", "the move")  # type: ignore[misc]
        # Asterisk has given up the stalled edge's socket by then, and the media legs are gone.
        await asyncio.sleep(8.0)
        woke_s = time.time()
        world.far.send_signal(signal.SIGCONT)
        await log.until(
            lambda: world.far.log.read_text().count("another edge has taken the call") == 3,
            "it lets go",
        )
        fresh = await talking(world, carrier, "edge-2", 1)
        for call, far in calls.items():
            await log.until(partial(far.media.voiced, woke_s + 2.0), "the robot")
            await recognisable(log, call, round(woke_s * 1000) + 2_000)
            assert log.kinds(call).count("moved") == 1
        assert edge_now(log, next(iter(fresh))) == "edge-2"
        await ends(world, calls | fresh)
        assert len(carrier.calls) == 4, "nobody is dialled twice"
        verified(log, calls | fresh)
        # A leg that the stalled edge made as it woke up is nobody's, and is swept.
        await until(lambda: ari(asterisk, "GET", "/channels") == [], 60.0)


async def test_the_caller_is_recognised_over_the_move(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What a caller says after the edge's death is a final of the same call, at its call time."""
    said, pause = utterance(SENTENCES[2], VOICES[0]), np.zeros(12_000, np.int16)
    carrier = carriers["carrier-a"]
    words = np.concatenate([pause, said] * 20)
    carrier.default = scripts.answer(say=words, after_s=0.0)
    recogniser, finals = Worker(stack, 20), Transcripts(stack)
    try:
        async with running(stack, asterisk, tmp_path, monkeypatch, "rtp") as world:
            log = world.log
            await world.far.start()
            await asyncio.to_thread(recogniser.wait_ready)
            since = finals.ends()

            async def heard(call: str, from_ms: int) -> list[Transcript]:
                found = first_finals(await asyncio.to_thread(finals.transcripts, since))
                return [t for t in found if t.call_id == call and t.start_ms >= from_ms]

            async def recognised(call: str, from_ms: int = 0) -> Transcript:
                async with asyncio.timeout(90):
                    while True:
                        right = [t for t in await heard(call, from_ms) if t.text == SENTENCES[2]]
                        if right:
                            return right[0]
                        await asyncio.sleep(0.2)

            calls = await talking(world, carrier, "edge-2", 3)
            before = {call: await recognised(call) for call in calls}
            died_ms = round(time.time() * 1000)
            await world.far.end(signal.SIGKILL)
            for call, first in before.items():
                answered_ms = next(e.occurred_at for e in log.call(call) if e.kind == "answered")
                after = await recognised(call, died_ms - answered_ms + 1_000)
                assert after.ssrc != first.ssrc, "by a media leg of the heir's"
                spoken_ms = after.occurred_at - answered_ms
                assert after.start_ms < after.end_ms < spoken_ms + 1_000, "one call clock"
            await ends(world, calls)
            verified(log, calls)
    finally:
        recogniser.stop()
        finals.close()
