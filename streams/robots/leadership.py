"""When a worker claims a shard, sends heartbeats, takes over and stops speaking. Pure: time is an
argument.

`mono` is the worker's own monotonic clock, s. The host reads leases and barriers, calls these
methods, and writes what they return.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.events import Lease
from streams.robots.leases import LeaseState, Verdict, evolve_lease

Role = Literal["boot", "follow", "barrier", "catch_up", "speak", "stopped"]


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds."""

    heartbeat: float = 0.2
    death: float = 0.8
    fetch_wait: float = 0.1

    @property
    def fence(self) -> float:
        """Age of its last confirmed heartbeat at which a speaker stops speaking."""
        return 0.75 * self.death


@dataclass(frozen=True, slots=True)
class Claim:
    """Write a claim that is good only after this offset."""

    after: int


@dataclass(frozen=True, slots=True)
class Beat:
    """Write the n-th heartbeat of the epoch."""

    epoch: int
    n: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """Write a `takeover` of the epoch into every partition of the shard."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Release:
    """Write that the epoch's worker is leaving."""

    epoch: int
    n: int


Action = Claim | Beat | Barrier | Release


class Leadership:
    """One worker's part in one shard. `worker` is its name and process instance."""

    def __init__(
        self, shard: str, worker: str, partitions: Iterable[int], timing: Timing | None = None
    ) -> None:
        self.shard, self.worker = shard, worker
        self.partitions = frozenset(partitions)
        self.timing = timing or Timing()
        self.lease = LeaseState()
        self.role: Role = "boot"
        self.silent_since: float | None = None
        """When the lease's last valid heartbeat before our claim was read."""
        self._seen = 0.0
        self._confirmed = float("-inf")
        self._sent: dict[int, float] = {}
        self._n = 0
        self._beat_at = float("-inf")
        self._claimed_at = float("-inf")
        self._open: set[int] = set()

    @property
    def epoch(self) -> int:
        """The epoch in force, as far as the log was read."""
        return self.lease.epoch

    @property
    def mine(self) -> bool:
        """Whether the lease is this worker's."""
        return self.lease.worker == self.worker and self.role != "boot"

    def has_speaker(self, mono: float) -> bool:
        """Whether somebody speaks, this worker or another."""
        if self.role == "speak":
            return True
        return self.lease.worker not in (None, self.worker) and (
            mono - self._seen < self.timing.death and not self.lease.released
        )

    def booted(self, mono: float) -> None:
        """The log was read to its end. A booting worker waits for two heartbeats at most."""
        self.role = "follow"
        self._seen = mono - self.timing.death + 2 * self.timing.heartbeat

    def on_lease(self, offset: int, lease: Lease, mono: float) -> list[Action]:
        """One record of `robots.leases` as read; ignores those of other shards."""
        if lease.shard != self.shard:
            return []
        before = (self.lease.epoch, self.lease.worker)
        self.lease, verdict = evolve_lease(self.lease, offset, lease)
        self._note(verdict, lease, mono)
        if (self.lease.epoch, self.lease.worker) == before or self.role in ("boot", "stopped"):
            return []
        if self.lease.worker != self.worker:
            self.role = "follow"
            self._sent.clear()
            return []
        if verdict != "claimed":
            return []
        self.role, self._open, self._n = "barrier", set(self.partitions), 0
        self._sent.clear()
        self._confirmed = mono
        return [self._beat(mono), Barrier(self.epoch)]

    def _note(self, verdict: Verdict, lease: Lease, mono: float) -> None:
        own = lease.worker == self.worker
        if verdict == "void" and own:
            self._claimed_at = float("-inf")
        if verdict == "claimed" and own:
            self.silent_since = self._seen if self._seen > 0 else mono
        if verdict in ("beat", "claimed"):
            self._seen = mono
        if verdict == "released" and not own:
            # It will not speak again: no need to wait for its death.
            self._seen = float("-inf")
        if verdict == "beat" and own and (sent := self._sent.pop(lease.n, None)) is not None:
            self._confirmed = max(self._confirmed, sent)

    def on_barrier(self, partition: int, epoch: int, worker: str | None) -> None:
        """A `takeover` as read back from a partition."""
        if self.role != "barrier" or epoch != self.epoch or worker != self.worker:
            return
        self._open.discard(partition)
        if not self._open:
            self.role = "catch_up"

    def caught_up(self, epoch: int) -> bool:
        """The turns written before the barrier were read, too; this worker now speaks."""
        if self.role != "catch_up" or epoch != self.epoch:
            return False
        self.role = "speak"
        return True

    def may_speak(self, mono: float) -> bool:
        """Whether a directive may be written now. A heartbeat read back proves the lease."""
        return self.role == "speak" and mono - self._confirmed < self.timing.fence

    def tick(self, mono: float, late: float, answered_ago: float) -> list[Action]:
        """Called every few ms: `late` is how late the loop was, `answered_ago` how long ago the
        broker answered a fetch of the leases; both s."""
        if self.role in ("barrier", "catch_up", "speak"):
            return [self._beat(mono)] if mono - self._beat_at >= self.timing.heartbeat else []
        if self.role != "follow":
            return []
        death = self.timing.death
        blind = late > death / 4 or answered_ago > 2 * self.timing.fetch_wait + 0.1
        if blind and self._seen != float("-inf"):
            # Unread records prove nothing about the speaker.
            self._seen = max(self._seen, mono - death / 2)
        # Silence counts up to the broker's last answer, which held no heartbeat.
        if mono - answered_ago - self._seen <= death or mono - self._claimed_at <= death:
            return []
        self._claimed_at = mono
        return [Claim(self.lease.last)]

    def stop(self) -> list[Action]:
        """This worker leaves and stops speaking."""
        was, self.role = self.role, "stopped"
        if was in ("barrier", "catch_up", "speak"):
            self._n += 1
            return [Release(self.epoch, self._n)]
        return []

    def _beat(self, mono: float) -> Beat:
        self._n += 1
        self._beat_at = mono
        self._sent[self._n] = mono
        while len(self._sent) > 64:
            self._sent.pop(next(iter(self._sent)))
        return Beat(self.epoch, self._n)
