"""Decisions per second of the service `dispatch`, through Kafka and Faust.

A carrier in this process ends every call as soon as its permit is on the log. So a decision is an
`ended` on `calls.events`, its copy in the inbox, and on `tasks.events` the task's end and another
task's permit, all acknowledged, with the checkpoints that fall due meanwhile. Broker and carrier
share the machine's cores with the service: its own CPU time a decision tells what it costs.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count

import confluent_kafka
import orjson
import psutil
import urllib3

from bench import dispatch_core
from bench.own_stack import own_stack
from bench.timing import rate_between
from ringlog.clock import now_ms
from ringlog.kafka.codec import codec_of
from ringlog.meanwhile import meanwhile
from ringlog.settings import Settings, root
from schemas.catalogue import CALL_PARTITIONS, topic
from schemas.envelope import Event
from schemas.events import CallEvent, DispatchInbox, Lease, TaskEvent
from schemas.ids import call_once_id, root_id
from schemas.partition import partition_of
from schemas.text import to_json
from schemas.wire import Codec
from stack import environment

POOL = "bench"
_PATIENCE_S = 240.0


@dataclass(frozen=True)
class HostResult:
    """Of the middle of a run. `cpu_us` is the service's CPU time a decision, all threads;
    `changelog_bytes_per_s` is what checkpoints wrote."""

    decisions_per_s: float
    cpu_us: float
    changelog_bytes_per_s: float
    robots: int
    queued: int


class CallEnder:
    """Writes what other services would, and ends calls."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.codec: Codec = codec_of(config)
        self.codec.warm("tasks.events", "dispatch.inbox")
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": config.kafka_bootstrap, "linger.ms": 5, "acks": "all"}
        )
        self.assigned = 0

    def write(self, name: str, event: Event) -> None:
        t = topic(name)
        key, value = t.key(event), self.codec.encode(name, event)
        while True:
            try:
                where = partition_of(key, t.partitions)
                self.producer.produce(name, value, key.encode(), where)
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.1)

    def flush(self) -> None:
        if self.producer.flush(120):
            raise RuntimeError("the broker did not take the records")

    def heartbeats(self) -> AbstractContextManager[None]:
        """An edge and a worker of robots that live meanwhile."""
        beats = count(1)

        def beat() -> None:
            n = next(beats)
            for shard in ("robots/0", "edge/e1"):
                self.write("robots.leases", _lease(shard, n))

        return meanwhile(beat, 0.5)

    def end_calls(self, decisions: int, process: psutil.Process) -> list[tuple[float, float, int]]:
        """Ends the call of every permit until so many were given; samples (s, CPU s, permits)."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.config.kafka_bootstrap, "group.id": "bench-carrier",
             "enable.auto.commit": False}
        )  # fmt: skip
        tasks = topic("tasks.events")
        consumer.assign(
            [confluent_kafka.TopicPartition(tasks.name, p, 0) for p in range(tasks.partitions)]
        )
        samples: list[tuple[float, float, int]] = []
        moved = time.monotonic()
        seen: set[str] = set()
        while self.assigned < decisions:
            messages = consumer.consume(2_000, 0.05)
            for message in messages:
                if self.codec.kind_of(tasks.name, message.value()) != "assigned":
                    continue
                event = self.codec.decode(tasks.name, message.value())
                assert isinstance(event, TaskEvent)
                if event.call_id and event.call_id not in seen:
                    seen.add(event.call_id)
                    self.assigned += 1
                    self.write("calls.events", _ended(event))
            now = time.monotonic()
            if messages:
                moved = now
                spent = process.cpu_times()
                samples.append((now, spent.user + spent.system, self.assigned))
            elif now - moved > _PATIENCE_S:
                raise RuntimeError(f"no permit after {self.assigned} of {decisions}")
        consumer.close()
        return samples


def run(robots: int, queued: int, decisions: int) -> HostResult:
    """A stack of its own; `queued` tasks wait when all robots have their first call."""
    with own_stack({"contract"}) as config, service(config) as process:
        carrier = CallEnder(config)
        rng = random.Random(1)
        with carrier.heartbeats():
            for changed in dispatch_core.robots(robots, rng):
                carrier.write("robots.status", changed.robot)
            carrier.flush()
            _told(config, carrier.codec, robots)
            for n in range(robots + queued + decisions):
                carrier.write("dispatch.inbox", _request(n, rng))
            carrier.flush()
            before = _changelog_bytes(config)
            samples = carrier.end_calls(robots + decisions, process)
            began, over = samples[0][0], samples[-1][0]
            wrote = _changelog_bytes(config) - before
    # The first call of each robot needs no end: those are over before decisions are counted.
    counted = [(at, cpu, n - robots) for at, cpu, n in samples if n > robots]
    rate = rate_between([(at, n) for at, _, n in counted], decisions)
    cpu = rate_between([(cpu, n) for _, cpu, n in counted], decisions)
    return HostResult(rate, 1e6 / cpu, wrote / (over - began), robots, queued)


@contextmanager
def service(config: Settings) -> Iterator[psutil.Process]:
    """The service, ready."""
    command = [*os.environ.get("BENCH_UNDER", "").split(), sys.executable]
    process = subprocess.Popen(
        [*command, "-m", "streams.dispatch"], cwd=root(),
        env=environment.of_services(config), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _ready(config, process)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _ready(config: Settings, process: subprocess.Popen[bytes]) -> None:
    url = f"http://127.0.0.1:{config.metrics_port_of('dispatch')}/readyz"
    http, end = urllib3.PoolManager(), time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        try:
            if http.request("GET", url, retries=False, timeout=5).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        if process.poll() is not None:
            raise RuntimeError("dispatch ended")
        time.sleep(0.1)
    raise RuntimeError("dispatch is not ready")


def _told(config: Settings, codec: Codec, robots: int) -> None:
    """Waits until the pool's inbox has every robot, edge and worker."""
    left = robots
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": config.kafka_bootstrap, "group.id": "bench-told",
         "enable.auto.commit": False}
    )  # fmt: skip
    consumer.assign(
        [confluent_kafka.TopicPartition("dispatch.inbox", partition_of(POOL, CALL_PARTITIONS), 0)]
    )
    up: set[str] = set()
    end = time.monotonic() + _PATIENCE_S
    while left > 0 or not {"edge", "worker"} <= up:
        if time.monotonic() > end:
            raise RuntimeError(f"{left} robots are not in the inbox; there are {sorted(up)}")
        for message in consumer.consume(1_000, 0.2):
            kind = codec.kind_of("dispatch.inbox", message.value())
            left -= kind == "robot"
            up |= {kind} if kind in ("edge", "worker") else set()
    consumer.close()


