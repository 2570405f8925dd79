"""The common first formula: `weight * 1.5 + number of matching skills`, highest weight first."""

from collections import deque
from heapq import heappop, heappush

from bench.allocation.load import PRIORITIES, SimTask, Staff
from bench.allocation.outcome import Served

WEIGHT = {"high": 3, "medium": 2, "low": 1}


def score(job: SimTask, robot: Staff) -> float:
    """The formula. Its first term is the same for every robot."""
    return WEIGHT[job.priority] * 1.5 + (job.industry in robot.skills)


def best(job: SimTask, idle: list[Staff]) -> Staff | None:
    """The robot with the highest score of those that have the level; of equals the first."""
    able = [r for r in idle if r.skills.get(job.industry, 0) >= job.level]
    return max(able, key=lambda robot: score(job, robot), default=None)


def simulate(robots: list[Staff], jobs: list[SimTask]) -> list[Served]:
    """Serves the jobs: at every arrival and end, the waiting job of the highest weight, then of the
    earliest arrival, that an idle robot can serve."""
    idle = {robot.robot_id: robot for robot in robots}
    order = [robot.robot_id for robot in robots]
    ends: list[tuple[int, int, Staff]] = []
    waiting: dict[tuple[str, str, int], deque[SimTask]] = {}
    served: list[Served] = []
    coming = deque(jobs)

    def serve(now_ms: int) -> None:
        while True:
            heads = [line[0] for line in waiting.values() if line]
            heads.sort(key=lambda job: (PRIORITIES.index(job.priority), job.n))
            free = [idle[name] for name in order if name in idle]
            pair = next(((j, r) for j in heads if (r := best(j, free)) is not None), None)
            if pair is None:
                return
            job, robot = pair
            waiting[job.priority, job.industry, job.level].popleft()
            del idle[robot.robot_id]
            heappush(ends, (now_ms + job.lasts_ms, job.n, robot))
            served.append(Served(job, robot, now_ms))

    while coming or ends:
        if coming and (not ends or coming[0].arrives_ms <= ends[0][0]):
            job = coming.popleft()
            now = job.arrives_ms
            waiting.setdefault((job.priority, job.industry, job.level), deque()).append(job)
        else:
            now, _, robot = heappop(ends)
            idle[robot.robot_id] = robot
        serve(now)
    return served
