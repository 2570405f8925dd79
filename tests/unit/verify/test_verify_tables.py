"""Checks that ask ClickHouse: what the tables lack, spoil or invent is named."""

from hashlib import md5
from typing import Any

import pytest

from schemas.catalogue import TOPICS
from schemas.ids import root_id
from tests.unit.verify.world import Tables, World, judge
from verify.check import Context
from verify.checks.status import Status
from verify.checksum import digest_of, number, sql_digest_of
from verify.record import LogRecord


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.whole_call()
    return world


def _where(world: World, topic: str) -> str:
    partition = next(e.partition for e in world.entries if e.topic == topic)
    return f"{topic}/{partition}@0"


@pytest.mark.parametrize("topic", ["calls.events", "asr.transcripts", "customers.profiles"])
def test_a_missing_row_is_named(world: World, topic: str) -> None:
    where = _where(world, topic)
    result = judge(world, "history", tables=Tables(missing=frozenset({where})))["history"]
    assert [(v.rule, v.where) for v in result.violations] == [("history.missing", (where,))]


@pytest.mark.parametrize("topic", ["dialogue.turns", "customers.profiles"])
def test_a_row_that_differs_is_named(world: World, topic: str) -> None:
    where = _where(world, topic)
    result = judge(world, "history", tables=Tables(spoilt=frozenset({where})))["history"]
    assert [(v.rule, v.where) for v in result.violations] == [("history.differs", (where,))]


def test_a_row_without_a_record_is_named(world: World) -> None:
    entry = next(e for e in reversed(world.entries) if e.topic == "tasks.events")
    raw = World(entries=[*world.entries], now=world.now)
    # The table has a row where the log has bytes that nobody can read.
    here = [e for e in raw.entries if e.topic == entry.topic]
    place = f"{entry.topic}/{entry.partition}@{len(here) - 1}"
    answers_of = World(entries=raw.entries, now=raw.now)
    spoilt = [
        e if e is not entry else type(e)(e.topic, None, e.partition, e.timestamp_ms, e.key, b"?")
        for e in raw.entries
    ]
    result = judge(
        World(entries=spoilt, now=world.now), "history", tables=Tables(), rows_of=answers_of
    )["history"]
    assert [(v.rule, v.where) for v in result.violations] == [("history.invented", (place,))]


def test_a_view_that_lacks_an_event_differs(world: World) -> None:
    where = _where(world, "dialogue.turns")
    result = judge(world, "views", tables=Tables(missing=frozenset({where})))["views"]
    assert [v.rule for v in result.violations] == ["views.differs"]
    assert "2 rows, 3 on the log" in result.violations[0].text


def test_every_field_counts() -> None:
    """A change of any one field, of any type, changes the digest."""
    world = World()
    world.whole_call()
    world.windows()
    changes_of: dict[str, dict[str, Any]] = {
        "asr.transcripts": {"text": "x", "confidence": 0.25, "gaps_ms": [40], "decode_ms": 2.0,
                            "tokens": [{"text": "a", "start_ms": 1}], "kind": "partial"},
        "dialogue.turns": {"slots": {"time": "今天"}, "directive_ids": [], "intent": "x"},
        "customers.profiles": {"opted_out": True, "version": 9, "tags": ["a", "b"], "name": None},
        "calls.events": {"phone": "1", "heard_ms": 0, "occurred_at": 1},
    }  # fmt: skip
    for topic, changes in changes_of.items():
        write = digest_of(TOPICS[topic])
        event = next(e.event for e in world.entries if e.topic == topic and e.event)
        record = event.model_dump()
        whole = write(0, 1, record)
        assert write(0, 2, record) != whole != write(1, 1, record)
        for name, value in changes.items():
            assert write(0, 1, record | {name: value}) != whole, name
        assert write(0, 1, record) == whole


def test_every_column_stands_in_the_query() -> None:
    for topic in TOPICS.values():
        text = sql_digest_of(topic)
        assert all(f"`{name}`" in text for name in topic.model.model_fields)


def _status(world: World) -> tuple[Status, Context]:
    check = Status()
    offsets: dict[tuple[str, int], int] = {}
    for entry in world.entries:
        if entry.topic in check.topics and entry.event is not None:
            place = entry.topic, entry.partition
            offset = offsets[place] = offsets.get(place, -1) + 1
            check.feed(LogRecord(*place, offset, 0, entry.key, entry.event.model_dump()))
    kept = {place: offset + 1 for place, offset in offsets.items()}
    return check, Context(0, 0, kept=kept, begins=dict.fromkeys(kept, 0))


CALL = (
    "{id}|ended|{started}|{answered}|{ended}|16|None|completed|{task}|{customer}|spring|sales|r1|"
    "edge|None"
)


def _calls_row(world: World, **changed: str) -> list[list[str]]:
    """What the view `calls` would say, written down by hand."""
    events = [e.event for e in world.entries if e.topic == "calls.events" and e.event is not None]
    first = events[0]
    at = {e.kind: e.occurred_at for e in events}
    text = CALL.format(
        id=first.call_id, started=first.occurred_at, answered=at["answered"], ended=at["ended"],
        task=first.task_id, customer=first.customer_id,
    )  # fmt: skip
    for old, new in changed.items():
        text = text.replace(old, new)
    key = md5((first.call_id or "").encode(), usedforsecurity=False).hexdigest()
    return [[key, str(number(text))]]


def _tasks_row(world: World) -> list[list[str]]:
    events = [e.event for e in world.entries if e.topic == "tasks.events" and e.event is not None]
    wish = next(e.event for e in world.entries if e.topic == "tasks.requested" and e.event)
    done = events[-1]
    text = (
        f"{done.task_id}|completed|completed|1|{done.call_id}|r1|None|{wish.customer_id}|spring|"
        f"sales|{wish.occurred_at}|{done.occurred_at}|sha-1"
    )
    key = md5((done.task_id or "").encode(), usedforsecurity=False).hexdigest()
    return [[key, str(number(text))]]


@pytest.mark.parametrize(
    ("calls", "rules"),
    [
        (_calls_row, set()),
        (lambda world: _calls_row(world, completed="failed"), {"status.differs"}),
        (lambda world: [], {"status.missing"}),
    ],
)
def test_call_status_equals_the_fold(world: World, calls: object, rules: set[str]) -> None:
    check, context = _status(world)
    assert callable(calls)
    asked = check.questions(context)
    assert set(asked) == {"status/calls", "status/tasks"}
    answers = {"status/calls": calls(world), "status/tasks": _tasks_row(world)}
    context = Context(0, 0, kept=context.kept, begins=context.begins, answers=answers)
    assert check.questions(context) == {}
    result = check.finish(context)
    assert {v.rule for v in result.violations} == rules
    assert result.looked_at == 2


def test_a_call_that_has_not_ended_is_open() -> None:
    world = World()
    world.call_event("foreign-1", "ringing", direction="foreign", event_id=root_id("x"))
    check, context = _status(world)
    result = check.finish(context)
    assert (result.looked_at, result.open, result.total) == (0, 1, 0)
