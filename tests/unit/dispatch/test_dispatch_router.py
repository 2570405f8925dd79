"""What is copied into the inbox, and who is said to be up."""

from typing import Any

from ringlog.edges import SILENCE_MS
from schemas.envelope import Event
from schemas.events import CallEvent, DispatchInbox, Lease, Playbook, RobotStatus
from schemas.ids import event_id
from streams.dispatch.inputs import CallChanged, Liveness, PlaybookChanged, RobotChanged, parse
from streams.dispatch.presence import Change, Heartbeats
from streams.dispatch.router import (
    call_copies,
    optout_copies,
    playbook_copy,
    presence_copy,
    robot_copy,
)
from tests.unit.dispatch.build import NUMBERS, T0, fresh, opted_out


def _call(kind: str, **values: Any) -> CallEvent:
    return CallEvent.model_validate(
        {"event_id": fresh(kind), "kind": kind, "occurred_at": T0, "producer": "test",
         "call_id": "call-1", "task_id": "t1", "pool": "main", **values}
    )  # fmt: skip


def _parsed(record: Event) -> Any:
    assert isinstance(record, DispatchInbox)
    return parse(record, NUMBERS)


def test_a_calls_step_goes_to_its_pool() -> None:
    event = _call("answered")
    ((topic, record),) = call_copies(event, ["other"])
    assert (topic, record.pool) == ("dispatch.inbox", "main")
    parsed = _parsed(record)
    assert isinstance(parsed, CallChanged)
    assert parsed.call == event
    assert list(call_copies(event, [])) == [(topic, record)]


def test_a_step_that_names_no_pool_goes_to_all() -> None:
    event = _call("ended", pool=None)
    records = [record for _, record in call_copies(event, {"b", "a"})]
    assert [r.pool for r in records] == ["a", "b"]
    assert len({r.event_id for r in records}) == 2


def test_what_says_nothing_to_dispatch_is_not_copied() -> None:
    assert list(call_copies(_call("playout_ended"), ["a"])) == []
    assert list(call_copies(_call("ended", direction="foreign", pool=None), ["a"])) == []


def test_robots_and_playbooks_keep_their_offset() -> None:
    status = RobotStatus(
        event_id=fresh("r"), occurred_at=T0, producer="x", robot_id="r1", pool="main"
    )
    ((_, record),) = robot_copy(status, 17)
    parsed = _parsed(record)
    assert isinstance(parsed, RobotChanged)
    assert (parsed.robot, parsed.offset) == (status, 17)
    book = Playbook(
        event_id=fresh("p"), kind="published", occurred_at=T0, producer="x",
        playbook="promotion", version="2", sha256="", body="long " * 10_000,
    )  # fmt: skip
    parsed = _parsed(playbook_copy(book, 5, "main")[1])
    assert parsed == PlaybookChanged(parsed.event_id, "promotion", "2", 5)


def _lease(shard: str, kind: str = "heartbeat", **values: Any) -> Lease:
    return Lease.model_validate(
        {"event_id": fresh("lease"), "kind": kind, "occurred_at": T0, "producer": "x",
         "shard": shard, "worker": "w", **values}
    )  # fmt: skip


def test_up_at_the_first_heartbeat_down_after_silence_up_again() -> None:
    beats = Heartbeats()
    first = _lease("edge/edge-1")
    up = beats.hear(first, 4, T0)
    assert up == Change("edge", "edge-1", True, 4, (), first.event_id, T0)
    last = _lease("edge/edge-1")
    assert beats.hear(last, 5, T0 + 1_000) is None
    assert beats.silent(T0 + 1_000 + SILENCE_MS) == []
    (down,) = beats.silent(T0 + 1_001 + SILENCE_MS)
    assert (down.up, down.offset, down.cause) == (False, 5, last.event_id)
    assert beats.silent(T0 + 99_999) == []
    again = beats.hear(_lease("edge/edge-1"), 6, T0 + 99_999)
    assert again is not None and again.up


def test_an_edge_that_drains_is_full_or_says_goodbye_is_down() -> None:
    beats = Heartbeats()
    well: dict[str, Any] = {"capacity": 2, "calls": 1}
    up = beats.hear(_lease("edge/e", **well), 1, T0)
    assert up is not None and (up.up, up.capacity) == (True, 2)
    drains = well | {"draining": True}
    steps: list[tuple[dict[str, Any], bool | None]] = [
        ({"capacity": 2, "calls": 2}, False), (well, True), (well, None), (drains, False),
        (drains, None), (well, True), ({"capacity": 3, "calls": 1}, True),
        ({"kind": "release"}, False),
    ]  # fmt: skip
    for n, (values, told) in enumerate(steps):
        change = beats.hear(_lease("edge/e", **values), n + 2, T0)
        assert (None if change is None else change.up) == told, values
    _, record = presence_copy(up, "main")
    parsed = _parsed(record)
    assert isinstance(parsed, Liveness) and parsed.capacity == 2


def test_only_heartbeats_of_edges_and_workers_count() -> None:
    beats = Heartbeats()
    assert beats.hear(_lease("robots/0", kind="claim"), 1, T0) is None
    assert beats.hear(_lease("other/0"), 2, T0) is None
    worker = beats.hear(_lease("robots/0", partitions=[0, 1]), 3, T0)
    assert worker is not None
    assert (worker.kind, worker.name, worker.partitions) == ("worker", "robots/0", (0, 1))
    assert beats.hear(_lease("robots/0", partitions=[0, 1]), 4, T0) is None
    moved = beats.hear(_lease("robots/0", partitions=[0]), 5, T0)
    assert moved is not None and moved.partitions == (0,)


def test_coming_and_going_is_told_with_an_id_of_the_lease() -> None:
    change = Change("worker", "robots/0", False, 9, (0, 1), fresh("lease"), T0)
    _, record = presence_copy(change, "main")
    assert record.event_id == event_id(change.cause, "worker/down/main")
    parsed = _parsed(record)
    assert parsed == Liveness(record.event_id, "worker", "robots/0", False, 9, (0, 1))


def test_an_optout_and_its_undo_go_to_every_pool_whoever_wrote_them() -> None:
    for allowed in (False, True):
        event = opted_out("h", allowed, producer="api", scope="campaign", campaign_id="c").optout
        records = [record for _, record in optout_copies(event, {"b", "a"})]
        assert [r.pool for r in records] == ["a", "b"]
        assert len({r.event_id for r in records}) == 2
        assert all(_parsed(record).optout == event for record in records)
        assert [r.event_id for _, r in optout_copies(event, ["a", "b"])] == [
            r.event_id for r in records
        ]
