"""CPU time of alternating rounds: a disturbance hits both sides of a comparison."""

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median

Rates = dict[str, list[float]]
"""Units per second of CPU time, one value a round, by name."""


def alternate(
    work: Mapping[str, Callable[[], float]],
    rounds: int,
    clock_s: Callable[[], float] = time.process_time,
) -> Rates:
    """Calls each function in turn, `rounds` times over; each returns the units that it did.

    The CPU time of all threads of the process counts; one untimed round comes first.
    """
    rates: Rates = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, function in work.items():
            gc.collect()
            began_s = clock_s()
            units = function()
            spent_s = clock_s() - began_s
            if turn:
                rates[name].append(units / spent_s)
    return rates


def middle(rates: Rates, name: str) -> float:
    """Median rate."""
    return median(rates[name])


def spread(rates: Rates, ours: str, theirs: str) -> tuple[float, float] | None:
    """Lowest and highest ratio of two names within a round; None for a single round."""
    ratios = [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
    return (min(ratios), max(ratios)) if len(ratios) > 1 else None


def rate_between(samples: list[tuple[float, float]], total: float, upto: float = 0.9) -> float:
    """Units per second from the first sample above 0 to the first at `upto` of `total`.

    Samples are (time in s, units so far). Leaves out the start before and the tail after, where
    the last block waits for more. Raises ValueError where there are no two such samples.
    """
    begun = [s for s in samples if s[1] > 0]
    reached = next((s for s in begun if s[1] >= upto * total), None)
    if reached is None or reached[0] <= begun[0][0]:
        raise ValueError("too few samples between the start and the end: use more rows")
    return (reached[1] - begun[0][1]) / (reached[0] - begun[0][0])
