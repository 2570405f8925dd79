"""Calls held through a real Asterisk at once: more and more of them, until sound is lost or late.

Three processes share the machine: Asterisk, the edge's driver and sessions (this one), and a far
end that sends every packet back. Each call's robot talks all the time, in sentences of 2 s with one
loud frame, whose way there and back is timed.
"""

import asyncio
import multiprocessing
import resource
import socket
import time
from bisect import bisect_right
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import psutil
import uvloop

from bench.lines import meter
from bench.lines.own_lines import OwnCall, OwnLines
from bench.measure import Measure, Outcome, Skipped
from demo.asterisk import system
from demo.asterisk.instance import Asterisk, free_port
from demo.asterisk.page import TrunkAddress
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from ingest.asterisk.media import MediaKind
from ingest.sound.playout import Prompt, Say
from ingest.sound.types import FRAME_MS
from ingest.trunks.driver import Refused

KINDS: Final[tuple[MediaKind, ...]] = ("rtp", "audiosocket", "websocket-in")
STEP: Final = 40
MOST: Final = 480
"""Asterisk has 2,000 ports for RTP here, four of them a call."""

WINDOW_S: Final = 8.0
SETTLE_S: Final = 2.0
PLACE_EVERY_S: Final = 0.03

MOST_LOST: Final = 0.005
MOST_LATE_MS: Final = 100.0
LEAST_PACE: Final = 0.99
"""A step is held while at most so much is lost, the way there and back takes at most so long (p95),
and the edge sends at least so much of what is due."""

_FRAMES: Final = 100
_LOUD_AT: Final = 5
_SENTENCE: Final = Prompt(
    tuple(bytes([0 if n == _LOUD_AT else 0xF0]) * 160 for n in range(_FRAMES)), (60.0,) * _FRAMES
)


@dataclass(frozen=True)
class HeldStep:
    """One number of calls, measured for `WINDOW_S`. Shares of a core: `asterisk`, `edge`,
    `far_end`; `machine` is all that ran, as a share of all cores. Delays are ms."""

    calls: int
    refused: int
    lost: float
    pace: float
    round_trips: list[float]
    asterisk: float
    edge: float
    far_end: float
    machine: float

    @property
    def p95_ms(self) -> float:
        """Of the way there and back; infinite when nothing came back."""
        return meter.percentile(self.round_trips, 0.95) if self.round_trips else float("inf")

    @property
    def why_not(self) -> list[str]:
        """What gave; empty while all is held."""
        found = []
        if self.refused:
            found.append(f"{self.refused} calls were not set up")
        if self.lost > MOST_LOST:
            found.append(f"{self.lost:.1%} of the frames were lost")
        if self.p95_ms > MOST_LATE_MS:
            found.append(f"there and back {self.p95_ms:.0f} ms (p95)")
        if self.pace < LEAST_PACE:
            found.append(f"the edge sent {self.pace:.1%} of its frames")
        return found

    @property
    def told(self) -> str:
        """In one line."""
        trips = self.round_trips or [float("inf")]
        return (
            f"{self.calls}: there and back {meter.percentile(trips, 0.5):.0f} ms, p95 "
            f"{self.p95_ms:.0f}; lost {self.lost:.2%}; cores: Asterisk {self.asterisk:.2f}, edge "
            f"{self.edge:.2f}, far end {self.far_end:.2f}; machine {self.machine:.0%}"
        )


