"""Parts of a pool: the bound of their fairness, and that none is wronged."""

import random

from hypothesis import given
from hypothesis import strategies as st

from bench.allocation.load import jobs, staff
from bench.allocation.parts import by_number, dealt, simulate
from streams.dispatch.fairness import Fairness

WEIGHTS = st.tuples(*[st.integers(1, 50)] * 3)


@given(WEIGHTS, st.lists(st.integers(0, 7), min_size=1, max_size=400), st.data())
def test_all_parts_together_are_off_by_a_fixed_number_of_turns(
    weights: tuple[int, int, int], order: list[int], data: st.DataObject
) -> None:
    """While every priority waits everywhere, each has its share of any number of turns of the whole
    pool, and at most one turn a part more or two a part less, whichever part's turn it is."""
    parts = [Fairness() for _ in range(data.draw(st.integers(1, 8)))]
    taken = [0, 0, 0]
    for turn, n in enumerate(order, 1):
        taken[parts[n % len(parts)].pick((0, 1, 2), weights)] += 1
        for rank, weight in enumerate(weights):
            share = turn * weight / sum(weights)
            assert share - 2 * len(parts) < taken[rank] < share + len(parts)


@given(st.integers(1, 60), st.integers(1, 8))
def test_robots_of_one_kind_are_dealt_evenly(count: int, among: int) -> None:
    robots = staff(count, random.Random(0))
    parts = dealt(robots, among)
    assert sorted(r.robot_id for part in parts for r in part) == [r.robot_id for r in robots]
    for kind in {str(sorted(r.skills.items())) for r in robots}:
        have = [sum(str(sorted(r.skills.items())) == kind for r in part) for part in parts]
        assert max(have) - min(have) <= 1


def test_a_part_has_all_of_a_number_and_every_task_is_served_once() -> None:
    robots, load = staff(40, random.Random(0)), jobs(40, 3, random.Random(1))
    assert sorted(j.n for part in by_number(load, 3) for j in part) == [j.n for j in load]
    served = simulate(robots, load, 1)
    assert sorted(s.job.n for s in served) == [j.n for j in load]
    assert {s.job.n for s in simulate(robots, load, 2)} <= {j.n for j in load}
