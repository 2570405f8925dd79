"""The dispatch core with 10,000 robots, at 10,000 and at 1,000,000 queued tasks."""

import gc

from bench.dispatch_core import checkpoint
from bench.dispatch_core import run as decide
from bench.measure import Measure, Outcome

BUDGET_PER_S = 10_000
RESTART_S = 10.0
CHANGES = 500


def run(quick: bool) -> Outcome:
    """Decisions per second of CPU time, against the budget and against a short queue."""
    robots, short, long, decisions = (
        (200, 200, 5_000, 500) if quick else (10_000, 10_000, 1_000_000, 20_000)
    )
    few = decide(robots, short, decisions)
    gc.unfreeze()
    gc.collect()
    many = decide(robots, long, decisions)
    gc.unfreeze()
    gc.collect()
    kept = checkpoint(robots, long, CHANGES)
    what = f"decisions with {robots:,} robots and {long:,} queued tasks"
    return Outcome(
        measures=[
            Measure(
                what=what, unit="decisions/s", ours=many.decisions_per_s, against="budget",
                theirs=BUDGET_PER_S, budget=1.0,
                note=f"queueing {many.queue_per_s:,.0f} tasks/s, "
                f"{many.memory_bytes / 2**20:,.0f} MiB resident at most",
            ),
            Measure(
                what=what, unit="decisions/s", ours=many.decisions_per_s,
                against=f"{short:,} queued tasks", theirs=few.decisions_per_s,
                note="1 is a cost that does not grow with the queue at all",
            ),
            Measure(
                what=f"a checkpoint after {CHANGES} ended calls, {long:,} queued", unit="KB",
                ours=kept.bytes_of_changes / 1_000, against="the whole state",
                theirs=kept.bytes_of_all / 1_000, budget=None,
                note=f"of it the head {kept.bytes_of_head:,} bytes; {kept.save_s * 1_000:,.1f} ms",
            ),
            Measure(
                what=f"reading back {long:,} tasks", unit="s", ours=kept.load_s, against="budget",
                theirs=RESTART_S, budget=1.0, bound="at most",
                note="without the changelog's transfer",
            ),
        ],
        notes=["a decision is a call's end and the assignment that follows; no Kafka, no parsing"],
    )  # fmt: skip