def run(quick: bool) -> Outcome:
    """The largest number of calls by each kind of media, and what gave at the next. Raises Skipped
    where there is no Asterisk."""
    if (why := system.reason_absent()) is not None:
        raise Skipped(f"asterisk: {why}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    step, most, window_s = (4, 8, 2.0) if quick else (STEP, MOST, WINDOW_S)
    measures = []
    for media in KINDS:
        port = free_port("127.0.0.11", socket.SOCK_DGRAM)
        trunk = TrunkAddress("carrier-a", "127.0.0.11", port)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        far_end = context.Process(target=_far_end, args=(trunk, theirs))
        asterisk = Asterisk([trunk])
        try:
            asterisk.start()
            far_end.start()
            ours.recv()
            pids = (asterisk.pid, far_end.pid or 0)
            steps = uvloop.run(_ramp(asterisk, media, pids, step, most, window_s))
        finally:
            far_end.kill()
            far_end.join()
            asterisk.close()
        measures.append(measure_of(media, steps))
    return Outcome(
        measures=measures,
        notes=[
            f"{step} calls more at a time, each number held for {window_s:.0f} s; sound both ways, "
            "a SIP far end that echoes, A-law on the trunk; Asterisk, the edge's driver and "
            "sessions (no records, no recogniser) and the far end share the machine's cores",
            "the far end's CPU time is the benchmark's, not the product's",
        ],
    )


def measure_of(media: MediaKind, steps: list[HeldStep]) -> Measure:
    """The last step that held, against the one that did not."""
    held = max((step.calls for step in steps if not step.why_not), default=0)
    last = steps[-1]
    gave = "; ".join(last.why_not)
    told = " | ".join(step.told for step in steps)
    return Measure(
        what=f"calls held through Asterisk by {media}", unit="calls", ours=held,
        against=f"where it gave: {gave}" if gave else "nothing gave", theirs=last.calls,
        note=told,
    )  # fmt: skip


async def _ramp(
    asterisk: Asterisk, media: MediaKind, pids: tuple[int, int], step: int, most: int,
    window_s: float,
) -> list[HeldStep]:  # fmt: skip
    steps: list[HeldStep] = []
    calls: list[OwnCall] = []
    async with OwnLines(asterisk, "carrier-a", media, talks=_sentence) as lines:
        for wanted in range(step, most + 1, step):
            refused = await _more(lines, calls, wanted)
            await asyncio.sleep(SETTLE_S)
            step_done = await _measured(calls, refused, pids, window_s)
            if step_done.why_not:  # once more: a hiccup of the machine is no limit
                step_done = await _measured(calls, refused, pids, window_s)
            steps.append(step_done)
            if step_done.why_not:
                break
    return steps


def _sentence(call: OwnCall) -> None:
    """The next sentence; at first two, so that none ends before another is there."""
    for _ in range(2 if call.session.playout.idle else 1):
        call.session.play(Say("d", "p", _SENTENCE))


async def _more(lines: OwnLines, calls: list[OwnCall], wanted: int) -> int:
    """Places calls up to `wanted`, spread out; how many failed."""
    placing = []
    for n in range(len(calls), wanted):
        placing.append(asyncio.create_task(lines.place(f"held-{n}", f"139{n:08d}")))
        await asyncio.sleep(PLACE_EVERY_S)
    failed = 0
    for done in await asyncio.gather(*placing, return_exceptions=True):
        if isinstance(done, OwnCall):
            calls.append(done)
        elif isinstance(done, Refused | TimeoutError):
            failed += 1
        else:
            raise done
    return failed


async def _measured(
    calls: list[OwnCall], refused: int, pids: tuple[int, int], window_s: float
) -> HeldStep:
    for call in calls:
        call.loud_us.clear()
    before, spent = _frames(calls), _cpu_s(pids)
    psutil.cpu_percent()
    began_s = time.monotonic()
    await asyncio.sleep(window_s)
    passed_s = time.monotonic() - began_s
    machine = psutil.cpu_percent() / 100
    after, spent_then = _frames(calls), _cpu_s(pids)
    out, came = after[0] - before[0], after[1] - before[1]
    due = len(calls) * passed_s * 1000 / FRAME_MS
    shares = [(b - a) / passed_s for a, b in zip(spent, spent_then, strict=True)]
    trips = [trip for call in calls for trip in round_trips(call.loud_us, call.started_us)]
    return HeldStep(
        len(calls), refused, max(0.0, 1 - came / max(1, out)), out / max(1.0, due), trips,
        shares[0], shares[2], shares[1], machine,
    )  # fmt: skip


def round_trips(loud_us: list[int], started_us: list[int]) -> list[float]:
    """How long loud frames took there and back, ms, by the time when each was due."""
    due_us = [started + _LOUD_AT * FRAME_MS * 1000 for started in started_us]
    places = [(at, bisect_right(due_us, at)) for at in loud_us]
    return [(at - due_us[n - 1]) / 1000 for at, n in places if n]


def _frames(calls: list[OwnCall]) -> tuple[int, int]:
    sessions = [call.session for call in calls]
    return sum(s.frames_out for s in sessions), sum(s.frames_in for s in sessions)


def _cpu_s(pids: tuple[int, int]) -> list[float]:
    """CPU time so far of Asterisk, the far end, and this process."""
    spent: list[Any] = [psutil.Process(pid).cpu_times() for pid in pids]
    return [*(times.user + times.system for times in spent), time.process_time()]


def _far_end(trunk: TrunkAddress, ready: Connection) -> None:
    """Entry of the far end's process: echoes every call until it is killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def serve() -> None:
        carrier = SipCarrier(trunk.name, trunk.host, trunk.port)
        carrier.default = scripts.echo()
        await carrier.start()
        ready.send("ready")
        await asyncio.Event().wait()

    uvloop.run(serve())
