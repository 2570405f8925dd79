"""What the edge says of itself."""

import asyncio
from typing import cast

from ingest.heartbeats import EdgeHeartbeats, Load
from ringlog.edges import Advertised, Fleet
from schemas.envelope import Event
from schemas.events import Lease

REACHED = Advertised("10.0.0.7", "wss://far/media", "http://far:18091", 40)


async def _nowhere(topic: str, event: Event) -> "asyncio.Future[object]":
    raise AssertionError("nothing is sent")


BEATS = EdgeHeartbeats("edge", "edge-1", "acme", _nowhere, REACHED, lambda: Load(3, True))


def test_calls_are_told_by_pool() -> None:
    events = BEATS.calls_alive([("sales", "a"), ("service", "b"), ("sales", "c")], 3)
    assert {e.pool: e.call_ids for e in events} == {"sales": ["a", "c"], "service": ["b"]}
    assert {(e.edge_id, e.tenant_id, e.kind) for e in events} == {("edge", "acme", "calls_alive")}
    again = BEATS.calls_alive([("sales", "a")], 4)
    assert again[0].event_id not in {e.event_id for e in events}
    assert BEATS.calls_alive([], 5) == []


def test_a_lease_names_the_edge_and_the_process() -> None:
    beat, release = BEATS.lease("heartbeat", 7), BEATS.lease("release", 0)
    assert (beat.shard, beat.worker, beat.n) == ("edge/edge", "edge-1", 7)
    assert release.kind == "release" and release.event_id != BEATS.lease("heartbeat", 0).event_id
    fleet = Fleet()
    fleet.hear(beat, 5, 1)
    edge = fleet.of("edge")
    assert edge is not None and edge.reached == REACHED
    assert (edge.calls, edge.draining, edge.instance, edge.offset) == (3, True, "edge-1", 5)


async def test_news_are_told_at_once() -> None:
    sent: list[Lease] = []

    async def queue(topic: str, event: Event) -> "asyncio.Future[object]":
        sent.append(cast(Lease, event))
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    draining = False
    beats = EdgeHeartbeats("edge", "edge-1", "acme", queue, REACHED, lambda: Load(0, draining))
    task = asyncio.create_task(beats.tell_lease())
    await asyncio.sleep(0.01)
    draining = True
    beats.tell_now()
    async with asyncio.timeout(0.9):
        while len(sent) < 2:
            await asyncio.sleep(0.001)
    task.cancel()
    assert [one.draining for one in sent] == [False, True]
