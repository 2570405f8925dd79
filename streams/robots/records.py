"""Records that a worker writes about itself: leases and the epoch barrier."""

from schemas.events import Directive, Lease
from schemas.ids import event_id, heartbeat_id, root_id
from streams.robots.leadership import Action, Beat, Claim, Release

TAKEOVER_KEY = "takeover"


def lease_record(
    action: Action, shard: str, worker: str, partitions: list[int], service: str, now_ms: int
) -> Lease:
    """The lease that a claim, a beat or a release is written as."""
    match action:
        case Claim(after):
            # Two claims of one worker after one record are the same attempt.
            this, kind, epoch, n = root_id(worker, shard, "claim", after), "claim", None, 0
        case Beat(epoch, n):
            this, kind = heartbeat_id(f"{worker}|{shard}", epoch, n), "heartbeat"
        case Release(epoch, n):
            this, kind = root_id(worker, shard, epoch, "release"), "release"
        case _:
            raise ValueError(f"{action} is no lease")
    return Lease.model_validate(
        {
            "event_id": this, "kind": kind, "occurred_at": now_ms, "producer": service,
            "shard": shard, "worker": worker, "n": n, "epoch": epoch, "partitions": partitions,
            "after": action.after if isinstance(action, Claim) else None,
        }
    )  # fmt: skip


def barrier_record(
    shard: str, worker: str, epoch: int, partition: int, service: str, now_ms: int
) -> Directive:
    """The `takeover` of an epoch for one directive partition."""
    this = event_id(root_id(worker, shard, epoch), "takeover", partition)
    return Directive(
        event_id=this,
        kind="takeover",
        occurred_at=now_ms,
        producer=service,
        call_id=TAKEOVER_KEY,
        epoch=epoch,
        directive_id=this,
        seq=0,
        worker=worker,
    )
