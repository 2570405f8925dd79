"""Inbox records become typed inputs, or poison with a reason."""

import json

import pytest

from schemas.events import DispatchInbox, Profile, RobotStatus, TaskRequested
from schemas.text import to_json
from schemas.wire import Poison
from streams.dispatch.inputs import (
    MAX_BODY_BYTES,
    CallsAlive,
    Liveness,
    Request,
    RobotChanged,
    TimerFired,
    parse,
)
from tests.unit.dispatch.build import T0, fresh, profile, request


def _inbox(kind: str, body: object = None, **values: object) -> DispatchInbox:
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    return DispatchInbox.model_validate(
        {"event_id": fresh(kind), "kind": kind, "occurred_at": T0, "producer": "test",
         "pool": "main", "body": text, **values}
    )  # fmt: skip


def test_request_round_trip() -> None:
    known: Profile = profile("c1", tags=["member"])
    asked: TaskRequested = request("t1", known, deadline=T0 + 5).task
    record = _inbox(
        "request",
        {
            "request": to_json("tasks.requested", asked),
            "profile": to_json("customers.profiles", known),
        },
    )
    parsed = parse(record)
    assert isinstance(parsed, Request)
    assert (parsed.event_id, parsed.task, parsed.profile) == (record.event_id, asked, known)


def test_others() -> None:
    alive = parse(_inbox("calls_alive", call_ids=["a", "b"], edge_id="edge-1"))
    assert isinstance(alive, CallsAlive)
    assert alive.call_ids == ("a", "b")
    fired = parse(_inbox("timer", task_id="t1", timer="permit", due_at=T0))
    assert isinstance(fired, TimerFired)
    assert (fired.task_id, fired.name) == ("t1", "permit")
    up = parse(_inbox("edge", {"state": "up", "name": "edge-1", "offset": 4}))
    assert isinstance(up, Liveness)
    assert (up.kind, up.up, up.offset) == ("edge", True, 4)
    status = RobotStatus(event_id=fresh("r"), occurred_at=T0, producer="x", robot_id="r1")
    body = {"robot": to_json("robots.status", status), "offset": 9}
    changed = parse(_inbox("robot", body))
    assert isinstance(changed, RobotChanged)
    assert (changed.robot, changed.offset) == (status, 9)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("request", None),
        ("request", "{"),
        ("request", "[]"),
        ("request", {"request": {}, "profile": {}}),
        ("request", {"request": 1}),
        ("request", '"' + "x" * MAX_BODY_BYTES + '"'),
        ("cancel", {"request": None}),
        ("call", {"kind": "ended"}),
        ("edge", {"state": "sideways", "name": "e", "offset": 1}),
        ("edge", {"state": "up", "name": "", "offset": 1}),
        ("worker", {"state": "up", "name": "w", "offset": "x"}),
        ("robot", {"offset": 1}),
        ("opted_out", {"phone_hash": 5}),
        ("timer", None),
        ("profile", {"version": "one"}),
    ],
)
def test_what_cannot_be_read_is_poison(kind: str, body: object) -> None:
    with pytest.raises(Poison):
        parse(_inbox(kind, body))
