"""The sink as a process, and the log as its tests fill and read it."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from confluent_kafka import TopicPartition

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, root
from schemas.catalogue import TOPICS, Topic
from schemas.partition import partition_of
from streams.history.columns import TOPICS_KEPT
from streams.history.compare import compare
from streams.history.sink import GROUP
from tests.integration.sql_server.support import ServerProcess
from tests.unit.history.samples import record

PATIENCE_S = 120.0

BUSY = [TOPICS[name] for name in ("calls.events", "asr.transcripts", "dialogue.turns")]


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
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether `/readyz` says so."""
        return self.waits_for == ""

    @property
    def waits_for(self) -> str | None:
        """The reason that `/readyz` gives, empty when ready; None when there is no answer."""
        port = self._config.metrics_port_of("history")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return ""
        except urllib.error.HTTPError as error:
            return str(json.loads(error.read())["waiting_for"])
        except OSError:
            return None

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

    def later(self, topic: Topic, value: bytes, partition: int) -> sync.Delivery:
        """Produces bytes; the place is known after `flush`."""
        return self._producer.send(topic.name, value, key=b"raw", partition=partition)

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

    def done(self) -> int:
        """How many records lie before the committed offsets."""
        kept = sync.committed(self._consumer, self._places)
        return sum(max(0, tp.offset) for tp in kept.values())

    def on_the_log(self) -> int:
        """How many records the log has."""
        return sum(sync.ends_of(self._consumer, self._places).values())

    def writing(self) -> bool:
        """Whether a batch is being written, or was when the sink died."""
        return any(tp.metadata for tp in sync.committed(self._consumer, self._places).values())

    def close(self) -> None:
        """Disconnects."""
        self._consumer.close()


class Traffic:
    """Produces without end, until told to stop."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            for topic in BUSY:
                self._log.good(topic, 40)
            self._log.flush()

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def beside(config: Settings, server: ServerProcess) -> Settings:
    """Settings that place ClickHouse at a server of the test's own."""
    return config.model_copy(
        update={
            "clickhouse_native_port": server.native - config.port_shift,
            "clickhouse_http_port": server.http - config.port_shift,
        }
    )


def environment_of(config: Settings) -> dict[str, str]:
    """What a process needs to find that server."""
    return {
        "RINGLOG_CLICKHOUSE_NATIVE_PORT": str(config.clickhouse_native_port),
        "RINGLOG_CLICKHOUSE_HTTP_PORT": str(config.clickhouse_http_port),
    }


def count(client: Client, table: str, final: bool = False) -> int:
    """Rows of a table; -1 while it is not there."""
    try:
        ((rows,),) = client.execute(f"SELECT count() FROM {table}" + (" FINAL" if final else ""))
    except DriverError:
        return -1
    return int(rows)


def assert_equal_to_the_log(config: Settings) -> None:
    """Every record has its row, and only it."""
    found = compare(config)
    assert not found.differences
    assert found.rows > 0
