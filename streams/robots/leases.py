"""Who speaks for a shard: the fold of its leases. Pure.

A claim wins only if `after` still is the offset of the shard's last valid record (compare and set);
its own offset is the new epoch, so epochs grow in every directive partition, also when partitions
change shard. Heartbeats and releases count only from the current epoch and worker; a heartbeat of a
higher epoch is adopted, because its writer has seen a valid claim.
"""

from dataclasses import dataclass, replace
from typing import Literal

from schemas.events import Lease

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
        # winner's heartbeat, which follows at once, decides.
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
