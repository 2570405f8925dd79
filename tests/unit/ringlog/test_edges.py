"""The fleet as its heartbeats tell."""

from typing import Any

from ringlog.edges import SILENCE_MS, Fleet
from schemas.events import Lease
from schemas.ids import root_id

AT = 1_000_000


def beat(edge: str, kind: Any = "heartbeat", **fields: Any) -> Lease:
    return Lease.model_validate(
        {"event_id": root_id(edge, kind), "kind": kind, "occurred_at": AT, "producer": "edge",
         "shard": f"edge/{edge}", "worker": f"{edge}-1", "rtp_host": "10.0.0.7",
         "media_url": "wss://far/media", "control_url": f"http://{edge}:18091", "capacity": 10,
         "calls": 0} | fields
    )  # fmt: skip


def fleet(*beats: Lease) -> Fleet:
    made = Fleet()
    for n, one in enumerate(beats):
        made.hear(one, n, AT)
    return made


def names(found: Any) -> list[str]:
    return [edge.edge_id for edge in found]


def test_the_least_loaded_edge_is_first_and_big_ones_carry_more() -> None:
    ours = fleet(beat("small", calls=3), beat("big", calls=20, capacity=100), beat("even", calls=3))
    assert names(ours.by_load(AT)) == ["big", "even", "small"]
    assert names(ours.by_load(AT, but=["big"])) == ["even", "small"]
    big = ours.of("big")
    assert big is not None and big.reached is not None and big.reached.rtp_host == "10.0.0.7"
    assert big.reached.control_url == "http://big:18091"


def test_calls_that_no_heartbeat_counts_yet_count() -> None:
    ours = fleet(beat("a"), beat("b"))
    chosen = []
    for _ in range(4):
        chosen.append(ours.by_load(AT)[0].edge_id)
        ours.gave(chosen[-1])
    assert chosen == ["a", "b", "a", "b"]
    ours.hear(beat("a", calls=1), 9, AT)
    assert names(ours.by_load(AT)) == ["a", "b"]


def test_who_drains_is_full_silent_or_gone_takes_no_calls() -> None:
    ours = fleet(
        beat("drains", draining=True), beat("full", calls=10), beat("gone"),
        beat("gone", kind="release"), beat("well"),
    )  # fmt: skip
    assert names(ours.by_load(AT)) == ["well"]
    assert names(ours.serving(AT)) == ["drains", "full", "well"]
    assert names(ours.serving(AT + SILENCE_MS + 1)) == []
    ours.hear(beat("full", calls=9), 9, AT + SILENCE_MS)
    assert names(ours.by_load(AT + SILENCE_MS + 1)) == ["full"]


def test_other_leases_are_passed_over() -> None:
    ours = fleet(
        beat("x", shard="robots/0"), beat("y", kind="claim"), beat("z", shard="service/api")
    )
    assert ours.all() == [] and ours.of("y") is None
