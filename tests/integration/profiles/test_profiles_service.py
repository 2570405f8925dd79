"""The profiles service on a real broker: opt-outs, repeats, and where its state lies."""

from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from ringlog.settings import Settings
from ringlog.site_key import site_key
from schemas.catalogue import CALL_PARTITIONS
from schemas.events import CustomerChange, OptOut, Turn
from schemas.ids import phone_hash
from tests.integration.dispatch.lab import Process, World, request, robot, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def test_an_opt_out_reaches_the_list_and_every_pool(
    stack: Settings, world: World, services: dict[str, Process]
) -> None:
    run = uuid4().hex[:8]
    pools, customer, phone = [f"{run}-a", f"{run}-b"], f"{run}-c", "+8613712345678"
    for pool in pools:
        world.staff(pool, robot(f"{pool}-r", pool))
    world.write("tasks.requested", request(f"{run}-t", customer, pools[0], phone=phone))
    until("the profile", lambda: world.first("customers.profiles", customer_id=customer))
    turn = Turn(
        event_id=str(uuid4()), occurred_at=5, producer="robots", customer_id=customer,
        call_id=f"{run}-call", input_kind="final", input_event_id=str(uuid4()), text="不要再打了",
        intent="stop_calling", confidence=0.9, node="offer", outcome="opted_out",
    )  # fmt: skip
    world.write("dialogue.turns", turn, turn)  # a repeated record counts once
    (listed,) = until(
        "the opt-out", lambda: world.first("compliance.optouts", customer_id=customer)
    )
    assert listed.phone_hash == phone_hash(phone, site_key(stack))

    def told() -> bool:
        copies = world.first("dispatch.inbox", customer_id=customer, kind="opted_out")
        return set(pools) <= {e.pool for e in copies}

    until("every pool to know", told)
    until("refused", lambda: world.first("tasks.events", task_id=f"{run}-t", kind="refused"))

    # An operator takes it back, straight on the list: dispatch and the profile follow.
    undo = OptOut(
        event_id=str(uuid4()), kind="opted_in", occurred_at=6, producer="api",
        customer_id=customer, phone_hash=listed.phone_hash, reason="asked us to", source="api",
    )  # fmt: skip
    world.write("compliance.optouts", undo)
    until(
        "the undo in the profile",
        lambda: [p for p in world.first("customers.profiles", customer_id=customer)
                 if not p.opted_out and p.version > 1 and p.last_intent],
    )  # fmt: skip
    until(
        "every pool to know it",
        lambda: (
            len(world.first("dispatch.inbox", customer_id=customer, kind="opted_in")) >= len(pools)
        ),
    )
    world.write("tasks.requested", request(f"{run}-u", customer, pools[0], phone=phone))
    until("queued", lambda: world.first("tasks.events", task_id=f"{run}-u", kind="queued"))
    assert phone not in "".join(p.log() for p in services.values())


def test_a_repeated_change_makes_one_version(world: World, services: dict[str, Process]) -> None:
    customer = f"{uuid4().hex[:8]}-c"

    def change(n: int) -> CustomerChange:
        return CustomerChange(
            event_id=str(uuid4()), kind="upserted", occurred_at=n, producer="crm",
            customer_id=customer, source="crm", purchases=n,
        )  # fmt: skip

    first, second = change(1), change(2)
    world.write("customers.changes", first, first, second, first, second)
    until(
        "both versions",
        lambda: [
            p for p in world.first("customers.profiles", customer_id=customer) if p.purchases == 2
        ],
    )
    versions = [p.version for p in world.events("customers.profiles") if p.customer_id == customer]
    assert versions == [1, 2]


def test_state_lies_in_compacted_changelogs(stack: Settings, services: dict[str, Process]) -> None:
    names = ["ringlog-profiles-customers-changelog", "ringlog-dispatch-pools-changelog"]
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    topics = admin.list_topics(timeout=30).topics
    for name in names:
        asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)])
        assert next(iter(asked.values())).result(30)["cleanup.policy"].value == "compact"
        assert len(topics[name].partitions) == CALL_PARTITIONS
