"""The dispatch core with 10,000 robots, at 10,000 and at 1,000,000 queued tasks, and the service
through Kafka and Faust."""

import gc

from bench.dispatch_core import checkpoint
from bench.dispatch_core import run as decide
from bench.dispatch_host import run as serve
from bench.measure import Measure, Outcome

BUDGET_PER_S = 10_000
HOST_BUDGET_PER_S = 2_000
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
    served = serve(*((50, 200, 500) if quick else (1_000, 10_000, 20_000)))
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
                note="CPU time, without the changelog's transfer",
            ),
            Measure(
                what=f"decisions through Kafka and Faust with {served.robots:,} robots and "
                f"{served.queued:,} queued tasks", unit="decisions/s", ours=served.decisions_per_s,
                against="budget", theirs=HOST_BUDGET_PER_S, budget=1.0,
                note=f"{served.cpu_us:,.0f} us of the service's CPU time each; checkpoints of "
                f"{served.changelog_bytes_per_s / 1_000:,.0f} KB/s",
            ),
        ],
        notes=[
            "a decision is a call's end and the assignment that follows; in the core no Kafka and "
            "no parsing, and CPU time; through Kafka elapsed time, with the broker and what ends "
            "the calls on the same cores",
        ],
    )  # fmt: skip
