"""Who inherits a lost edge's calls: at most one, never from one that spoke, nobody while deaf."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.call.types import Call, Identity, Phase
from ingest.failover.inheritance import ends_of
from ingest.failover.succession import TURN_MS, EdgeClaim, Succession
from schemas.events import CallEvent, Lease
from schemas.ids import call_once_id, root_id

LEASE_MS = 15_000
_n = itertools.count()


def lease(edge: str, kind: Any = "heartbeat", **fields: Any) -> Lease:
    return Lease.model_validate(
        {"event_id": root_id(edge, next(_n)), "kind": kind, "occurred_at": 1, "producer": "edge",
         "shard": f"edge/{edge}", "worker": f"{edge}-1"} | fields
    )  # fmt: skip


def heir(edge: str = "b") -> Succession:
    return Succession(edge, f"{edge}-1", LEASE_MS)


def always(edge: str) -> bool:
    return True


def test_a_silent_edge_is_claimed_once_its_lease_ran_out() -> None:
    ours = heir()
    ours.hear(lease("a"), 1, 0)
    ours.hear(lease("b"), 2, LEASE_MS)
    assert ours.due(LEASE_MS, always) == []
    ours.hear(lease("b"), 3, LEASE_MS + 1)
    assert ours.due(LEASE_MS + 1, lambda edge: False) == [], "no calls, no claim"
    assert ours.due(LEASE_MS + 1, always) == [EdgeClaim("a", 1)]
    assert ours.due(LEASE_MS + 2, always) == [], "once"
    ours.try_again("a")
    assert ours.due(LEASE_MS + 2, always) == [EdgeClaim("a", 1)], "not acknowledged"
    assert ours.hear(lease("a", "claim", after=1, worker="b-1"), 4, LEASE_MS + 2) == "a"
    assert ours.due(LEASE_MS + 900, always) == []


def test_who_spoke_before_the_claim_keeps_its_calls() -> None:
    ours = heir()
    ours.hear(lease("a"), 1, 0)
    ours.hear(lease("b"), 2, 20_000)
    assert ours.due(20_000, always) == [EdgeClaim("a", 1)]
    ours.hear(lease("a"), 3, 20_001)
    assert ours.hear(lease("a", "claim", after=1, worker="b-1"), 4, 20_002) is None
    ours.hear(lease("b"), 5, 40_000)
    assert ours.due(40_000, always) == [EdgeClaim("a", 3)], "silent again: another claim"


def test_who_does_not_hear_itself_claims_nobody() -> None:
    ours = heir()
    ours.hear(lease("a"), 1, 0)
    assert ours.due(99_000, always) == []
    ours.hear(lease("b"), 2, 50_000)
    assert ours.due(99_000, always) == []


def test_the_next_in_line_follows_when_the_first_is_dying() -> None:
    edges = ["b", "c", "d"]
    all_ = {edge: heir(edge) for edge in edges}
    for one in all_.values():
        one.hear(lease("a"), 0, 0)
    claims: dict[str, int] = {}
    for at_ms in range(LEASE_MS, LEASE_MS + 4 * TURN_MS, 500):
        for edge in edges:
            for one in all_.values():
                one.hear(lease(edge), at_ms, at_ms)
        for edge, one in all_.items():
            if one.due(at_ms, always):
                claims[edge] = at_ms
    times = sorted(claims.values())
    assert set(claims) == set(edges)
    assert all(b - a >= TURN_MS - 500 for a, b in itertools.pairwise(times))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("hcr"), st.integers(0, 9))))
def test_every_reader_agrees_and_no_record_is_claimed_twice(
    steps: list[tuple[str, str, int]],
) -> None:
    """`a` is claimed by others, with any `after`: of all claims on one last record one wins."""
    readers = {edge: heir(edge) for edge in "bcd"}
    last = -1
    for offset, (edge, kind, back) in enumerate(steps):
        if kind == "c":
            after = offset - back
            record = lease("a", "claim", after=after, worker=f"{edge}-1")
            won = [e for e, reader in readers.items() if reader.hear(record, offset, offset) == "a"]
            valid = after == last >= 0
            assert won == ([edge] if valid and edge != "a" else [])
            if valid:
                last = offset
        else:
            record = lease(edge, "heartbeat" if kind == "h" else "release")
            for reader in readers.values():
                assert reader.hear(record, offset, offset) is None
            if edge == "a":
                last = offset


def call(phase: Phase, trunk: str = "sim") -> Call:
    return Call(Identity("c1", "a", "outbound", task_id="t1"), trunk, phase)


def test_an_inherited_call_is_ended() -> None:
    for phase in (Phase.DIALING, Phase.RINGING, Phase.ANSWERED):
        [(topic, event)] = ends_of(call(phase), 7)
        assert isinstance(event, CallEvent) and topic == "calls.events"
        assert (event.kind, event.disposition, event.cause_q850) == ("ended", "failed", 41)
        assert (event.event_id, event.edge_id, event.task_id) == (
            call_once_id("c1", "ended"), "a", "t1",
        )  # fmt: skip
