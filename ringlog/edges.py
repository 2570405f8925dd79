"""The fleet of edges: who is alive, who drains, how loaded each is, and where it is reached.

Pure: a fold of `robots.leases`, on which every edge writes two heartbeats a second.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.events import Lease

SILENCE_MS: Final = 3_000
"""An edge that was silent for this long gets no new calls."""

PREFIX: Final = "edge/"
"""Of an edge's shard on `robots.leases`."""


@dataclass(frozen=True, slots=True)
class Advertised:
    """How others reach an edge: `rtp_host` by far ends, `media_url` by WebSocket clients,
    `control_url` by the API. `capacity` is how many calls it takes at once."""

    rtp_host: str
    media_url: str
    control_url: str
    capacity: int


@dataclass(frozen=True, slots=True)
class FleetEdge:
    """An edge as of its last heartbeat, which came at `heard_ms`; `offset` is that record's."""

    edge_id: str
    instance: str
    heard_ms: int
    offset: int
    reached: Advertised | None
    calls: int
    draining: bool
    gone: bool

    @property
    def full(self) -> bool:
        """Whether it has no room for another call."""
        return self.reached is not None and self.calls >= self.reached.capacity

    def serves(self, now_ms: int) -> bool:
        """Whether somebody serves it: its calls go on."""
        return not self.gone and now_ms - self.heard_ms <= SILENCE_MS

    def takes_calls(self, now_ms: int) -> bool:
        """Whether it takes another call."""
        return self.serves(now_ms) and not self.draining and not self.full

    def load_with(self, more: int) -> float:
        """Share of its room that is taken, with some calls more than it said."""
        capacity = self.reached.capacity if self.reached is not None else 1
        return (self.calls + more) / max(1, capacity)


class Fleet:
    """All edges that ever sent a heartbeat."""

    def __init__(self) -> None:
        self._edges: dict[str, FleetEdge] = {}
        self._given: dict[str, int] = {}

    def hear(self, lease: Lease, offset: int, at_ms: int) -> None:
        """Takes the next record of `robots.leases`; `at_ms` is its time of arrival."""
        edge_id = edge_of(lease)
        if edge_id is None or lease.kind not in ("heartbeat", "release"):
            return
        self._given.pop(edge_id, None)
        self._edges[edge_id] = FleetEdge(
            edge_id, lease.worker, at_ms, offset, advertised(lease), lease.calls or 0,
            lease.draining, gone=lease.kind == "release",
        )  # fmt: skip

    def gave(self, edge_id: str) -> None:
        """We gave it a call, which its next heartbeat counts."""
        self._given[edge_id] = self._given.get(edge_id, 0) + 1

    def of(self, edge_id: str) -> FleetEdge | None:
        """One edge, if it was ever heard of."""
        return self._edges.get(edge_id)

    def all(self) -> list[FleetEdge]:
        """Every edge, by id."""
        return [edge for _, edge in sorted(self._edges.items())]

    def serving(self, now_ms: int) -> list[FleetEdge]:
        """The edges that somebody serves, by id."""
        return [edge for edge in self.all() if edge.serves(now_ms)]

    def by_load(self, now_ms: int, but: Iterable[str] = ()) -> list[FleetEdge]:
        """The edges that take another call, the least loaded first, then by id."""
        left = set(but)
        able = [e for e in self.all() if e.takes_calls(now_ms) and e.edge_id not in left]
        return sorted(able, key=lambda edge: edge.load_with(self._given.get(edge.edge_id, 0)))


def edge_of(lease: Lease) -> str | None:
    """The edge that a lease is of; None for another's."""
    return lease.shard.removeprefix(PREFIX) if lease.shard.startswith(PREFIX) else None


def advertised(lease: Lease) -> Advertised | None:
    """The addresses on a heartbeat; None on one of an edge that names none."""
    if lease.capacity is None:
        return None
    return Advertised(
        lease.rtp_host or "", lease.media_url or "", lease.control_url or "", lease.capacity
    )
