"""Who inherits a lost edge's calls: at most one, never from one that spoke, nobody while deaf."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.call.types import Call, Identity, Phase
from ingest.failover.inheritance import ends_of
from ingest.failover.succession import TURN_MS, EdgeClaim, Succession, Won
from schemas.events import CallEvent, Lease
from schemas.ids import call_once_id, root_id

LEASE_MS = 15_000
TAKEOVER_MS = 1_500
_n = itertools.count()


def lease(edge: str, kind: Any = "heartbeat", **fields: Any) -> Lease:
    return Lease.model_validate(
        {"event_id": root_id(edge, next(_n)), "kind": kind, "occurred_at": 1, "producer": "edge",
         "shard": f"edge/{edge}", "worker": f"{edge}-1"} | fields
    )  # fmt: skip


def heir(edge: str = "b") -> Succession:
    return Succession(edge, f"{edge}-1", TAKEOVER_MS, LEASE_MS)


def always(edge: str) -> bool:
    return True


def never(edge: str) -> bool:
    return False


def beat(ours: Succession, *edges: str, since_ms: int, until_ms: int, offset: int = 1_000) -> None:
    """Their heartbeats, twice a second, the last at `until_ms`."""
    for n, at_ms in enumerate(range(since_ms, until_ms + 1, 500)):
        for m, edge in enumerate(edges):
            ours.hear(lease(edge), offset + n * len(edges) + m, at_ms)


def test_a_silent_edge_is_claimed_for_what_a_switch_holds_and_later_for_the_rest() -> None:
    ours = heir()
    ours.hear(lease("a"), 1, 0)
    beat(ours, "b", since_ms=0, until_ms=1_500)
    assert ours.due(always, always) == []
    beat(ours, "b", since_ms=2_000, until_ms=2_000)
    assert ours.due(always, never) == [], "no switch holds any, so they may yet come back"
    assert ours.due(always, always) == [EdgeClaim("a", 1)]
    assert ours.due(always, always) == [], "once"
    ours.try_again("a")
    assert ours.due(always, always) == [EdgeClaim("a", 1)], "not acknowledged"
    won = ours.hear(lease("a", "claim", after=1, worker="b-1"), 2, 2_010)
    assert won == Won("a", 2_010, all_=False)
    beat(ours, "b", since_ms=2_500, until_ms=LEASE_MS)
    assert ours.due(always, always) == []
    beat(ours, "b", since_ms=LEASE_MS + 500, until_ms=LEASE_MS + 500)
    assert ours.due(never, always) == [], "none is left"
    assert ours.due(always, never) == [EdgeClaim("a", 2)]
    won = ours.hear(lease("a", "claim", after=2, worker="b-1"), 3, LEASE_MS + 510)
    assert won is not None and won.all_
    beat(ours, "b", since_ms=LEASE_MS + 1_000, until_ms=2 * LEASE_MS)
    assert ours.due(always, always) == []


def test_who_spoke_before_the_claim_keeps_its_calls() -> None:
    ours = heir()
    ours.hear(lease("a"), 1, 0)
    beat(ours, "b", since_ms=0, until_ms=2_000)
    assert ours.due(always, always) == [EdgeClaim("a", 1)]
    ours.hear(lease("a"), 3, 2_001)
    assert ours.hear(lease("a", "claim", after=1, worker="b-1"), 4, 2_002) is None
    beat(ours, "b", since_ms=2_500, until_ms=4_500)
    assert ours.due(always, always) == [EdgeClaim("a", 3)], "silent again: another claim"


def test_who_does_not_hear_itself_claims_nobody() -> None:
    ours = heir()
    ours.hear(lease("a"), 1, 0)
    assert ours.due(always, always) == []
    beat(ours, "b", since_ms=0, until_ms=500)
    ours.hear(lease("b"), 2, 50_000)  # the broker was away: so was everybody
    assert ours.due(always, always) == []
    beat(ours, "b", since_ms=50_500, until_ms=51_500)
    assert ours.due(always, always) == []
    beat(ours, "b", since_ms=52_000, until_ms=52_000)
    assert ours.due(always, always) == [EdgeClaim("a", 1)], "a is still silent, and we are not"
    won = ours.hear(lease("a", "claim", after=1, worker="b-1"), 3, 52_010)
    assert won is not None and not won.all_, "the lease counts anew, too"


def test_an_heir_that_dies_has_heirs() -> None:
    """b has claimed a, and is silent before it has taken all of its calls."""
    ours = heir("c")
    ours.hear(lease("a"), 1, 0)
    beat(ours, "b", "c", since_ms=0, until_ms=2_000)
    assert ours.hear(lease("a", "claim", after=1, worker="b-1"), 2, 2_010) is None
    beat(ours, "b", "c", since_ms=2_500, until_ms=4_000)
    assert ours.due(always, always) == [], "b lives, and has them in hand"
    beat(ours, "c", since_ms=4_500, until_ms=7_000)
    claims = ours.due(always, always)
    assert {claim.edge_id for claim in claims} == {"a", "b"}
    assert EdgeClaim("a", 2) in claims


def test_the_next_in_line_follows_when_the_first_is_dying() -> None:
    edges = ["b", "c", "d"]
    all_ = {edge: heir(edge) for edge in edges}
    for one in all_.values():
        one.hear(lease("a"), 0, 0)
    claims: dict[str, int] = {}
    for at_ms in range(0, TAKEOVER_MS + 4 * TURN_MS, 100):
        for edge in edges:
            for one in all_.values():
                one.hear(lease(edge), at_ms, at_ms)
        for edge, one in all_.items():
            if one.due(always, always):
                claims[edge] = at_ms
    times = sorted(claims.values())
    assert set(claims) == set(edges)
    assert all(b - a >= TURN_MS - 100 for a, b in itertools.pairwise(times))


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
            won = [e for e, reader in readers.items() if reader.hear(record, offset, offset)]
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
