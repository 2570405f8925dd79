"""The sink as a process, and the log as its tests fill and read it."""

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import TopicPartition

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, root
from schemas.catalogue import Topic
from schemas.partition import partition_of
from streams.history.columns import TOPICS_KEPT
from streams.history.sink import GROUP
from tests.unit.history.samples import record

PATIENCE_S = 120.0


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Waits until a condition holds; fails with `what` when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)


class SinkProcess:
    """`python -m streams.history` against a running stack."""

    def __init__(self, config: Settings, environment: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; it may not be ready yet."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams.history"], cwd=root(), env=self._environment
        )

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None and self._process.poll() is None, "the sink died by itself"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def ready(self) -> bool:
        """What `/readyz` says."""
        port = self._config.metrics_port_of("history")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False
        except OSError:
            return False

    def close(self) -> None:
        """Ends it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Log:
    """Produces sample records and bytes; a new record each time."""

    def __init__(self, config: Settings) -> None:
        self._codec = codec_of(config)
        self._producer = sync.producer_of(config, "history-test")
        self._n = random.randrange(10**9)

    def good(self, topic: Topic, count: int, **fields: Any) -> list[dict[str, Any]]:
        """Produces sample records of a topic."""
        made = []
        for _ in range(count):
            self._n += 1
            made.append(record(topic, self._n, occurred_at=1_760_000_000_000, **fields))
            self.put(topic, made[-1])
        return made

    def put(self, topic: Topic, data: dict[str, Any]) -> None:
        """Produces one record on its right partition."""
        key = data["call_id"] if topic.call_keyed else data["event_id"]
        partition = partition_of(key or "", topic.partitions)
        value = self._codec.encode(topic.name, data)
        self._producer.send(topic.name, value, key=key.encode(), partition=partition)

    def raw(self, topic: Topic, value: bytes | None, partition: int = 0) -> tuple[int, int]:
        """Produces bytes; (partition, offset)."""
        done = self._producer.send(topic.name, value, key=b"raw", partition=partition)
        self.flush()
        return done.partition, done.offset

    def value(self, topic: Topic, **fields: Any) -> bytes:
        """The value of a sample record that is not produced."""
        self._n += 1
        return self._codec.encode(topic.name, record(topic, self._n, **fields))

    def flush(self) -> None:
        """Returns when the broker has everything."""
        self._producer.flush(60)

    def close(self) -> None:
        """Disconnects."""
        self._producer.close()


class Offsets:
    """The sink's committed offsets, asked from outside."""

    def __init__(self, config: Settings, topics: Iterable[Topic] = TOPICS_KEPT) -> None:
        self._consumer = sync.consumer_of(config, "history-offsets", GROUP)
        self._places = [(t.name, p) for t in topics for p in range(t.partitions)]

    def reset(self) -> None:
        """The sink begins at the beginning."""
        zeros = [TopicPartition(*place, 0, metadata="") for place in self._places]
        sync.commit(self._consumer, zeros)

    def caught_up(self) -> bool:
        """Whether all that is on the log now is written and committed."""
        ends = sync.ends_of(self._consumer, self._places)
        kept = sync.committed(self._consumer, self._places)
        return not any(
            end > 0 and (kept[place].offset < end or kept[place].metadata)
            for place, end in ends.items()
        )

    def close(self) -> None:
        """Disconnects."""
        self._consumer.close()
