"""Two robot workers on a log in memory, with a clock and a chance of its own: what `Worker` does
around leadership and shard, without sockets. Times are ms since the start of the world.

A worker's writes wait in an outbox as in a producer: a stopped process keeps them and sends them
when it wakes, a killed one loses some. Every partition is read at its own pace.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from ringlog.kafka.reader import Received
from schemas.catalogue import CALL_PARTITIONS, topic
from schemas.envelope import Event
from schemas.events import Directive, Lease
from schemas.partition import partition_of
from streams.robots.leadership import Action, Barrier, Leadership, Timing
from streams.robots.library import Library
from streams.robots.records import barrier_record, lease_record
from streams.robots.shard import TOPICS, Shard

SHARD = "robots/0"
START_MS = 1_750_000_000_000
TIMING = Timing(death=0.5)
PARTITIONS = list(range(CALL_PARTITIONS))
TICK_MS = 20
FETCH_WAIT_MS = 100

Place = tuple[str, int]
LEASES: Place = ("robots.leases", 0)
CALLS: list[Place] = [(name, p) for name in TOPICS for p in PARTITIONS]


@dataclass
class Broker:
    """Partitions, and whether anyone reaches them now."""

    now: int = 0
    away: bool = False
    partitions: dict[Place, list[Received]] = field(default_factory=dict)

    def append(self, name: str, event: Event, partition: int | None = None) -> None:
        """Writes a record at the end of its partition."""
        if partition is None:
            partition = partition_of(topic(name).key(event), topic(name).partitions)
        records = self.partitions.setdefault((name, partition), [])
        records.append(Received(name, partition, len(records), START_MS + self.now, event))

    def end(self, place: Place) -> int:
        return len(self.partitions.get(place, ()))

    def read(self, place: Place, since: int, most: int) -> list[Received]:
        return self.partitions.get(place, [])[since : since + most]


@dataclass
class Client:
    """A process's connection: an outbox in order, and a position in every partition."""

    broker: Broker
    chance: random.Random
    lag_ms: tuple[int, int] = (1, 15)
    cut: bool = False
    """No way to the broker."""
    positions: dict[Place, int] = field(default_factory=dict)
    outbox: list[tuple[int, str, Event, int | None]] = field(default_factory=list)
    _next: dict[Place, int] = field(default_factory=dict)
    _away: bool = False

    @property
    def connected(self) -> bool:
        return not self.cut and not self.broker.away

    def send(self, name: str, event: Event, partition: int | None = None) -> None:
        ready = self.broker.now + self.chance.randint(1, 8)
        ready = max([ready, *(at for at, *_ in self.outbox[-1:])])
        self.outbox.append((ready, name, event, partition))

    def flush(self) -> None:
        """What has been on its way long enough arrives, in order."""
        while self.connected and self.outbox and self.outbox[0][0] <= self.broker.now:
            _, name, event, partition = self.outbox.pop(0)
            self.broker.append(name, event, partition)

    def poll(self, places: Iterable[Place]) -> list[Received]:
        """What has come, from partitions whose turn it is."""
        found: list[Received] = []
        if not self.connected:
            self._away = True
            return found
        if self._away:
            self._away = False
            self._next.clear()  # one answer of the broker holds all partitions
        for place in places:
            at = self.positions.get(place, 0)
            if at >= self.broker.end(place) or self._next.get(place, 0) > self.broker.now:
                continue
            batch = self.broker.read(place, at, self.chance.randint(5, 500))
            self.positions[place] = at + len(batch)
            self._next[place] = self.broker.now + self._pause(place)
            found += batch
        return found

    def _pause(self, place: Place) -> int:
        slow = place != LEASES and self.chance.random() < 0.02
        return self.chance.randint(50, 250) if slow else self.chance.randint(*self.lag_ms)


