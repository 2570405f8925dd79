"""What became of the load, and the figures that compare two ways of serving it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.allocation.load import PRIORITIES, SPECIALIST, SimTask, Staff

ORDINARY_VALUE: Final = 1.0
HIGH_VALUE: Final = 10.0


@dataclass(frozen=True)
class Served:
    """A job, who served it, and when its call began."""

    job: SimTask
    robot: Staff
    began_ms: int

    @property
    def waited_s(self) -> float:
        """From its arrival."""
        return (self.began_ms - self.job.arrives_ms) / 1_000

    @property
    def value(self) -> float:
        """What the call is worth, as we assume: it succeeds in 10 % and 8 % more for every level of
        the robot, and counts ten times as much with a customer of high value."""
        level = self.robot.skills[self.job.industry]
        return (0.10 + 0.08 * level) * (HIGH_VALUE if self.job.valued else ORDINARY_VALUE)


@dataclass(frozen=True)
class Figures:
    """`waits` has (mean, 95th percentile, longest) in seconds by priority."""

    waits: dict[str, tuple[float, float, float]]
    valued_by_specialists: float
    """Share of the customers of high value whom a specialist served."""
    specialists_for_valued: float
    """Share of the specialists' calls that were with customers of high value."""
    value: float
    spread: float
    """How unevenly robots were used: the standard deviation of their busy time, over its mean."""


def figures(served: Sequence[Served], robots: Sequence[Staff]) -> Figures:
    """Raises ValueError when a priority has no job."""
    waits = {}
    for priority in PRIORITIES:
        found = sorted(s.waited_s for s in served if s.job.priority == priority)
        if not found:
            raise ValueError(f"no job of priority {priority}")
        p95 = found[int(0.95 * (len(found) - 1))]
        waits[str(priority)] = (sum(found) / len(found), p95, found[-1])
    valued = [s for s in served if s.job.valued]
    by_specialist = [s for s in served if s.robot.skills[s.job.industry] >= SPECIALIST]
    both = sum(s.job.valued for s in by_specialist)
    busy = dict.fromkeys((r.robot_id for r in robots), 0)
    for s in served:
        busy[s.robot.robot_id] += s.job.lasts_ms
    mean = sum(busy.values()) / len(busy)
    deviation = (sum((b - mean) ** 2 for b in busy.values()) / len(busy)) ** 0.5
    return Figures(
        waits,
        both / max(1, len(valued)),
        both / max(1, len(by_specialist)),
        sum(s.value for s in served),
        deviation / mean,
    )
