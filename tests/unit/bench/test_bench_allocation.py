"""The simulation behind `docs/why/dispatch.md`: the reference formula, and what both serve."""

import random

from bench.allocation import formula, ours
from bench.allocation.__main__ import charts, run, tables
from bench.allocation.load import SimTask, Staff, jobs, staff


def _job(n: int, **values: object) -> SimTask:
    return SimTask(**{"n": n, "arrives_ms": 0, "lasts_ms": 1_000, "priority": "low",
                  "industry": "loan", "level": 1, "valued": False, **values})  # type: ignore[arg-type]  # fmt: skip


def test_the_formula_gives_every_tie_to_the_first_robot_whatever_its_level() -> None:
    first, expert = Staff("a", {"loan": 1}), Staff("b", {"loan": 5})
    valued = _job(1, valued=True, priority="high")
    assert formula.score(valued, first) == formula.score(valued, expert) == 5.5
    assert formula.best(valued, [first, expert]) is first
    assert formula.best(_job(2, level=2), [first, expert]) is expert


def test_the_formula_serves_the_low_only_when_no_high_one_waits() -> None:
    work = [_job(0), _job(1), *(_job(n, priority="high") for n in range(2, 9))]
    served = formula.simulate([Staff("a", {"loan": 1})], work)
    assert [s.job.n for s in served] == [0, *range(2, 9), 1]


def test_both_serve_every_job_once_by_a_robot_that_has_the_level() -> None:
    people, load = staff(20, random.Random(1)), jobs(20, 10, random.Random(1))
    for simulate in (formula.simulate, ours.simulate):
        served = simulate(people, load)
        assert sorted(s.job.n for s in served) == [job.n for job in load]
        assert all(s.robot.skills[s.job.industry] >= s.job.level for s in served)
        busy: dict[str, int] = {}
        for one in sorted(served, key=lambda s: s.began_ms):
            assert busy.get(one.robot.robot_id, 0) <= one.began_ms
            busy[one.robot.robot_id] = one.began_ms + one.job.lasts_ms


def test_the_page_has_both_and_charts() -> None:
    found = run(20, 10, 1)
    assert "| | formula | ours |" in tables(found, 20, 10, 1)
    assert set(charts(found)) == {"dispatch-waits.svg", "dispatch-use.svg"}
