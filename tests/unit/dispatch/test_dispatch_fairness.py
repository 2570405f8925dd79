"""Smooth weighted round robin: exact shares, and nobody starves whoever else comes and goes."""

from hypothesis import given
from hypothesis import strategies as st

from streams.dispatch.fairness import Fairness

WEIGHTS = st.tuples(*[st.integers(1, 9)] * 3)


@given(weights=WEIGHTS)
def test_a_round_serves_every_priority_as_often_as_its_weight(weights: tuple[int, ...]) -> None:
    fairness, total = Fairness(), sum(weights)
    for _ in range(3):
        served = [fairness.pick((0, 1, 2), weights) for _ in range(total)]
        assert [served.count(rank) for rank in range(3)] == list(weights)
    assert fairness.credits == [0, 0, 0]


@given(
    weights=WEIGHTS,
    waiting=st.integers(0, 2),
    others=st.lists(st.sets(st.integers(0, 2)), min_size=100, max_size=200),
)
def test_who_waits_is_served_within_a_bound_whoever_comes_and_goes(
    weights: tuple[int, ...], waiting: int, others: list[set[int]]
) -> None:
    fairness, since = Fairness(), 0
    for contenders in others:
        picked = fairness.pick(sorted(contenders | {waiting}), weights)
        since = 0 if picked == waiting else since + 1
        assert since <= 3 * sum(weights) / weights[waiting]
