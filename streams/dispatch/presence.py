"""Which edges and robot workers are up, from their heartbeats on `robots.leases`.

Up at the first heartbeat, down after SILENCE_MS without one. An edge that drains, is full or says
goodbye is down, too: down means that it gets no new calls. Pure: the clock is an argument.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ringlog.edges import SILENCE_MS
from schemas.events import Lease


@dataclass(frozen=True, slots=True)
class Change:
    """An edge or a shard of workers that came or went. `cause` is the id of the lease record that
    showed it (of the last heartbeat, where silence did), `offset` is that record's; `at_ms` derives
    from its time. `capacity` is how many calls an edge takes at once; None: it does not say."""

    kind: Literal["edge", "worker"]
    name: str
    up: bool
    offset: int
    partitions: tuple[int, ...]
    cause: str
    at_ms: int
    capacity: int | None = None


@dataclass(slots=True)
class _Holder:
    last: Change
    heard_ms: int


class Heartbeats:
    """Who sent a heartbeat when."""

    def __init__(self) -> None:
        self._holders: dict[str, _Holder] = {}

    def hear(self, lease: Lease, offset: int, at_ms: int) -> Change | None:
        """Takes one record; returns what it changed. `at_ms` is its time of arrival."""
        named = _named(lease.shard)
        if named is None:
            return None
        kind, name = named
        if lease.kind != "heartbeat" and (kind, lease.kind) != ("edge", "release"):
            return None
        up = lease.kind == "heartbeat" and not lease.draining and not _is_full(lease)
        partitions, at = tuple(lease.partitions), lease.occurred_at
        now = Change(kind, name, up, offset, partitions, lease.event_id, at, lease.capacity)
        holder = self._holders.get(lease.shard)
        if holder is None:
            self._holders[lease.shard] = _Holder(now, at_ms)
            return now
        before, holder.last, holder.heard_ms = holder.last, now, at_ms
        return None if _told(before) == _told(now) else now

    def silent(self, now_ms: int) -> list[Change]:
        """Those that went down since the last call."""
        gone = []
        for holder in self._holders.values():
            last = holder.last
            if last.up and now_ms - holder.heard_ms > SILENCE_MS:
                holder.last = replace(last, up=False, at_ms=last.at_ms + SILENCE_MS)
                gone.append(holder.last)
        return gone

    def all(self) -> list[Change]:
        """Everybody's current state."""
        return [holder.last for holder in self._holders.values()]


def _is_full(lease: Lease) -> bool:
    return lease.capacity is not None and (lease.calls or 0) >= lease.capacity


def _told(change: Change) -> tuple[object, ...]:
    return change.up, change.partitions, change.capacity


def _named(shard: str) -> tuple[Literal["edge", "worker"], str] | None:
    """Kind and name: an edge is named without its prefix, as calls name it."""
    if shard.startswith("edge/"):
        return "edge", shard.removeprefix("edge/")
    if shard.startswith("robots/"):
        return "worker", shard
    return None
