"""What the analytics tests share: the service as a process, turns on the log, windows from it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import urllib3

from ringlog.kafka.codec import codec_of
from ringlog.kafka.reader import check_partition
from ringlog.kafka.sync import Producer, producer_of, read
from ringlog.settings import Settings
from schemas.catalogue import topic
from schemas.events import DeadLetter, IntentWindow, Turn
from schemas.ids import call_id, root_id
from schemas.partition import partition_of
from schemas.wire import Codec, Poison
from stack import environment
from streams.analytics import records
from streams.analytics.recount import Count, Window, latest, recount

PATIENCE_S = 120.0
MINUTE_MS = 60_000

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], what: str, within_s: float = PATIENCE_S) -> T:
    """The first result of `look` that is neither None nor False."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.3)


class Service:
    """`python -m streams.analytics` on a stack."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._log = config.home / "analytics-test.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams.analytics"],
                env=environment.of_services(self._config),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.ready, f"the service is not ready:\n{self.said()}")

    def ready(self) -> bool:
        """Whether `/readyz` says so; raises AssertionError when the process has ended."""
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        url = f"http://127.0.0.1:{self._config.metrics_port_of('analytics')}/readyz"
        try:
            answer = urllib3.request("GET", url, timeout=2, retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def said(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def checkpoints(self) -> set[Path]:
        """Complete checkpoints on disk."""
        return {p.parent for p in self._config.home.glob("flink/checkpoints/*/*/chk-*/_metadata")}

    def kill(self) -> None:
        """SIGKILL; its JVM has to follow by itself."""
        assert self._process is not None
        below = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        _, alive = psutil.wait_procs(below, timeout=30)
        assert not alive, "the JVM outlives the service"

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        below = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        status = self._process.wait(30)
        assert not psutil.wait_procs(below, timeout=5)[1], "the JVM outlives the service"
        return status

    def close(self) -> None:
        """Ends it and all below, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@dataclass
class Scene:
    """Turns of one made-up campaign, and what came of them. `idle` gets no turn at all."""

    config: Settings
    codec: Codec
    producer: Producer
    campaign: str
    idle: int = 5
    sent: int = 0
    poison: dict[tuple[int, int], bytes | None] = field(default_factory=dict)

    @classmethod
    def on(cls, config: Settings) -> "Scene":
        """A scene of its own name on a stack."""
        name = f"campaign-{os.getpid()}-{time.time_ns()}"
        return cls(config, codec_of(config), producer_of(config, "analytics-test"), name)

    def call(self, n: int) -> str:
        """Id of the n-th call that is not on the idle partition."""
        ids = (call_id(self.campaign, k) for k in range(10_000))
        spoken = (c for c in ids if self._partition(c) != self.idle)
        return next(c for k, c in enumerate(spoken) if k == n)

    def turn(self, at_ms: int, call: int = 0, **changes: Any) -> Turn:
        """A counted turn unless told otherwise, with an id of its own."""
        self.sent += 1
        fields = {
            "event_id": root_id(self.campaign, self.sent),
            "occurred_at": at_ms,
            "producer": "analytics-test",
            "campaign_id": self.campaign,
            "call_id": self.call(call),
            "input_kind": "final",
            "input_event_id": root_id(self.campaign, "input", self.sent),
            "intent": "问价格",
            "node": "offer",
        }
        return Turn.model_validate(fields | changes)

    def send(self, *turns: Turn, appended_ms: int = 0) -> None:
        """Appends turns, with Kafka's time as given or, for 0, of now, and waits for the broker."""
        for turn in turns:
            assert turn.call_id
            self.producer.send(
                records.SOURCE,
                self.codec.encode(records.SOURCE, turn),
                key=turn.call_id.encode(),
                partition=self._partition(turn.call_id),
                timestamp_ms=appended_ms,
            )
        self.producer.flush()

    def send_poison(self, value: bytes | None, partition: int = 2) -> None:
        """Appends bytes that are no turn, and remembers where."""
        done = self.producer.send(records.SOURCE, value, key=b"poison", partition=partition)
        self.producer.flush()
        self.poison[partition, done.offset] = value

    def expected(self) -> dict[Window, Count]:
        """The recount of the campaign's turns on the log."""
        turns = []
        for record in read(self.config, records.SOURCE):
            try:
                event = self.codec.decode(records.SOURCE, record.value)
                check_partition(records.SOURCE, event, record.partition)
            except Poison:
                continue
            assert isinstance(event, Turn)
            if event.campaign_id == self.campaign:
                turns.append(event)
        return recount(turns)

    def windows(self) -> list[tuple[int, IntentWindow]]:
        """(Kafka's time, event) of the campaign's windows, repeats included."""
        out = []
        for record in read(self.config, records.WINDOWS):
            event = self.codec.decode(records.WINDOWS, record.value)
            assert isinstance(event, IntentWindow)
            if event.campaign_id == self.campaign:
                assert record.key == self.campaign.encode()
                right = partition_of(self.campaign, topic(records.WINDOWS).partitions)
                assert record.partition == right
                out.append((record.timestamp_ms, event))
        return out

    def counts(self) -> dict[Window, Count]:
        """Counts of the windows as a reader takes them."""
        events = latest(event for _, event in self.windows())
        return {w: Count(e.count, e.calls) for w, e in events.items()}

    def dead_letters(self) -> dict[tuple[int, int], DeadLetter]:
        """Dead letters of the turns' topic by (partition, offset), the first of each."""
        out: dict[tuple[int, int], DeadLetter] = {}
        for record in read(self.config, records.DEAD_LETTERS):
            letter = self.codec.decode(records.DEAD_LETTERS, record.value)
            assert isinstance(letter, DeadLetter)
            if letter.source_topic == records.SOURCE:
                out.setdefault((letter.source_partition, letter.source_offset), letter)
        return out

    def _partition(self, call: str) -> int:
        return partition_of(call, topic(records.SOURCE).partitions)
