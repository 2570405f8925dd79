"""Who inherits the calls of an edge that is gone for good: its machine is lost, and no spare came.

Pure: a fold of `robots.leases`. An edge that was silent for its lease is claimed by compare and
set: the claim names the edge's last valid record, and is void if that is no longer the last. So one
edge at most inherits, and none from an edge that spoke again before the claim. Times are those that
the broker stamped, and an edge claims only while it reads its own heartbeats back: who is cut off
from the broker hears nobody, and must not take that for their deaths.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ringlog.edges import SILENCE_MS, edge_of
from schemas.events import Lease

TURN_MS: Final = 2_000
"""How much later the next edge in line claims, in case the first is dying, too."""


@dataclass(frozen=True, slots=True)
class EdgeClaim:
    """Worth writing now: the edge, and its last valid record's offset."""

    edge_id: str
    after: int


@dataclass(frozen=True, slots=True)
class _Term:
    """`claimed` from a valid claim on until the edge is heard again."""

    last: int
    heard_ms: int
    claimed: bool = False


class Succession:
    """The leases as one edge process sees them."""

    def __init__(self, edge_id: str, instance: str, lease_ms: int) -> None:
        self._edge_id = edge_id
        self._instance = instance
        self._lease_ms = lease_ms
        self._terms: dict[str, _Term] = {}
        self._tried: dict[str, int] = {}

    def hear(self, lease: Lease, offset: int, at_ms: int) -> str | None:
        """Takes the next record, stamped by the broker at `at_ms`; gives the edge whose calls are
        ours from now on."""
        edge_id = edge_of(lease)
        if edge_id is None:
            return None
        if lease.kind in ("heartbeat", "release"):
            self._terms[edge_id] = _Term(offset, at_ms)
        elif lease.kind == "claim":
            term = self._terms.get(edge_id)
            if term is not None and lease.after == term.last:
                self._terms[edge_id] = replace(term, last=offset, claimed=True)
                return edge_id if lease.worker == self._instance else None
        return None

    def due(self, now_ms: int, has_calls: Callable[[str], bool]) -> list[EdgeClaim]:
        """Claims to write now, each once; none on edges without calls."""
        ours = self._terms.get(self._edge_id)
        if ours is None or now_ms - ours.heard_ms > SILENCE_MS:
            return []
        claims: list[EdgeClaim] = []
        for edge_id, term in self._terms.items():
            if edge_id == self._edge_id or term.claimed or self._tried.get(edge_id) == term.last:
                continue
            overdue_ms = now_ms - term.heard_ms - self._lease_ms
            if overdue_ms <= 0 or not has_calls(edge_id):
                continue
            if overdue_ms > self._rank(edge_id, now_ms) * TURN_MS:
                self._tried[edge_id] = term.last
                claims.append(EdgeClaim(edge_id, term.last))
        return claims

    def try_again(self, edge_id: str) -> None:
        """Whether the claim was written is not known: it is due again."""
        self._tried.pop(edge_id, None)

    def _rank(self, dead: str, now_ms: int) -> int:
        """Our place among the living in the line for this edge; another one for each edge."""
        living = [e for e, t in self._terms.items() if now_ms - t.heard_ms <= SILENCE_MS]
        return sorted(living, key=lambda e: hashlib.sha256(f"{dead}|{e}".encode()).digest()).index(
            self._edge_id
        )
