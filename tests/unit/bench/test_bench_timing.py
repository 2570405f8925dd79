"""Alternating rounds and rates between samples, with a clock that the test sets."""

import pytest

from bench import timing


def test_sides_take_turns_and_the_first_round_is_not_counted() -> None:
    now, order = 0.0, []

    def working(name: str, seconds: list[float]) -> float:
        nonlocal now
        order.append(name)
        now += seconds[order.count(name) - 1]
        return 10.0

    rates = timing.alternate(
        {
            "a": lambda: working("a", [50.0, 1.0, 2.0, 5.0]),
            "b": lambda: working("b", [1.0, 2.0, 2.0, 2.0]),
        },
        3,
        clock_s=lambda: now,
    )
    assert order == ["a", "b"] * 4
    assert rates == {"a": [10.0, 5.0, 2.0], "b": [5.0, 5.0, 5.0]}
    assert timing.middle(rates, "a") == 5.0
    assert timing.spread(rates, "a", "b") == (0.4, 2.0)


def test_one_round_has_no_spread() -> None:
    assert timing.spread({"a": [1.0], "b": [2.0]}, "a", "b") is None


def test_a_rate_leaves_out_the_start_and_the_tail() -> None:
    samples = [(0.0, 0.0), (9.0, 0.0), (10.0, 20.0), (11.0, 60.0), (12.0, 90.0), (99.0, 100.0)]
    assert timing.rate_between(samples, 100) == 35.0


@pytest.mark.parametrize(
    "samples",
    [[], [(1.0, 0.0)], [(1.0, 100.0)], [(1.0, 10.0), (2.0, 80.0)]],
)
def test_too_few_samples_are_no_rate(samples: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="too few samples"):
        timing.rate_between(samples, 100)
