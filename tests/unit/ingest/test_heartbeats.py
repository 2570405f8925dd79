"""What the edge says of itself."""

from ingest.heartbeats import EdgeHeartbeats


async def _nowhere(*_: object) -> object:
    raise AssertionError("nothing is sent")


BEATS = EdgeHeartbeats("edge", "edge-1", "acme", _nowhere)  # type: ignore[arg-type] # never called


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
