"""The same load through the dispatch core, as its inbox would bring it."""

from collections import deque
from heapq import heappop, heappush

from bench.allocation.load import SimTask, Staff
from bench.allocation.outcome import Served
from schemas.events import CallEvent, Profile, RobotStatus, TaskRequested
from schemas.ids import root_id
from schemas.text import to_line
from streams.dispatch.facts import Output
from streams.dispatch.inputs import CallChanged, Liveness, Request, RobotChanged, TimerFired
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool

START_MS = 1_760_000_000_000
TICK_MS = 100
"""How often due timers are looked for, as the service does."""


def simulate(
    robots: list[Staff], jobs: list[SimTask], policy: Policy | None = None
) -> list[Served]:
    """Serves the jobs with `Pool.step`."""
    pool = Pool("bench", policy)
    by_id = {robot.robot_id: robot for robot in robots}
    by_task = {f"task-{job.n}": job for job in jobs}
    ends: list[tuple[int, str, CallChanged]] = []
    served: list[Served] = []

    def take(out: list[Output], now_ms: int) -> None:
        for _, event in out:
            if event.kind == "assigned":
                job, robot = by_task[event.task_id or ""], by_id[event.robot_id or ""]
                served.append(Served(job, robot, now_ms))
                over = _call(event.call_id or "", "ended")
                heappush(ends, (now_ms + job.lasts_ms, over.event_id, over))
                take(pool.step(_call(event.call_id or "", "dialing"), START_MS + now_ms), now_ms)

    for n, robot in enumerate(robots):
        take(pool.step(_robot(robot, n), START_MS), 0)
    pool.step(Liveness(root_id("w"), "worker", "robots/0", True, 0, ()), START_MS)
    pool.step(Liveness(root_id("e"), "edge", "edge-1", True, 1, ()), START_MS)
    coming, now = deque(jobs), 0
    while coming or ends:
        arrival = coming[0].arrives_ms if coming else None
        due = min(t for t in (arrival, ends[0][0] if ends else None) if t is not None)
        now += TICK_MS
        now = min(due, now)
        for timer in pool.take_due(START_MS + now):
            if timer.name != "lease":  # the edge says that its calls live
                fired = TimerFired(timer.event_id, timer.task_id, timer.name, timer.due_ms)
                take(pool.step(fired, START_MS + now), now)
        if arrival == now:
            take(pool.step(_request(coming.popleft()), START_MS + now), now)
        elif ends and ends[0][0] == now:
            take(pool.step(heappop(ends)[2], START_MS + now), now)
    return served


def _robot(robot: Staff, n: int) -> RobotChanged:
    status = RobotStatus(
        event_id=root_id("robot", n), occurred_at=START_MS, producer="bench", pool="bench",
        robot_id=robot.robot_id, skills=robot.skills, playbooks=["promotion"],
    )  # fmt: skip
    return RobotChanged(status.event_id, status, n)


def _request(job: SimTask) -> Request:
    profile = Profile(
        event_id=root_id("profile", job.n), occurred_at=START_MS, producer="bench", version=1,
        customer_id=f"customer-{job.n}", phone_hash=root_id("phone", job.n),
        tags=[f"industry:{job.industry}", *(["value:high"] if job.valued else [])],
    )  # fmt: skip
    task = TaskRequested(
        event_id=root_id("request", job.n), kind="requested", occurred_at=START_MS,
        producer="bench", task_id=f"task-{job.n}", customer_id=profile.customer_id, pool="bench",
        body_sha256="", phone=f"+8613{job.n:09d}", priority=job.priority,
        skills={job.industry: job.level}, playbook="promotion",
    )  # fmt: skip
    return Request(task.event_id, task, profile, to_line("customers.profiles", profile))


def _call(call_id: str, kind: str) -> CallChanged:
    event = CallEvent.model_validate(
        {"event_id": root_id(call_id, kind), "kind": kind, "occurred_at": START_MS,
         "producer": "bench", "call_id": call_id,
         "disposition": "completed" if kind == "ended" else None}
    )  # fmt: skip
    return CallChanged(event.event_id, event)
