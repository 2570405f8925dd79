"""Who inherits the calls of an edge that is gone: it was silent, and no spare came.

Pure: a fold of `robots.leases`. A silent edge is claimed by compare and set: the claim names the
edge's last valid record, and is void if that is no longer the last. So one edge at most inherits,
and none from an edge that spoke again before the claim. All times are those that the broker
stamped: silence is counted from record to record of our own heartbeats as we read them back, and
starts anew when they were held up. Who is cut off from the broker, or stalled, hears nobody, and
must not take that for their deaths.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ringlog.edges import edge_of
from schemas.events import Lease

TURN_MS: Final = 500
"""How much later the next edge in line claims, in case the first is dying, too."""


@dataclass(frozen=True, slots=True)
class EdgeClaim:
    """Worth writing now: the edge, and its last valid record's offset."""

    edge_id: str
    after: int


class Won(NamedTuple):
    """An edge whose calls are ours from now on. `all_`: those, too, that no switch holds."""

    edge_id: str
    silent_ms: int
    all_: bool


@dataclass(frozen=True, slots=True)
class _Term:
    """An edge since it was last heard. `claimant`: the process with the last valid claim, which
    may be for all of its calls."""

    last: int
    heard_ms: int
    worker: str
    claimant: str | None = None
    claimed_all: bool = False


class Succession:
    """The leases as one edge process sees them."""

    def __init__(self, edge_id: str, instance: str, takeover_ms: int, lease_ms: int) -> None:
        """Silence after which calls that a switch holds are claimed, and after which all are."""
        self._edge_id = edge_id
        self._instance = instance
        self._takeover_ms = takeover_ms
        self._lease_ms = lease_ms
        self._terms: dict[str, _Term] = {}
        self._tried: dict[str, int] = {}
        self._all_due: dict[str, bool] = {}  # what our last claim on an edge was for
        self._steady_ms = 0  # from when on our own heartbeats came without a stop

    def hear(self, lease: Lease, offset: int, at_ms: int) -> Won | None:
        """Takes the next record, stamped by the broker at `at_ms`; gives the edge whose calls are
        ours from now on."""
        edge_id = edge_of(lease)
        if edge_id is None:
            return None
        term = self._terms.get(edge_id)
        if lease.kind in ("heartbeat", "release"):
            if edge_id == self._edge_id and (
                term is None or at_ms - term.heard_ms > self._takeover_ms * 2 // 3
            ):
                self._steady_ms = at_ms
            self._terms[edge_id] = _Term(offset, at_ms, lease.worker)
        elif lease.kind == "claim" and term is not None and lease.after == term.last:
            # Readers agree on who has won. What for, the winner alone knows and needs to know.
            ours = lease.worker == self._instance
            all_ = at_ms - term.heard_ms > self._lease_ms
            all_ = self._all_due.get(edge_id, False) if ours else all_
            self._terms[edge_id] = replace(
                term, last=offset, claimant=lease.worker, claimed_all=all_
            )
            if ours:
                return Won(edge_id, at_ms - term.heard_ms, all_)
        return None

    def due(
        self, has_calls: Callable[[str], bool], holds_calls: Callable[[str], bool]
    ) -> list[EdgeClaim]:
        """Claims to write now, each once. `has_calls`: whether an edge has any, `holds_calls`:
        whether we can take some over."""
        claims: list[EdgeClaim] = []
        for edge_id, term in self._terms.items():
            if edge_id == self._edge_id or self._tried.get(edge_id) == term.last:
                continue
            all_ = self._silent_ms(term) > self._lease_ms
            over_ms = self._silent_ms(term) - (self._lease_ms if all_ else self._takeover_ms)
            if over_ms <= 0 or not (has_calls if all_ else holds_calls)(edge_id):
                continue
            if self._is_in_hand(term, all_):
                continue
            if over_ms > self._rank(edge_id) * TURN_MS:
                self._tried[edge_id], self._all_due[edge_id] = term.last, all_
                claims.append(EdgeClaim(edge_id, term.last))
        return claims

    def try_again(self, edge_id: str) -> None:
        """Whether the claim was written is not known: it is due again."""
        self._tried.pop(edge_id, None)

    def _silent_ms(self, term: _Term) -> int:
        """How long an edge was silent while we heard ourselves."""
        ours = self._terms.get(self._edge_id)
        return 0 if ours is None else ours.heard_ms - max(term.heard_ms, self._steady_ms)

    def _is_in_hand(self, term: _Term, all_: bool) -> bool:
        """Whether somebody who lives has claimed as much as is due."""
        if term.claimant is None or (all_ and not term.claimed_all):
            return False
        return any(
            one.worker == term.claimant and self._silent_ms(one) <= self._takeover_ms
            for one in self._terms.values()
        )

    def _rank(self, dead: str) -> int:
        """Our place among the living in the line for this edge; another one for each edge."""
        living = {e for e, t in self._terms.items() if self._silent_ms(t) <= self._takeover_ms}
        line = sorted(
            living | {self._edge_id},
            key=lambda e: hashlib.sha256(f"{dead}|{e}".encode()).digest(),
        )
        return line.index(self._edge_id)
