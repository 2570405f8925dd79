"""A fixed number of the edge's legs and connections for a minute, on one core, with nothing lost.

The edge's process stays on one core with all its threads, the far end on the other. Lost is what
was sent and not taken in; the part of it that the kernel dropped, because a socket's buffer was
full, is told apart.
"""

import os
import resource

from bench.edge import Step, attempt
from bench.edge_server import CLEANED, Kind
from bench.measure import Measure, Outcome, Skipped

LEGS = 1_000
CONNECTIONS = 200
SECONDS = 60.0
CLEANED_SHARE = 0.02
"""Share of the legs whose sound is cleaned: noise and echo of one cost nearly 1 % of a core."""


def run(quick: bool) -> Outcome:
    """RTP legs, some of them cleaned, and connections of both kinds. Raises Skipped on a machine
    with one core."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise Skipped("one core for the edge and one for the far end")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    legs, connections, seconds = (20, 10, 1.0) if quick else (LEGS, CONNECTIONS, SECONDS)
    measures = []

    def hold(kind: Kind, count: int, what: str, cleaned: int = 0) -> None:
        step = attempt(kind, count, seconds, None, cleaned, (mine[0], mine[1]))
        measures.append(measure_of(what, count, step))

    hold("edge", legs, f"{legs} RTP legs for {seconds:.0f} s")
    cleaned = max(1, round(legs * CLEANED_SHARE))
    what = f"{legs} RTP legs for {seconds:.0f} s, {cleaned} of them cleaned ({CLEANED.mark})"
    hold("edge", legs, what, cleaned)
    hold("audiosocket", connections, f"{connections} AudioSocket connections for {seconds:.0f} s")
    hold("websocket", connections, f"{connections} chan_websocket connections for {seconds:.0f} s")
    return Outcome(
        measures=measures,
        notes=[
            "G.711, 20 ms a packet; the edge's sockets, receivers, sessions, chunkers and media "
            "log, whose records are encoded and dropped; all its threads on one core, the far end "
            "on another, which also does the kernel's work of loopback; where none is named, "
            "cleaning is the site's default, `off`",
            "RTP is one direction; on connections a robot talks all the time as well",
        ],
    )


def measure_of(what: str, count: int, step: Step) -> Measure:
    """All legs, where nothing was lost; else fewer by the share that was, and by one at least."""
    lost = step.lost + step.dropped
    carried = count - (0 if not lost else max(1, count * lost // step.sent))
    late = sorted(step.late_us)
    ticks = f"ticks late by {late[len(late) * 99 // 100] / 1000:.0f} ms (p99)" if late else ""
    back = f", {step.said} sent back, {step.said - step.came} of them lost" if step.said else ""
    return Measure(
        what=f"{what}, lost nothing on", unit="legs", ours=carried, against="budget",
        theirs=count, budget=1.0,
        note=f"{step.sent} packets sent, {step.lost} lost, of which the kernel dropped "
        f"{step.overflowed}, {step.dropped} on the way to the log{back}; {step.share:.0%} of a "
        f"core; {ticks}; sent in {step.late:.2f} of the time",
    )  # fmt: skip
