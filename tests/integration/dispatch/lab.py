"""The services under test as processes, and a small world around them: edge, robots, callers."""

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import requests

from ringlog.clock import now_ms
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import Producer, produce, producer_of, read
from ringlog.settings import Settings, root
from ringlog.site_key import site_key
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.events import CallEvent, DispatchInbox, Lease, RobotStatus, TaskEvent, TaskRequested
from schemas.ids import call_once_id, root_id
from schemas.partition import partition_of
from schemas.phone import Numbers
from schemas.wire import Codec, Poison
from streams.dispatch.inputs import parse
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool

PATIENCE_S = 120.0


def until(what: str, look: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What `look` finds; raises AssertionError when it finds nothing in time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


@dataclass
class Process:
    """One of our services."""

    config: Settings
    name: str
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    number: int = 1
    _running: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts it; `ready()` waits."""
        log = self._log.open("ab")
        self._running = subprocess.Popen(
            [sys.executable, "-m", f"streams.{self.name}"],
            cwd=root(), env={**os.environ, **self.env}, stdout=log, stderr=log,
        )  # fmt: skip
        return self

    def ready(self) -> Self:
        """Waits until it says that it is ready."""
        url = f"http://127.0.0.1:{self.config.metrics_port_of(self.name)}/readyz"

        def look() -> bool:
            assert self._running is not None
            assert self._running.poll() is None, f"{self.name} died: {self.log()[-3000:]}"
            try:
                return requests.get(url, timeout=2).ok
            except requests.RequestException:
                return False

        until(f"{self.name} to be ready", look)
        return self

    def kill(self) -> None:
        """As a power cut would."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()

    def stop(self) -> int:
        """Asks it to stop; its exit code."""
        assert self._running is not None
        if self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)
        return self._running.wait(30)

    def metrics(self) -> str:
        """What it counts."""
        url = f"http://127.0.0.1:{self.config.metrics_port_of(self.name)}/metrics"
        return requests.get(url, timeout=5).text

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def another(self) -> "Process":
        """A second worker of the same service, with a metrics port of its own."""
        port = self.config.metrics_port + 40
        config = self.config.model_copy(update={"metrics_port": port})
        env = {**self.env, "RINGLOG_METRICS_PORT": str(port)}
        return Process(config, self.name, self.folder, env, self.number + 1)

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}-{self.number}.log"


class World:
    """Writes what other parts would write, and reads what came of it."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.codec: Codec = codec_of(config)
        self.producer: Producer = producer_of(config, "test-world")
        self._quiet = threading.Event()
        self._n = 0

    def close(self) -> None:
        self.producer.close()

    def write(self, topic_name: str, *events: Event) -> None:
        for event in events:
            produce(self.producer, self.codec, topic_name, event)
        self.producer.flush()

    def write_raw(self, topic_name: str, value: bytes, partition: int = 0) -> int:
        sent = self.producer.send(topic_name, value, key=b"?", partition=partition)
        self.producer.flush()
        return sent.offset

    def events(self, topic_name: str) -> list[Any]:
        """All readable events of a topic, in the order of each partition."""
        found = []
        for record in read(self.config, topic_name, client_id="test-world"):
            try:
                found.append(self.codec.decode(topic_name, record.value))
            except Poison:
                continue
        return found

    def first(self, topic_name: str, **values: object) -> list[Any]:
        """Events with these values; of those with one id the first, and all have to be equal."""
        kept: dict[str, Any] = {}
        for event in self.events(topic_name):
            if all(getattr(event, name) == value for name, value in values.items()):
                known = kept.setdefault(event.event_id, event)
                assert known == event, f"two events with one id:\n{known}\n{event}"
        return list(kept.values())

    def staff(self, pool: str, *robots: RobotStatus) -> None:
        """Publishes robots and waits until their pool was told of them: the way of a request to
        the pool is another one."""
        self.write("robots.status", *robots)
        wanted = {r.robot_id for r in robots}

        def look() -> bool:
            told = self.first("dispatch.inbox", pool=pool, kind="robot")
            return wanted <= {e.robot_id for e in told}

        until(f"{pool} to know its robots", look)

    def refold(self, pool: str, policy: Policy) -> list[tuple[int, Event]]:
        """What a pool says when its inbox is folded from the beginning: (offset, event)."""
        fresh, out = Pool(pool, policy), list[tuple[int, Event]]()
        numbers = Numbers(self.config.region, site_key(self.config))
        where = partition_of(pool, topic("dispatch.inbox").partitions)
        for record in read(self.config, "dispatch.inbox", partitions=[where]):
            try:
                event = self.codec.decode("dispatch.inbox", record.value)
                assert isinstance(event, DispatchInbox)
                if event.pool == pool:
                    said = fresh.step(parse(event, numbers), record.timestamp_ms)
                    out += [(record.offset, e) for _, e in said]
            except Poison:
                continue
        return out

    @contextmanager
    def heartbeats(self, *shards: str) -> Iterator[None]:
        """Edges and robot workers that live while the block runs."""
        stop = threading.Event()

        def beat() -> None:
            n = 0
            while not stop.is_set():
                n += 1
                for shard in shards:
                    self.write("robots.leases", lease(shard, n))
                stop.wait(0.5)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def lease(shard: str, n: int) -> Lease:
    return Lease(
        event_id=str(uuid4()), kind="heartbeat", occurred_at=now_ms(), producer="test",
        shard=shard, worker="w1", n=n,
    )  # fmt: skip


def robot(robot_id: str, pool: str, **values: Any) -> RobotStatus:
    return RobotStatus.model_validate(
        {
            "event_id": str(uuid4()), "occurred_at": now_ms(), "producer": "test",
            "robot_id": robot_id, "pool": pool, "playbooks": ["promotion"], "slots": 2, **values,
        }
    )  # fmt: skip


def phone_of(customer: str) -> str:
    """A number of their own: a pool calls no number twice at once, and one test's opt-out is no
    other's."""
    return f"+86139{zlib.crc32(customer.encode()) % 10**8:08d}"


