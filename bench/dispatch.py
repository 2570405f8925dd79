"""The dispatch core with 10,000 robots, at 10,000 and at 1,000,000 queued tasks."""

import gc

from bench.dispatch_core import run as decide
from bench.measure import Measure, Outcome

BUDGET_PER_S = 10_000


def run(quick: bool) -> Outcome:
    """Decisions per second of CPU time, against the budget and against a short queue."""
    robots, short, long, decisions = (
        (200, 200, 5_000, 500) if quick else (10_000, 10_000, 1_000_000, 20_000)
    )
    few = decide(robots, short, decisions)
    gc.unfreeze()
    gc.collect()
    many = decide(robots, long, decisions)
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
        ],
        notes=["a decision is a call's end and the assignment that follows; no Kafka, no parsing"],
    )  # fmt: skip
