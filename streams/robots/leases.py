"""Who speaks for a shard: the fold of its leases, and which directives count. Pure.

A claim wins only if `after` still is the offset of the shard's last valid record (compare and
set); its own offset is the new epoch, so epochs grow in every directive partition, also when
partitions change shard. Heartbeats and releases count only from the current epoch and worker; a
heartbeat of a higher epoch is adopted, because whoever read it back has seen a valid claim.
"""

from dataclasses import dataclass, replace
from typing import Literal

from schemas.events import Directive, Lease

NONE_YET = -1


@dataclass(frozen=True, slots=True)
class LeaseState:
    """`last` is the offset of the last valid record; `worker` is None before the first claim."""

    epoch: int = NONE_YET
    worker: str | None = None
    last: int = NONE_YET
    released: bool = False


Verdict = Literal["claimed", "beat", "released", "void", "stale"]


def evolve_lease(state: LeaseState, offset: int, lease: Lease) -> tuple[LeaseState, Verdict]:
    """Folds one record of the shard, at its offset in `robots.leases`."""
    if lease.kind == "claim":
        # A fold that began in the middle of the log cannot judge a claim by what came before; the
        # winner's heartbeat, which follows at once, tells.
        if (NONE_YET if lease.after is None else lease.after) != state.last:
            return state, "void"
        return LeaseState(offset, lease.worker, offset), "claimed"
    if lease.kind == "exited":
        if state.worker is None or not _same(state.worker, lease.worker):
            return state, "stale"
        return replace(state, last=offset, released=True), "released"
    epoch = NONE_YET if lease.epoch is None else lease.epoch
    if epoch > state.epoch or (epoch, lease.worker) == (state.epoch, state.worker):
        released = lease.kind == "release"
        return LeaseState(epoch, lease.worker, offset, released), (
            "released" if released else "beat"
        )
    return state, "stale"


def _same(instance: str, reaped: str) -> bool:
    """Whether a reaped process (`name.pid`) is the instance (`name.pid.start`)."""
    return instance == reaped or instance.startswith(f"{reaped}.")


Standing = Literal["accepted", "barrier", "stale", "duplicate"]


class Acceptance:
    """Which directives count, from the order of each partition alone: the epoch is at least the
    highest seen before it in the partition, and the id is new."""

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self._ids: dict[str, set[str]] = {}

    def evolve(self, partition: int, directive: Directive) -> Standing:
        """Folds one directive of a partition."""
        epoch = NONE_YET if directive.epoch is None else directive.epoch
        if epoch < self.epochs.get(partition, NONE_YET):
            return "stale"
        self.epochs[partition] = epoch
        if directive.kind == "takeover":
            return "barrier"
        ids = self._ids.setdefault(directive.call_id or "", set())
        if directive.directive_id in ids:
            return "duplicate"
        ids.add(directive.directive_id)
        return "accepted"

    def has(self, call_id: str, directive_id: str) -> bool:
        """Whether a directive was accepted."""
        return directive_id in self._ids.get(call_id, ())

    def forget(self, call_id: str) -> None:
        """Drops the ids of a call that is long over."""
        self._ids.pop(call_id, None)
