"""What the two services keep, folded anew beside the work: a wrong row is found and put right."""

import json
import subprocess
import sys
from contextlib import closing
from uuid import uuid4

import pytest

from ringlog.kafka import sync
from ringlog.settings import Settings, root
from schemas.events import CustomerChange
from schemas.partition import partition_of
from tests.integration.dispatch.lab import Process, World, request, robot, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

CHANGELOG = "ringlog-profiles-customers-changelog"


def rebuild(service: str) -> tuple[int, dict[str, int]]:
    command = [sys.executable, "-m", "cli.main", "rebuild", service, "--check"]
    done = subprocess.run(command, cwd=root(), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def change(customer: str, name: str) -> CustomerChange:
    return CustomerChange(
        event_id=str(uuid4()), kind="upserted", occurred_at=5, producer="crm",
        customer_id=customer, source="crm", name=name,
    )  # fmt: skip


def spoil(config: Settings, customer: str, before: str, after: str) -> None:
    """Writes a wrong row, as a broken version might have."""
    partition = partition_of(customer, 8)
    rows = [r for r in sync.read(config, CHANGELOG, partitions=[partition])
            if r.key is not None and customer.encode() in r.key]  # fmt: skip
    value = (rows[-1].value or b"").replace(before.encode(), after.encode())
    assert value != rows[-1].value
    with closing(sync.producer_of(config, "spoil")) as producer:
        producer.send(CHANGELOG, value, key=rows[-1].key, partition=partition)
        producer.flush()


def test_a_wrong_row_is_put_right(
    stack: Settings, world: World, services: dict[str, Process]
) -> None:
    run = uuid4().hex[:8]
    customers = [f"{run}-c{n}" for n in range(20)]
    world.write("customers.changes", *(change(c, "Alice") for c in customers))
    until(
        "all profiles",
        lambda: {p.customer_id for p in world.first("customers.profiles")} >= set(customers),
    )
    code, found = rebuild("profiles")
    assert (code, found["differed"]) == (0, 0) and found["customers"] >= len(customers)

    profiles = services["profiles"]
    assert profiles.stop() == 0
    spoil(stack, customers[3], "Alice", "Mallory")
    profiles.start().ready()
    code, found = rebuild("profiles")
    assert (code, found["differed"]) == (1, 1)
    assert rebuild("profiles")[0] == 0

    world.write("customers.changes", change(customers[3], "Alice").model_copy(
        update={"name": None, "level": "gold"}
    ))  # fmt: skip
    newest = until(
        "the next version",
        lambda: [p for p in world.first("customers.profiles", customer_id=customers[3])
                 if p.version == 2],
    )[0]  # fmt: skip
    assert (newest.name, newest.level) == ("Alice", "gold")


def test_a_pool_is_what_its_inbox_says(world: World, services: dict[str, Process]) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    world.staff(pool, robot(f"{pool}-r", pool, slots=1))
    world.write("tasks.requested", *(request(f"{pool}-t{n}", f"{pool}-c", pool) for n in range(9)))
    until("nine queued", lambda: len(world.first("tasks.events", pool=pool, kind="queued")) == 9)
    code, found = rebuild("dispatch")
    assert (code, found["differed"]) == (0, 0) and found["open_tasks"] >= 9
    process = services["dispatch"]
    process.kill()
    process.start().ready()
    assert rebuild("dispatch") == (0, found)


def test_what_came_just_before_a_restart_is_worked_after_it(
    world: World, services: dict[str, Process]
) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    world.staff(pool, robot(f"{pool}-r", pool, slots=1))
    dispatch = services["dispatch"]
    for n in range(6):
        # Worked, and not yet in a snapshot, which is made once a second.
        world.write("tasks.requested", request(f"{pool}-t{n}", f"{pool}-c{n}", pool))
        until("queued", lambda n=n: world.first("tasks.events", task_id=f"{pool}-t{n}"))  # type: ignore[misc]
        if n % 2:
            assert dispatch.stop() == 0
        else:
            dispatch.kill()
        world.write("tasks.requested", request(f"{pool}-u{n}", f"{pool}-d{n}", pool))
        dispatch.start().ready()
    until("all", lambda: len(world.first("tasks.events", pool=pool, kind="queued")) == 12)
    assert rebuild("dispatch")[1]["differed"] == 0
    assert rebuild("profiles")[1]["differed"] == 0
