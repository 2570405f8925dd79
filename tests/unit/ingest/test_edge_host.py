"""The edge's host without a broker: draining."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest.call.types import Phase
from ingest.edge import Edge
from ingest.freeswitch.switch import FreeSwitch
from ringlog.clock import now_ms
from ringlog.kafka.reader import Received
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from schemas.events import Lease, TaskEvent
from schemas.ids import root_id
from schemas.registry import MemoryRegistry
from schemas.wire import Codec


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    made = Edge(Lifecycle("edge", Settings(home=tmp_path)), Codec(MemoryRegistry()))
    yield made
    await made.disconnect()


def assigned(n: int) -> Received:
    event = TaskEvent(
        event_id=root_id("assigned", n), kind="assigned", occurred_at=1, producer="dispatch",
        call_id=root_id("call", n), task_id=root_id("task", n), edge_id="edge", attempt=1,
        phone="+8613800000000", permit_expires_at=2**40,
    )  # fmt: skip
    return Received("tasks.events", 0, n, 1, event)


def serve(edge: Edge) -> None:
    edge.following.serve(edge)
    edge.following.dial()


async def test_a_draining_edge_takes_no_assignment(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Review 11: an assignment during the drain is left for the successor."""
    begun: list[str] = []

    def spawn(work: Any, name: str) -> None:
        work.close()
        begun.append(name)

    monkeypatch.setattr(edge, "spawn", spawn)
    serve(edge)
    edge.following.take(assigned(1))
    edge.stopping = True
    edge.following.take(assigned(2))
    assert begun == [root_id("call", 1)] and list(edge.actors) == begun


async def test_a_number_is_checked_at_the_dial_too(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object) -> tuple[bool, int]:
        return False, 7

    monkeypatch.setattr(edge.optouts, "look_up", nobody)
    monkeypatch.setattr(edge, "spawn", lambda work, name: work.close())
    serve(edge)
    edge.following.take(assigned(1))
    edge.following.take(assigned(2))
    one, two = (actor.call.identity for actor in edge.actors.values())
    assert (await edge.check_number(one, one.phone or "")).allowed
    assert (await edge.check_number(two, "138 0000 0000")).in_call
    edge.stopping = True
    assert not (await edge.check_number(one, one.phone or "")).allowed


async def test_the_settings_name_the_switch(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, freeswitch="[::1]:8021", freeswitch_playback="file")
    made = Edge(Lifecycle("edge", config), Codec(MemoryRegistry()))
    switch = made.switchboard.of("c1")
    assert isinstance(switch, FreeSwitch)
    assert (switch._config.host, switch._config.port, switch._config.raw) == ("::1", 8021, False)
    assert switch._media_url_of("客 1") == (
        f"ws://127.0.0.1:18090/media/%E5%AE%A2%201?token={made.token_of('客 1')}"
    )
    await made.optouts.stop()


async def test_a_drained_edge_puts_assignments_off_and_takes_calls_again(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object) -> tuple[bool, int]:
        return False, 7

    monkeypatch.setattr(edge.optouts, "look_up", nobody)
    monkeypatch.setattr(edge, "spawn", lambda work, name: work.close())
    serve(edge)
    edge.drain.begin(None, 1_000)
    edge.following.take(assigned(1))
    [one] = (actor.call.identity for actor in edge.actors.values())
    assert (await edge.check_number(one, one.phone or "")).stopping
    assert not edge.takes_calls and edge._load().draining
    edge.drain.end()
    assert (await edge.check_number(one, one.phone or "")).allowed and edge.takes_calls


async def test_beside_other_edges_the_log_is_read_to_its_end_before_a_dial(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only then is it known whether another edge dials the number too."""

    async def nobody(*_: object) -> tuple[bool, int]:
        return False, 7

    read: list[int] = []

    async def to_the_end() -> None:
        read.append(1)
        if len(read) == 2:
            raise TimeoutError

    monkeypatch.setattr(edge.optouts, "look_up", nobody)
    monkeypatch.setattr(edge._follower, "to_the_end", to_the_end)
    monkeypatch.setattr(edge, "spawn", lambda work, name: work.close())
    serve(edge)
    edge.following.take(assigned(1))
    [actor] = edge.actors.values()
    one = actor.call.identity
    lease = Lease(
        event_id=root_id("lease"), kind="heartbeat", occurred_at=now_ms(), producer="edge",
        shard="edge/far", worker="far-1", epoch=1,
    )  # fmt: skip
    actor.call = replace(actor.call, phase=Phase.DIALING)
    assert (await edge.check_number(one, one.phone or "")).allowed and not read
    edge.following.take(Received("robots.leases", 0, 1, now_ms(), lease))
    assert [found.edge_id for found in edge.following.fleet.serving(now_ms())] == ["far"]
    assert (await edge.check_number(one, one.phone or "")).allowed and len(read) == 1
    assert not (await edge.check_number(one, one.phone or "")).allowed, "the log is not readable"
    actor.call = replace(actor.call, phase=Phase.PERMITTED)
    assert (await edge.check_number(one, one.phone or "")).allowed and len(read) == 2