def request(task: str, customer: str, pool: str, **values: Any) -> TaskRequested:
    return TaskRequested.model_validate(
        {
            "event_id": root_id("request", task), "kind": "requested", "occurred_at": now_ms(),
            "producer": "test", "task_id": task, "customer_id": customer, "pool": pool,
            "body_sha256": "", "phone": phone_of(customer), "campaign_id": "spring", **values,
        }
    )  # fmt: skip


def call_event(assigned: TaskEvent, kind: str, **values: Any) -> CallEvent:
    call = assigned.call_id or ""
    once = kind in ("answered", "ended")
    return CallEvent.model_validate(
        {
            "event_id": call_once_id(call, kind) if once else root_id(call, kind),
            "kind": kind, "occurred_at": now_ms(), "producer": "test", "call_id": call,
            "task_id": assigned.task_id, "customer_id": assigned.customer_id,
            "pool": assigned.pool, "robot_id": assigned.robot_id, **values,
        }
    )  # fmt: skip


class Edge(threading.Thread):
    """Dials every permit of a pool that it reads and ends the call at once."""

    def __init__(self, world: World, pool: str) -> None:
        super().__init__(daemon=True)
        self.world, self.pool = world, pool
        self.calls: set[str] = set()
        self.halt = threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failed = error

    def _run(self) -> None:
        world, since = self.world, read(
            self.world.config, "tasks.events", follow=True, client_id="test-edge"
        )  # fmt: skip
        for record in since:
            if self.halt.is_set():
                return
            event = world.codec.decode("tasks.events", record.value)
            assert isinstance(event, TaskEvent)
            if event.kind != "assigned" or event.pool != self.pool or event.call_id in self.calls:
                continue
            self.calls.add(event.call_id or "")
            for kind in ("dialing", "answered", "ended"):
                how = {"disposition": "completed"} if kind == "ended" else {}
                produce(world.producer, world.codec, "calls.events", call_event(event, kind, **how))


def by_task(events: list[TaskEvent]) -> dict[str, list[str]]:
    """Kinds of events by task, in the order of the log."""
    out: dict[str, list[str]] = defaultdict(list)
    for event in events:
        out[event.task_id or ""].append(event.kind)
    return out


__all__ = [
    "Edge", "Process", "World", "by_task", "call_event", "lease", "request", "robot", "topic",
    "until",
]  # fmt: skip
