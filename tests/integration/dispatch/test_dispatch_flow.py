"""From a request to its end, through the running services."""

import json
from uuid import uuid4

import pytest

from schemas.events import CustomerChange, Turn
from schemas.ids import call_id
from tests.integration.dispatch.lab import (
    Process,
    World,
    by_task,
    call_event,
    request,
    robot,
    until,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def _name(what: str) -> str:
    return f"{what}-{uuid4().hex[:8]}"


def _assigned(world: World, task: str, attempt: int = 1):  # type: ignore[no-untyped-def]
    def look():  # type: ignore[no-untyped-def]
        return next(
            (e for e in world.first("tasks.events", task_id=task, kind="assigned")
             if e.attempt == attempt), None,
        )  # fmt: skip

    return until(f"{task} to be assigned", look)


def test_a_request_is_assigned_with_the_newest_profile(
    world: World, services: dict[str, Process]
) -> None:
    pool, customer, task = _name("pool"), _name("customer"), _name("task")
    with world.heartbeats("edge/edge-1", "robots/0"):
        world.staff(pool, robot(f"{pool}-r1", pool, skills={"sales": 2}))
        change = CustomerChange(
            event_id=str(uuid4()), kind="upserted", occurred_at=1, producer="crm",
            customer_id=customer, source="crm", level="member", name="李雷", purchases=2,
        )  # fmt: skip
        world.write("customers.changes", change)
        until("the profile", lambda: world.first("customers.profiles", customer_id=customer))
        world.write("tasks.requested", request(task, customer, pool, skills={"sales": 1}))
        found = _assigned(world, task)
        assert found.edge_id == "edge-1"
        assert found.robot_id == f"{pool}-r1"
        assert found.call_id == call_id(task, 1)
        assert '"level":"member"' in found.profile
        assert '"repeat"' in found.profile
        assert found.profile_version == 2  # the request brought the number

        # On the phone the customer asks not to be called; a change in the CRM reaches the call.
        world.write("calls.events", call_event(found, "dialing"), call_event(found, "answered"))
        turn = Turn(
            event_id=str(uuid4()), occurred_at=2, producer="robots", call_id=found.call_id,
            task_id=task, customer_id=customer, pool=pool, input_kind="final",
            input_event_id=str(uuid4()), text="可以", intent="affirm", confidence=1.0, node="offer",
        )  # fmt: skip
        world.write("dialogue.turns", turn)
        until(
            "the turn in the profile",
            lambda: [p for p in world.first("customers.profiles", customer_id=customer)
                     if p.last_intent == "affirm"],
        )  # fmt: skip
        world.write(
            "customers.changes",
            change.model_copy(update={"event_id": str(uuid4()), "level": "vip"}),
        )
        (news,) = until(
            "the profile in the call",
            lambda: world.first("calls.events", call_id=found.call_id, kind="profile_changed"),
        )
        assert '"level":"vip"' in news.profile
        world.write("calls.events", call_event(found, "ended", disposition="opted_out"))
        until("the end", lambda: world.first("tasks.events", task_id=task, kind="completed"))
        (optout,) = until(
            "the opt-out", lambda: world.first("compliance.optouts", customer_id=customer)
        )
        assert optout.kind == "opted_out"
        assert by_task(world.first("tasks.events", task_id=task))[task] == [
            "queued", "assigned", "dialing", "completed",
        ]  # fmt: skip

        # The next request is refused.
        again = _name("task")
        world.write("tasks.requested", request(again, customer, pool))
        (refused,) = until(
            "the refusal", lambda: world.first("tasks.events", task_id=again, kind="refused")
        )
        assert refused.reason == "opted_out"


def test_busy_is_tried_again_and_a_lost_call_is_ended(
    world: World, services: dict[str, Process]
) -> None:
    pool, task = _name("pool"), _name("task")
    with world.heartbeats("edge/edge-1", "robots/0"):
        world.staff(pool, robot(f"{pool}-r1", pool))
        world.write(
            "tasks.requested", request(task, _name("customer"), pool, phone="+8613911112222")
        )
        first = _assigned(world, task)
        world.write("calls.events", call_event(first, "dialing"))
        # As a carrier reports it: without the envelope's pool and task.
        world.write(
            "calls.events",
            call_event(first, "ended", cause_q850=17, pool=None, task_id=None, customer_id=None),
        )
        second = _assigned(world, task, 2)
        assert second.call_id == call_id(task, 2)
        world.write("calls.events", call_event(second, "dialing"))
        # No sign of life from now on: dispatch ends the call.
        (ended,) = until(
            "the lost call's end",
            lambda: world.first("calls.events", call_id=second.call_id, kind="ended"),
        )
        assert (ended.producer, ended.disposition) == ("dispatch", "failed")
        until("the task's end", lambda: world.first("tasks.events", task_id=task, kind="failed"))
    kinds = by_task(world.first("tasks.events", task_id=task))[task]
    assert kinds == [
        "queued", "assigned", "dialing", "retry_scheduled", "queued", "assigned", "dialing",
        "failed",
    ]  # fmt: skip


def test_tasks_wait_while_no_edge_lives_and_cancel_while_they_wait(
    world: World, services: dict[str, Process]
) -> None:
    pool, waiting, unwanted = _name("pool"), _name("task"), _name("task")
    with world.heartbeats("edge/edge-7"):
        world.staff(pool, robot(f"{pool}-r1", pool))

    def all_down() -> bool:
        told = world.first("dispatch.inbox", pool=pool, kind="edge")
        last = {e.edge_id: json.loads(e.body)["state"] for e in told}
        return "edge-7" in last and set(last.values()) == {"down"}

    until("every edge to be down", all_down)
    with world.heartbeats("robots/0"):
        world.write(
            "tasks.requested",
            request(waiting, _name("customer"), pool),
            request(unwanted, "cancelling", pool),
        )
        until("queued", lambda: len(world.first("tasks.events", pool=pool, kind="queued")) == 2)
        world.write(
            "tasks.requested",
            request(unwanted, "cancelling", pool, kind="cancel", event_id=str(uuid4()), phone=None),
        )
        until("cancelled", lambda: world.first("tasks.events", task_id=unwanted, kind="cancelled"))
        assert by_task(world.first("tasks.events", task_id=waiting))[waiting] == ["queued"]
    with world.heartbeats("edge/edge-7", "robots/0"):
        assert _assigned(world, waiting).edge_id == "edge-7"


def test_poison_on_every_input_goes_to_dead_letters_and_work_goes_on(
    world: World, services: dict[str, Process]
) -> None:
    topics = {
        "tasks.requested", "customers.changes", "dialogue.turns", "calls.events",
        "profiles.inbox", "dispatch.inbox", "robots.status", "robots.leases", "playbooks",
    }  # fmt: skip
    bad = {(name, world.write_raw(name, b"\xffpoison")) for name in topics}
    # Readable bytes of the right schema whose content is nonsense.
    inbox = {
        "event_id": str(uuid4()), "kind": "request", "occurred_at": 1, "producer": "x",
        "customer_id": "c", "source_topic": "nonsense", "body": "{",
    }  # fmt: skip
    value = world.codec.encode("profiles.inbox", inbox | _rest("profiles.inbox", inbox))
    bad.add(("profiles.inbox", world.write_raw("profiles.inbox", value)))
    inbox |= {"pool": "p"}
    del inbox["customer_id"]
    value = world.codec.encode("dispatch.inbox", inbox | _rest("dispatch.inbox", inbox))
    bad.add(("dispatch.inbox", world.write_raw("dispatch.inbox", value)))

    def buried() -> bool:
        letters = world.events("dead_letters")
        return bad <= {(e.source_topic, e.source_offset) for e in letters}

    until("all dead letters", buried)
    pool, task = _name("pool"), _name("task")
    with world.heartbeats("edge/edge-1", "robots/0"):
        world.staff(pool, robot(f"{pool}-r1", pool))
        world.write("tasks.requested", request(task, _name("customer"), pool))
        _assigned(world, task)


def _rest(topic_name: str, given: dict[str, object]) -> dict[str, object]:
    from schemas.catalogue import topic

    fields = topic(topic_name).model.model_fields
    return {
        name: info.get_default(call_default_factory=True)
        for name, info in fields.items()
        if name not in given and not info.is_required()
    }
