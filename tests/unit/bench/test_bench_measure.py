"""Ratios and budgets."""

import pytest

from bench.measure import Measure


def measure(
    ours: float, theirs: float, budget: float | None = None, bound: str = "at least"
) -> Measure:
    return Measure.model_validate(
        {"what": "w", "unit": "u", "ours": ours, "against": "a", "theirs": theirs,
         "budget": budget, "bound": bound}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs", "budget", "bound", "met"),
    [
        (86, 100, 0.85, "at least", True),
        (84, 100, 0.85, "at least", False),
        (480, 500, 1.0, "at most", True),
        (510, 500, 1.0, "at most", False),
        (500, 500, 1.0, "at most", True),
        (1, 0, 1.0, "at least", False),
        (1, 2, None, "at least", None),
    ],
)
def test_a_budget_bounds_the_ratio(
    ours: float, theirs: float, budget: float | None, bound: str, met: bool | None
) -> None:
    assert measure(ours, theirs, budget, bound).met is met


def test_no_ratio_to_nothing() -> None:
    assert measure(5, 0).ratio is None
    assert measure(5, 2).ratio == 2.5