class Member:
    """One robot worker process."""

    def __init__(self, service: str, pid: int, client: Client, library: Library) -> None:
        self.service, self.pid, self.client = service, pid, client
        self.name = f"{service}.{pid}.s"
        self.leadership = Leadership(SHARD, self.name, PARTITIONS, TIMING)
        self.shard = Shard(library, service)
        self.alive, self.stopped = True, False
        self.wrote: list[tuple[int, Event]] = []
        broker = client.broker
        self._boot = {place: broker.end(place) for place in (LEASES, *CALLS)}
        self._booted = False
        self._ends: dict[Place, int] | None = None
        self._answered = self._ticked = broker.now

    @property
    def speaks(self) -> bool:
        return self.alive and self.leadership.role == "speak"

    def step(self) -> None:
        """What the process does in this ms, unless it is stopped or dead."""
        if not self.alive or self.stopped:
            return
        mono = self.client.broker.now / 1000
        # Which of its tasks an event loop runs first is anyone's guess.
        parts = [self._write_out, self._read_leases, self._read_calls, self._tick, self._pump]
        self.client.chance.shuffle(parts)
        for part in parts:
            part(mono)

    def _write_out(self, _: float) -> None:
        self.client.flush()

    def _read_leases(self, mono: float) -> None:
        client = self.client
        batch = client.poll([LEASES])
        if batch or (client.connected and client.broker.now - self._answered >= FETCH_WAIT_MS):
            self._answered = client.broker.now  # a broker that has nothing answers after a while
        for received in batch:
            if isinstance(received.event, Lease):
                was = self.leadership.role
                actions = self.leadership.on_lease(received.offset, received.event, mono)
                if was != "follow" and self.leadership.role == "follow":
                    self.shard.silenced()
                self._act(actions)

    def _read_calls(self, mono: float) -> None:
        for received in self.client.poll(CALLS):
            _, standing = self.shard.fold(received, START_MS + self.client.broker.now)
            if standing == "barrier" and isinstance(received.event, Directive):
                event = received.event
                self.leadership.on_barrier(received.partition, event.epoch or 0, event.worker)
        if not self._booted and self._read(self._boot):
            self._booted = True
            self.leadership.booted(mono)
        self._catch_up()

    def leave(self) -> None:
        """SIGTERM: what was sent arrives, then the release, then the process ends."""
        actions = self.leadership.stop()
        self._act(actions)
        for _, name, event, partition in self.client.outbox:
            self.client.broker.append(name, event, partition)
        self.alive = False

    def kill(self) -> None:
        """SIGKILL: some of what was sent had left the machine."""
        self.alive = False
        left = self.client.outbox
        for _, name, event, partition in left[: self.client.chance.randint(0, len(left))]:
            self.client.broker.append(name, event, partition)

    def _read(self, ends: dict[Place, int]) -> bool:
        return all(self.client.positions.get(place, 0) >= end for place, end in ends.items())

    def _catch_up(self) -> None:
        if self.leadership.role != "catch_up":
            self._ends = None
            return
        if self._ends is None and self.client.connected:
            self._ends = {place: self.client.broker.end(place) for place in CALLS}
        if self._ends is not None and self._read(self._ends):
            self.leadership.caught_up(self.leadership.epoch)

    def _tick(self, mono: float) -> None:
        now = self.client.broker.now
        if now - self._ticked < TICK_MS:
            return
        late, self._ticked = now - self._ticked - TICK_MS, now
        self._act(self.leadership.tick(mono, late / 1000, (now - self._answered) / 1000))

    def _act(self, actions: list[Action]) -> None:
        now, epoch = START_MS + self.client.broker.now, self.leadership.epoch
        for action in actions:
            if isinstance(action, Barrier):
                self.shard.silenced()
                for p in PARTITIONS:
                    barrier = barrier_record(SHARD, self.name, epoch, p, self.service, now)
                    self._send("dialogue.directives", barrier, p)
            else:
                lease = lease_record(action, SHARD, self.name, PARTITIONS, self.service, now)
                self._send("robots.leases", lease)

    def _pump(self, mono: float) -> None:
        now = START_MS + self.client.broker.now
        if self.leadership.role != "speak":
            return
        for call_id in self.shard.with_work(now):
            if not self.leadership.may_speak(mono):
                return
            work = self.shard.next_work(call_id, now, self.leadership.epoch)
            if work is None:
                continue
            if work.turn is not None:
                self._send("dialogue.turns", work.turn)
            for directive in work.directives:
                self._send("dialogue.directives", directive)

    def _send(self, name: str, event: Event, partition: int | None = None) -> None:
        self.wrote.append((self.client.broker.now, event))
        self.client.send(name, event, partition)
