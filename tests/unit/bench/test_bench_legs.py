"""What the benchmark of legs says of a run."""

from bench.edge import Step
from bench.legs import measure_of


def step(received: int, dropped: int = 0, overflowed: int = 0) -> Step:
    """1,000 packets sent to ten legs."""
    return Step(10, 1_000, received, dropped, 0.5, 1.0, overflowed, 500, 500, [100, 2_000])


def test_all_legs_count_when_nothing_is_lost() -> None:
    measure = measure_of("10 legs", 10, step(1_000))
    assert (measure.ours, measure.met) == (10, True)
    assert "ticks late by 2 ms" in measure.note


def test_a_loss_misses_the_budget_and_the_kernels_part_is_told() -> None:
    measure = measure_of("10 legs", 10, step(990, overflowed=7))
    assert (measure.ours, measure.met) == (9, False)
    assert "10 lost, of which the kernel dropped 7" in measure.note
    assert not measure_of("10 legs", 10, step(1_000, dropped=1)).met
