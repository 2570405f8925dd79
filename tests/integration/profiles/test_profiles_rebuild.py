"""What the two services keep, folded anew beside the work: a wrong row is found and put right."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from ringlog.kafka import sync
from ringlog.settings import Settings, root
from schemas.events import Campaign, CustomerChange, Turn
from schemas.partition import partition_of
from tests.integration.dispatch.lab import (
    Process,
    World,
    call_event,
    phone_of,
    request,
    robot,
    until,
)

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


def test_merged_customers_are_rebuilt_as_one(world: World, services: dict[str, Process]) -> None:
    """On several partitions: what goes on to the other inbox is on the log, too."""
    run = uuid4().hex[:8]
    pairs = [(f"{run}-a{n}", f"{run}-b{n}") for n in range(8)]
    world.write("customers.changes", *(change(old, "Alice") for old, _ in pairs),
                *(change(kept, "Bob") for _, kept in pairs))  # fmt: skip
    world.write("customers.changes", *(
        change(old, "").model_copy(update={"kind": "merged", "merged_into": kept, "name": None})
        for old, kept in pairs
    ))  # fmt: skip
    world.write("customers.changes", *(
        change(old, "Carol").model_copy(update={"occurred_at": 9}) for old, _ in pairs
    ))  # fmt: skip
    until(
        "all profiles",
        lambda: {p.customer_id for p in world.first("customers.profiles")
                 if p.name == "Carol" and p.absorbed} >= {kept for _, kept in pairs},
    )  # fmt: skip
    gone = {p.customer_id: p.merged_into for p in world.first("customers.profiles")
            if p.merged_into is not None}  # fmt: skip
    assert gone.items() >= dict(pairs).items()
    code, found = rebuild("profiles")
    assert (code, found["differed"]) == (0, 0)


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


def campaign(pool: str, version: int, **settings: Any) -> Campaign:
    """A version that calls at any hour which its windows allow."""
    given = {"playbook": "promotion", "pool": pool, "purpose": "service", "recording_notice": True}
    return Campaign(
        event_id=str(uuid4()), occurred_at=version, producer="test", campaign_id=f"{pool}-list",
        name="list", state="running", version=version, settings=json.dumps(given | settings),
    )  # fmt: skip


def told(world: World, pool: str, version: int) -> None:
    until(
        "the campaign's version in the inbox",
        lambda: [
            e for e in world.first("dispatch.inbox", pool=pool, kind="campaign")
            if f'"version":{version}' in (e.body or "").replace(": ", ":")
        ],
    )  # fmt: skip


def of_task(world: World, task: str, **values: Any) -> Callable[[], list[Any]]:
    return partial(world.first, "tasks.events", task_id=task, **values)


def decided(world: World, pool: str) -> dict[str, Any]:
    return {e.event_id: e for e in world.first("tasks.events", pool=pool)}


@pytest.mark.heavy
def test_other_settings_and_campaign_versions_change_nothing_that_was_decided(
    world: World, services: dict[str, Process]
) -> None:
    """Decided under one set of settings and versions; folded again by a dispatch with others."""
    pool = f"pool-{uuid4().hex[:8]}"
    dispatch = services["dispatch"]
    before = dict(dispatch.env)
    night = (datetime.now(UTC).hour + 8 + 12) % 24  # in Shanghai
    closed = {"any": [f"{min(night, 22):02d}:00-{min(night, 22) + 1:02d}:00"]}
    in_list = {"campaign_id": f"{pool}-list"}
    try:
        with world.heartbeats("edge/edge-1", "robots/0"):
            world.staff(pool, robot(f"{pool}-r", pool, slots=3))
            world.write("campaigns", campaign(pool, 1, concurrency=1))
            told(world, pool, 1)
            for n in range(8):
                fields = in_list if n % 2 else {}
                priority = ("high", "medium", "low")[n % 3]
                world.write(
                    "tasks.requested",
                    request(f"{pool}-t{n}", f"{pool}-c{n}", pool, priority=priority, **fields),
                )
            first = until("three", lambda: assigned(world, pool, 3))
            for permit in first:
                world.write("calls.events", call_event(permit, "dialing"))
                world.write("calls.events", call_event(permit, "ended", disposition="busy"))
            until("retries", lambda: len(of_kind(world, pool, "retry_scheduled")) >= 3)
            # The list closes, and what waits is put off.
            world.write("campaigns", campaign(pool, 2, concurrency=1, windows=closed))
            told(world, pool, 2)
            world.write("tasks.requested", request(f"{pool}-n", f"{pool}-n", pool, **in_list))
            until(
                "a task that is put off", lambda: world.first("tasks.events", task_id=f"{pool}-n")
            )
        said = decided(world, pool)
        assert rebuild("dispatch")[1]["differed"] == 0
        assert dispatch.stop() == 0
        dispatch.env = before | {
            "RINGLOG_DISPATCH_RETRY_MS": "90000", "RINGLOG_DISPATCH_LEASE_MS": "70000",
            "RINGLOG_DISPATCH_PERMIT_MS": "20000", "RINGLOG_DISPATCH_WEIGHTS": "[1,1,9]",
            "RINGLOG_DISPATCH_MAX_DIALS": "1",
        }  # fmt: skip
        dispatch.start().ready()
        world.write("campaigns", campaign(pool, 3, concurrency=9, budget=1))
        told(world, pool, 3)
        code, found = rebuild("dispatch")
        assert (code, found["differed"]) == (0, 0)
        after = decided(world, pool)
        assert {event_id: after[event_id] for event_id in said} == said
    finally:
        dispatch.stop()
        dispatch.env = before
        dispatch.start().ready()


def of_kind(world: World, pool: str, kind: str) -> list[Any]:
    return world.first("tasks.events", pool=pool, kind=kind)


def assigned(world: World, pool: str, least: int) -> list[Any]:
    found = of_kind(world, pool, "assigned")
    return found if len(found) >= least else []


@pytest.mark.heavy
def test_an_opt_out_said_in_a_call_outlives_all_state(
    stack: Settings, world: World, services: dict[str, Process]
) -> None:
    run = uuid4().hex[:8]
    pool, customer, other = f"pool-{run}", f"{run}-c", "+8613912340987"
    world.staff(pool, robot(f"{pool}-r", pool))
    world.write("tasks.requested", request(f"{run}-1", customer, pool))
    world.write("tasks.requested", request(f"{run}-2", customer, pool, phone=other))
    for n in (1, 2):
        until("queued", of_task(world, f"{run}-{n}"))
    turn = Turn(
        event_id=str(uuid4()), occurred_at=5, producer="robots", customer_id=customer,
        call_id=f"{run}-call", input_kind="final", input_event_id=str(uuid4()), text="不要再打了",
        intent="stop_calling", confidence=0.9, node="offer", outcome="opted_out",
    )  # fmt: skip
    world.write("dialogue.turns", turn)
    for n in (1, 2):
        (refused,) = until("the refusal", of_task(world, f"{run}-{n}", kind="refused"))
        assert refused.reason == "opted_out"

    for process in services.values():
        process.kill()
    drop_tables(stack)
    for process in services.values():
        process.start()
    for process in services.values():
        process.ready()
    for service in ("profiles", "dispatch"):
        assert rebuild(service)[1]["differed"] > 0, "it had lost everything"
        assert rebuild(service)[1]["differed"] == 0
    for n, phone in ((3, phone_of(customer)), (4, other)):
        world.write("tasks.requested", request(f"{run}-{n}", customer, pool, phone=phone))
        (refused,) = until("a decision", of_task(world, f"{run}-{n}"))
        assert (refused.kind, refused.reason) == ("refused", "opted_out")
    world.write("tasks.requested", request(f"{run}-5", f"{run}-d", pool))
    until("queued", of_task(world, f"{run}-5", kind="queued"))


def drop_tables(config: Settings) -> None:
    """Deletes all that profiles and dispatch keep: tables live in memory, and on changelogs."""
    admin = AdminClient({"bootstrap.servers": config.kafka_bootstrap})
    found = [
        name for name in admin.list_topics(timeout=30).topics
        if name.startswith(("ringlog-profiles-", "ringlog-dispatch-")) and "changelog" in name
    ]  # fmt: skip
    assert len(found) >= 2, found
    for done in admin.delete_topics(found, operation_timeout=30).values():
        done.result()
