"""Inbox records become typed inputs, or poison with a reason."""

import json

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from cli.main import cli
from schemas.catalogue import CALL_PARTITIONS
from schemas.events import DispatchInbox, Profile, RobotStatus, TaskRequested
from schemas.partition import partition_of
from schemas.text import to_json
from schemas.wire import Poison
from streams.dispatch.inputs import (
    MAX_BODY_BYTES,
    CallsAlive,
    Liveness,
    Request,
    RobotChanged,
    SettingsChanged,
    TimerFired,
    parse,
)
from streams.dispatch.policy import Policy, SitePolicy
from streams.dispatch.pool import Pool
from streams.dispatch.pools import Pools
from streams.dispatch.router import settings_copy
from streams.dispatch.snapshot import Snapshots
from tests.unit.dispatch.build import NUMBERS, T0, fresh, profile, request


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
    parsed = parse(record, NUMBERS)
    assert isinstance(parsed, Request)
    assert (parsed.event_id, parsed.task, parsed.profile) == (record.event_id, asked, known)


def test_others() -> None:
    alive = parse(_inbox("calls_alive", call_ids=["a", "b"], edge_id="edge-1"), NUMBERS)
    assert isinstance(alive, CallsAlive)
    assert alive.call_ids == ("a", "b")
    fired = parse(_inbox("timer", task_id="t1", timer="permit", due_at=T0), NUMBERS)
    assert isinstance(fired, TimerFired)
    assert (fired.task_id, fired.name) == ("t1", "permit")
    up = parse(_inbox("edge", {"state": "up", "name": "edge-1", "offset": 4}), NUMBERS)
    assert isinstance(up, Liveness)
    assert (up.kind, up.up, up.offset) == ("edge", True, 4)
    status = RobotStatus(event_id=fresh("r"), occurred_at=T0, producer="x", robot_id="r1")
    body = {"robot": to_json("robots.status", status), "offset": 9}
    changed = parse(_inbox("robot", body), NUMBERS)
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
        parse(_inbox(kind, body), NUMBERS)


@pytest.mark.parametrize("spelling", ["13800138000", "+86 138-0013-8000", "0086 13800138000"])
def test_R1_every_spelling_of_a_line_is_one_number(spelling: str) -> None:
    asked = request("t1", phone=spelling)
    body = {
        "request": to_json("tasks.requested", asked.task),
        "profile": to_json("customers.profiles", asked.profile),
    }
    parsed = parse(_inbox("request", body), NUMBERS)
    assert isinstance(parsed, Request)
    assert (parsed.phone, parsed.invalid) == ("+8613800138000", None)
    assert parsed.hashes[0] == NUMBERS.hash("+8613800138000")
    assert NUMBERS.hash("13800138000") in parsed.hashes


@pytest.mark.parametrize("phone", ["110", "call me", "+86138"])
def test_what_is_no_number_to_call_is_named_and_not_poison(phone: str) -> None:
    asked = request("t1", phone=phone)
    body = {
        "request": to_json("tasks.requested", asked.task),
        "profile": to_json("customers.profiles", asked.profile),
    }
    parsed = parse(_inbox("request", body), NUMBERS)
    assert isinstance(parsed, Request)
    assert parsed.invalid is not None
    assert phone not in parsed.invalid


def test_settings_count_from_their_record_on_whoever_folds_it() -> None:
    """A worker that died between its outputs and its snapshot says the same again."""
    rows = dict([Snapshots(Pool("main", Policy(queue_limit=7))).head(0)])
    partition = partition_of("main", CALL_PARTITIONS)
    pools = Pools(lambda name: Snapshots.load(name, rows), NUMBERS)
    pools.work(_inbox("calls_alive", call_ids=[]), partition, 0, T0)
    assert pools.of("main").pool.policy.queue_limit == 7
    ((topic, told),) = [settings_copy(SitePolicy(queue_limit=9), T0, "main")]
    assert topic == "dispatch.inbox"
    assert isinstance(told, DispatchInbox)
    pools.work(told, partition, 1, T0)
    assert pools.of("main").pool.policy == Policy(queue_limit=9)
    rows |= dict([pools.of("main").head(2)])
    assert Snapshots.load("main", rows).pool.policy == Policy(queue_limit=9)


def test_settings_that_are_none_are_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: tuple[object, ...] = ([], {"queue_limit": -1})
    for body in wrong:
        with pytest.raises(Poison):
            parse(_inbox("settings", body), NUMBERS)
    monkeypatch.setenv("RINGLOG_DISPATCH_MAX_DIALS", "9")
    told = parse(_inbox("settings", {}), NUMBERS)
    assert isinstance(told, SettingsChanged)
    assert told.policy.max_dials == 3, "the environment says nothing about the past"
    assert SitePolicy().max_dials == 9


def test_a_sites_settings_that_no_inbox_takes_are_refused_at_the_door(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = {f"tag:{n}": 1.0 for n in range(600)}
    monkeypatch.setenv("RINGLOG_DISPATCH_TAG_WEIGHTS", json.dumps(weights))
    assert SitePolicy().tag_weights == weights
    ((_, told),) = [settings_copy(SitePolicy(), T0, "main")]
    assert isinstance(told, DispatchInbox) and isinstance(parse(told, NUMBERS), SettingsChanged)
    weights |= {f"tag:{n}": 1.0 for n in range(2_000)}
    monkeypatch.setenv("RINGLOG_DISPATCH_TAG_WEIGHTS", json.dumps(weights))
    with pytest.raises(ValidationError, match="fewer tags"):
        SitePolicy()
    found = CliRunner().invoke(cli, ["config", "check"])
    assert found.exit_code == 1 and "RINGLOG_DISPATCH_TAG_WEIGHTS" in found.output