def _changelog_bytes(config: Settings) -> int:
    """Bytes of the table's changelog on the broker's disk, segments that are compacted already
    left out."""
    logs = config.home.glob("**/*ringlog-dispatch-pools-changelog-*/*.log")
    return sum(path.stat().st_size for path in logs)


def _lease(shard: str, n: int) -> Lease:
    return Lease(
        event_id=root_id("bench lease", shard, n), kind="heartbeat", occurred_at=now_ms(),
        producer="bench", shard=shard, worker="w1", n=n,
    )  # fmt: skip


def _request(n: int, rng: random.Random) -> DispatchInbox:
    asked = dispatch_core.request(n, rng)
    body = {
        "request": to_json("tasks.requested", asked.task),
        "profile": to_json("customers.profiles", asked.profile),
    }
    return DispatchInbox(
        event_id=asked.event_id, kind="request", occurred_at=now_ms(), producer="bench",
        task_id=asked.task.task_id, customer_id=asked.task.customer_id, pool=POOL,
        source_topic="tasks.requested", body=orjson.dumps(body).decode(),
    )  # fmt: skip


def _ended(assigned: TaskEvent) -> CallEvent:
    call = assigned.call_id or ""
    return CallEvent(
        event_id=call_once_id(call, "ended"), kind="ended", occurred_at=now_ms(), producer="bench",
        call_id=call, task_id=assigned.task_id, customer_id=assigned.customer_id,
        pool=assigned.pool, robot_id=assigned.robot_id, disposition="completed",
    )  # fmt: skip


if __name__ == "__main__":
    print(run(*map(int, sys.argv[1:4])))
