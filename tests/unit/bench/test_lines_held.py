"""What the benchmark of held calls makes of its steps."""

import pytest

from bench.lines.held import HeldStep, measure_of, round_trips


def step(calls: int, lost: float = 0.0, trip_ms: float = 9.0, pace: float = 1.0) -> HeldStep:
    return HeldStep(calls, 0, lost, pace, [trip_ms] * 20, 0.5, 0.3, 0.2, 0.6)


def test_the_last_step_that_held_counts_and_what_gave_is_named() -> None:
    measure = measure_of("rtp", [step(40), step(80), step(120, lost=0.02, trip_ms=240)])
    assert (measure.ours, measure.theirs) == (80, 120)
    assert measure.against == (
        "where it gave: 2.0% of the frames were lost; there and back 240 ms (p95)"
    )


def test_nothing_gives_and_everything_gives() -> None:
    assert measure_of("rtp", [step(40)]).against == "nothing gave"
    assert measure_of("rtp", [step(40, pace=0.9)]).ours == 0
    silent = HeldStep(40, 0, 1.0, 1.0, [], 0.1, 0.1, 0.1, 0.1)
    assert "lost" in silent.why_not[0] and "inf" in silent.told


def test_loud_frames_are_timed_from_when_they_were_due() -> None:
    started = [1_000_000, 3_000_000]
    assert round_trips([1_109_000, 3_090_000, 3_105_000], started) == pytest.approx([9, 1990, 5])
    assert round_trips([10], started) == []
