"""RTP legs that one core of the edge carries, none lost: 20 ms of G.711 50 times a second each.

Sender and receiver are processes on loopback sockets. A number of legs is carried when everything
that was sent was taken in, nothing was dropped on the way to the log, and the receiver's CPU time
is less than the sound's length. The number grows until that fails.
"""

import multiprocessing
import resource
from dataclasses import dataclass, field
from typing import Any

from bench import edge_connections, edge_sender, edge_server
from bench.edge_server import Kind, Served
from bench.measure import Measure, Outcome
from bench.own_stack import own_stack
from ringlog.settings import Settings

BUDGET_LEGS = 1_000
_FIRST = 200
_LADDER = (0.6, 0.75, 0.9, 1.05, 1.2, 1.35)
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Step:
    """One number of legs tried. `share` is CPU time by sound time: cores needed. `overflowed` of
    the lost packets were dropped by the kernel; `late_us` has the lateness of shared ticks; `said`
    frames of ours were sent, and `came` to the far end."""

    legs: int
    sent: int
    received: int
    dropped: int
    share: float
    late: float
    overflowed: int = 0
    said: int = 0
    came: int = 0
    late_us: list[int] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Packets that were sent and not taken in."""
        return self.sent - self.received

    @property
    def carried(self) -> bool:
        """Whether a core carries that many."""
        return self.lost == 0 and self.dropped == 0 and self.share < 1.0


def attempt(
    kind: Kind, legs: int, seconds: float, config: Settings | None, cleaned: int = 0,
    cores: tuple[int | None, int | None] = (None, None),
) -> Step:  # fmt: skip
    """Sends `seconds` of sound on every leg to a fresh server, which cleans so many of them. The
    server's threads stay on the first of `cores`, the sender on the second."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    to_sender, at_sender = context.Pipe()
    here, there = cores
    far_end = edge_connections.main if kind in edge_server.SOCKETS else edge_sender.main
    asked = (kind, legs, config, theirs, cleaned, here)
    server = context.Process(target=edge_server.main, args=asked)
    sender = context.Process(target=far_end, args=(seconds, at_sender, there))
    try:
        server.start()
        sender.start()
        to_sender.send(_answer(ours, server))
        if kind in edge_server.SOCKETS:
            _answer(to_sender, sender)  # all connections are open
        ours.send("begin")
        to_sender.send("begin")
        sent: edge_sender.Sent = _answer(to_sender, sender)
        ours.send("end")
        served: Served = _answer(ours, server)
        came = 0
        if kind in edge_server.SOCKETS:
            to_sender.send("count")
            came = _answer(to_sender, sender)
    finally:
        for process in (sender, server):
            if process.pid is not None:
                process.join(5)
                process.kill()
                process.join()
    sound_s = sent.packets / legs / edge_sender.PACKETS_PER_S
    return Step(
        legs, sent.packets, served.received, served.dropped, served.cpu_s / sound_s,
        sent.wall_s / sound_s, served.overflowed, served.said, came, served.late_us,
    )  # fmt: skip


def _answer(pipe: Any, process: Any) -> Any:
    waited_s = 0.0
    while not pipe.poll(0.5):
        waited_s += 0.5
        if not process.is_alive() or waited_s > _PATIENCE_S:
            raise RuntimeError(f"{process.name} gives no answer")
    return pipe.recv()


def search(kind: Kind, seconds: float, config: Settings | None, first: int) -> list[Step]:
    """Steps up the ladder of what the first one promises, until one is not carried."""
    steps = [attempt(kind, first, seconds, config)]
    promised = first / steps[0].share
    for rung in _LADDER:
        if not steps[-1].carried:
            break
        legs = int(promised * rung)
        if legs > steps[-1].legs:
            steps.append(attempt(kind, legs, seconds, config))
    return steps


def best(steps: list[Step]) -> Step | None:
    """The largest number that was carried."""
    return max((s for s in steps if s.carried), key=lambda s: s.legs, default=None)


def _measure(kind: str, steps: list[Step]) -> Measure:
    top = best(steps)
    tried = ", ".join(
        f"{s.legs}: {s.share:.0%} of a core, {s.lost} lost, sent in {s.late:.2f} of its time"
        for s in steps
    )
    return Measure(
        what=f"legs per core, {kind}", unit="legs", ours=top.legs if top else 0, against="budget",
        theirs=BUDGET_LEGS, budget=1.0, note=tried,
    )  # fmt: skip


def run(quick: bool) -> Outcome:
    """The edge without and with a broker, and a bare protocol on as many legs."""
    seconds, first = (1.0, 20) if quick else (5.0, _FIRST)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if quick:
        alone = [attempt("edge", first, seconds, None)]
    else:
        alone = search("edge", seconds, None, first)
    top = best(alone) or alone[0]
    bare = attempt("bare", top.legs, seconds, None)
    with own_stack({"contract"}) as config:
        if quick:
            whole = [attempt("kafka", first, seconds, config)]
        else:
            whole = search("kafka", seconds, config, first)
    return Outcome(
        measures=[
            _measure("records encoded and dropped", alone),
            _measure("records sent to a broker", whole),
            Measure(
                what=f"legs per core by CPU time at {top.legs} legs, without a broker",
                unit="legs", ours=top.legs / top.share, against="bare uvloop protocol",
                theirs=bare.legs / bare.share,
                note=f"the peer parses the header and counts; it lost {bare.lost}",
            ),
        ],
        notes=[
            f"{seconds:.0f} s of sound a leg, one direction; CPU time in the kernel is included; "
            "the broker shares the machine"
        ],
    )  # fmt: skip
