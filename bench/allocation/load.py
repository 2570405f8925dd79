"""The load of the simulation: robots, and tasks with their arrival and how long a call lasts."""

import random
from dataclasses import dataclass
from typing import Final

from schemas.events.tasks import Priority

INDUSTRIES: Final = ("loan", "retail", "travel", "care")
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "medium", "low")
SPECIALIST: Final = 5
"""The level from which a robot counts as a specialist."""
MEAN_CALL_S: Final = 60.0


@dataclass(frozen=True)
class Staff:
    """A robot; the order of the list is the order of their ids."""

    robot_id: str
    skills: dict[str, int]


@dataclass(frozen=True)
class SimTask:
    """A task. `level` is what it requires in its industry; `valued` is a customer of high value."""

    n: int
    arrives_ms: int
    lasts_ms: int
    priority: Priority
    industry: str
    level: int
    valued: bool


def staff(count: int, rng: random.Random) -> list[Staff]:
    """A tenth are specialists of one industry, the others have two industries at levels 1 to 3."""
    out = []
    for n in range(count):
        if n % 10 == 0:
            skills = {INDUSTRIES[n // 10 % len(INDUSTRIES)]: SPECIALIST}
        else:
            skills = {name: rng.randint(1, 3) for name in rng.sample(INDUSTRIES, 2)}
        out.append(Staff(f"robot-{n:03d}", skills))
    return out


def jobs(robots: int, minutes: int, rng: random.Random) -> list[SimTask]:
    """Poisson arrivals: 20 % more than the robots can serve in the first half of the time, 30 %
    less in the second. One customer in ten is of high value."""
    out: list[SimTask] = []
    at_s, end_s = 0.0, minutes * 60.0
    while True:
        share = 1.2 if at_s < end_s / 2 else 0.7
        at_s += rng.expovariate(share * robots / MEAN_CALL_S)
        if at_s >= end_s:
            return out
        out.append(
            SimTask(
                n=len(out),
                arrives_ms=int(at_s * 1_000),
                lasts_ms=int(1_000 * min(600.0, 5 + rng.expovariate(1 / (MEAN_CALL_S - 5)))),
                priority=rng.choices(PRIORITIES, (2, 5, 3))[0],
                industry=rng.choice(INDUSTRIES),
                level=rng.choice((1, 1, 1, 2)),
                valued=rng.random() < 0.1,
            )
        )
