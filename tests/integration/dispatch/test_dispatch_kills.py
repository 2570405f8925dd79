"""Both services die again and again under load: nothing is lost, nothing is done twice."""

import time
from uuid import uuid4

import pytest

from schemas.envelope import Event
from schemas.events import CustomerChange, TaskEvent
from streams.dispatch.policy import Policy
from tests.integration.dispatch.conftest import QUICK
from tests.integration.dispatch.lab import Edge, Process, World, by_task, request, robot, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

TASKS, CUSTOMERS, KILLS = 500, 60, 6
LIFE = ["queued", "assigned", "dialing", "completed"]


@pytest.mark.heavy
def test_kills_under_load(world: World, services: dict[str, Process]) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    tasks = [f"{pool}-t{n}" for n in range(TASKS)]
    edge = Edge(world, pool)
    with world.heartbeats("edge/edge-1", "robots/0"):
        world.staff(pool, *(robot(f"{pool}-r{n}", pool, slots=3) for n in range(4)))
        edge.start()
        kill_at = {TASKS * (k + 1) // (KILLS + 1): k for k in range(KILLS)}
        for n, task in enumerate(tasks):
            customer = f"{pool}-c{n % CUSTOMERS}"
            world.write("tasks.requested", request(task, customer, pool))
            if n % 5 == 0:
                world.write("customers.changes", _change(customer, n))
            time.sleep(0.03)  # a steady load, so that the kills fall into work
            if n in kill_at:
                victim = services[("dispatch", "profiles")[kill_at[n] % 2]]
                victim.kill()
                victim.start()  # comes back while requests go on

        def done() -> bool:
            assert edge.failed is None, edge.failed
            ended = world.first("tasks.events", pool=pool, kind="completed")
            return len({e.task_id for e in ended}) == TASKS

        until("every task to end", done, 240)
    edge.halt.set()
    for process in services.values():
        process.ready()

    # `first` has checked that records with one id are equal.
    assert by_task(world.first("tasks.events", pool=pool)) == dict.fromkeys(tasks, LIFE)
    assert _folded_anew(world, pool) == _said(world, pool), "the log, folded anew, says the same"
    assert len({e.call_id for e in world.first("tasks.events", pool=pool, kind="assigned")}) == (
        TASKS
    )
    profiles = [p for p in world.first("customers.profiles") if p.customer_id.startswith(pool)]
    for n in range(CUSTOMERS):
        mine = [p for p in profiles if p.customer_id == f"{pool}-c{n}"]
        versions = [p.version for p in mine]
        assert versions == list(range(1, len(mine) + 1)), "every version once, in order"
        calls = [t for k, t in enumerate(tasks) if k % CUSTOMERS == n]

        def counted(customer: str = f"{pool}-c{n}", expected: int = len(calls)) -> bool:
            found = world.first("customers.profiles", customer_id=customer)
            return bool(found) and found[-1].calls == found[-1].answered_calls == expected

        until("every ended call in the profile", counted)


@pytest.mark.heavy
def test_two_workers_share_the_work_and_take_over(
    world: World, services: dict[str, Process]
) -> None:
    run = uuid4().hex[:8]
    pools = [f"pool-{run}-{n}" for n in range(6)]  # on several partitions
    tasks = {f"{pool}-t{n}": pool for n in range(40) for pool in pools}
    seconds = {name: process.another() for name, process in services.items()}
    edges = [Edge(world, pool) for pool in pools]
    try:
        with world.heartbeats("edge/edge-1", "robots/0"):
            for pool, edge in zip(pools, edges, strict=True):
                world.staff(pool, robot(f"{pool}-r1", pool, slots=3))
                edge.start()
            for n, (task, pool) in enumerate(tasks.items()):
                world.write("tasks.requested", request(task, f"{run}-c{n % 20}", pool))
                time.sleep(0.02)
                if n == 40:
                    for second in seconds.values():
                        second.start()  # half of the partitions move to them, amid work
                    for second in seconds.values():
                        second.ready()
                if n == 160:
                    for second in seconds.values():
                        second.kill()

            def done() -> bool:
                ended = [e for e in world.first("tasks.events", kind="completed")
                         if e.task_id in tasks]  # fmt: skip
                return len({e.task_id for e in ended}) == len(tasks)

            until("every task to end", done, 240)
    finally:
        for edge in edges:
            edge.halt.set()
        for second in seconds.values():
            second.kill()
    for pool in pools:
        assert _folded_anew(world, pool) == _said(world, pool)
    found = by_task([e for e in world.first("tasks.events") if e.task_id in tasks])
    assert found == dict.fromkeys(tasks, LIFE)


def test_state_survives_a_restart_of_both(world: World, services: dict[str, Process]) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    waiting, late = f"{pool}-waiting", f"{pool}-late"
    with world.heartbeats("edge/edge-1", "robots/0"):
        world.staff(pool, robot(f"{pool}-r1", pool, slots=1, skills={"care": 1}))
        world.write("customers.changes", _change(f"{pool}-c", 1))
        world.write("tasks.requested", request(f"{pool}-busy", f"{pool}-b", pool))
        until("busy", lambda: world.first("tasks.events", task_id=f"{pool}-busy", kind="assigned"))
        world.write("tasks.requested", request(waiting, f"{pool}-c", pool))
        until("queued", lambda: world.first("tasks.events", task_id=waiting, kind="queued"))
        for process in services.values():
            assert process.stop() == 0, process.log()[-2000:]
        for process in services.values():
            process.start()
        for process in services.values():
            process.ready()
        edge = Edge(world, pool)
        edge.start()
        until("completed", lambda: world.first("tasks.events", task_id=waiting, kind="completed"))
        # The robot's skills and the customer's name are known without being told again.
        world.write("tasks.requested", request(late, f"{pool}-c", pool, skills={"care": 1}))
        (assigned,) = until(
            "assigned", lambda: world.first("tasks.events", task_id=late, kind="assigned")
        )
        assert '"name":"客户1"' in assigned.profile
        until("completed", lambda: world.first("tasks.events", task_id=late, kind="completed"))
        edge.halt.set()
    assert edge.failed is None


def _change(customer: str, n: int) -> CustomerChange:
    return CustomerChange(
        event_id=str(uuid4()), kind="upserted", occurred_at=n, producer="test",
        customer_id=customer, source="crm", name=f"客户{n}",
    )  # fmt: skip


def _said(world: World, pool: str) -> dict[str, Event]:
    return {e.event_id: e for e in world.first("tasks.events", pool=pool)}


def _folded_anew(world: World, pool: str) -> dict[str, Event]:
    policy = Policy.model_validate(
        {name.removeprefix("RINGLOG_DISPATCH_").lower(): int(value)
           for name, value in QUICK.items() if name.startswith("RINGLOG_DISPATCH_")}
    )  # fmt: skip
    return {e.event_id: e for _, e in world.refold(pool, policy) if isinstance(e, TaskEvent)}
