"""Decisions per second of the dispatch core, at several lengths of the queue.

`python -m bench.dispatch_core [--robots N] [--queue N,N,…] [--decisions N]`

A decision is one call's end and the assignment that follows from it: the robot becomes idle, the
best waiting task of the priority whose turn it is goes to the best idle robot, and both are
written as events. Reading, parsing and Kafka are not in it. Times are CPU time.
"""

import argparse
import gc
import json
import random
import resource
import time
from dataclasses import dataclass

from schemas.events import CallEvent, Profile, RobotStatus, TaskEvent, TaskRequested
from schemas.ids import root_id
from schemas.text import to_line
from streams.dispatch.inputs import CallChanged, Liveness, Request, RobotChanged
from streams.dispatch.pool import Pool
from streams.dispatch.snapshot import Snapshots

SKILLS = ("sales", "care", "collect", "survey", "invite", "retail", "loan", "travel")
PRIORITIES = ("high", "medium", "low")
START_MS = 1_760_000_000_000


@dataclass(frozen=True)
class Result:
    """One length of the queue."""

    robots: int
    queued: int
    decisions: int
    decisions_per_s: float
    queue_per_s: float
    memory_bytes: int


def robots(count: int, rng: random.Random) -> list[RobotChanged]:
    """Robots of three skills each, with levels from 1 to 5."""
    out = []
    for n in range(count):
        status = RobotStatus(
            event_id=root_id("robot", n),
            occurred_at=START_MS,
            producer="bench",
            robot_id=f"robot-{n:05d}",
            pool="bench",
            skills={s: rng.randint(1, 5) for s in rng.sample(SKILLS, 3)},
            playbooks=["promotion"],
        )
        out.append(RobotChanged(status.event_id, status, n))
    return out


def request(n: int, rng: random.Random) -> Request:
    """A request for one skill at some level."""
    profile = Profile(
        event_id=root_id("profile", n),
        occurred_at=START_MS,
        producer="bench",
        customer_id=f"customer-{n}",
        version=1,
        purchase_intent=0.2,
        phone_hash=root_id("phone", n),
    )
    task = TaskRequested(
        event_id=root_id("request", n),
        kind="requested",
        occurred_at=START_MS,
        producer="bench",
        task_id=root_id("task", n),
        customer_id=f"customer-{n}",
        pool="bench",
        body_sha256="",
        phone=f"+8613{n:09d}",
        priority=rng.choice(PRIORITIES),
        skills={rng.choice(SKILLS): rng.randint(1, 4)},
        playbook="promotion",
    )
    return Request(task.event_id, task, profile, to_line("customers.profiles", profile))


def ended(assigned: TaskEvent) -> CallChanged:
    """The end of a call."""
    event = CallEvent(
        event_id=root_id(assigned.call_id or "", "ended"),
        kind="ended",
        occurred_at=START_MS,
        producer="bench",
        call_id=assigned.call_id,
        task_id=assigned.task_id,
        disposition="completed",
    )
    return CallChanged(event.event_id, event)


def run(robot_count: int, queued: int, decisions: int, seed: int = 1) -> Result:
    """Fills the pool, then ends calls one by one and refills; only `Pool.step` is timed."""
    rng = random.Random(seed)
    pool = Pool("bench")
    for changed in robots(robot_count, rng):
        pool.step(changed, START_MS)
    pool.step(Liveness(root_id("w"), "worker", "robots/0", True, 0, ()), START_MS)
    pool.step(Liveness(root_id("e"), "edge", "edge-1", True, 1, ()), START_MS)
    active: list[TaskEvent] = []
    queue_s = 0.0
    gc.freeze()
    n = 0

    def ask() -> None:
        nonlocal n, queue_s
        record = request(n, rng)
        n += 1
        began = time.thread_time()
        out = pool.step(record, START_MS + n)
        queue_s += time.thread_time() - began
        active.extend(e for _, e in out if isinstance(e, TaskEvent) and e.kind == "assigned")

    while len(pool.tasks) - len(active) < queued:
        ask()
    spent, made = 0.0, 0
    for _ in range(decisions):
        at = rng.randrange(len(active))
        active[at], active[-1] = active[-1], active[at]
        record_of_end = ended(active.pop())
        began = time.thread_time()
        out = pool.step(record_of_end, START_MS + n)
        spent += time.thread_time() - began
        for _, event in out:
            if isinstance(event, TaskEvent) and event.kind == "assigned":
                active.append(event)
                made += 1
        ask()
        pool.touched.pages.clear()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Result(
        robot_count, len(pool.tasks) - len(active), made, made / spent, n / queue_s, memory
    )


@dataclass(frozen=True)
class Checkpoint:
    """What a snapshot costs, and reading it back. Times are CPU time."""

    bytes_of_all: int
    bytes_of_changes: int
    bytes_of_head: int
    save_s: float
    load_s: float


def checkpoint(robot_count: int, queued: int, changes: int, seed: int = 1) -> Checkpoint:
    """Fills a pool and saves it; ends as many calls as change between two snapshots of the service,
    saves again, and reads all of it back."""
    rng = random.Random(seed)
    kept = Snapshots(Pool("bench"))
    for changed in robots(robot_count, rng):
        kept.pool.step(changed, START_MS)
    kept.pool.step(Liveness(root_id("w"), "worker", "robots/0", True, 0, ()), START_MS)
    kept.pool.step(Liveness(root_id("e"), "edge", "edge-1", True, 1, ()), START_MS)
    active: list[TaskEvent] = []
    gc.disable()
    for n in range(queued + robot_count):
        out = kept.pool.step(request(n, rng), START_MS + n)
        active += [e for _, e in out if isinstance(e, TaskEvent) and e.kind == "assigned"]
    rows = kept.pages()
    rows.update([kept.head(1)])
    whole = sum(map(len, rows.values()))
    for over in rng.sample(active, min(changes, len(active))):
        kept.pool.step(ended(over), START_MS + queued + robot_count)
    began = time.thread_time()
    changed_rows = kept.pages()
    key, head = kept.head(2)
    save_s = time.thread_time() - began
    rows |= changed_rows | {key: head}
    del kept, active
    gc.collect()
    began = time.thread_time()
    Snapshots.load("bench", rows)
    load_s = time.thread_time() - began
    gc.enable()
    changed_bytes = sum(map(len, changed_rows.values())) + len(head)
    return Checkpoint(whole, changed_bytes, len(head), save_s, load_s)


def main() -> None:
    """Prints one JSON line per length of the queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--robots", type=int, default=10_000)
    parser.add_argument("--queue", default="1000,100000,1000000")
    parser.add_argument("--decisions", type=int, default=20_000)
    args = parser.parse_args()
    for queued in map(int, args.queue.split(",")):
        print(json.dumps(run(args.robots, queued, args.decisions).__dict__), flush=True)
        gc.unfreeze()
        gc.collect()


if __name__ == "__main__":
    main()
