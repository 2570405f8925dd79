"""Calls as the edge logs them, and the archiver as a process."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ringlog.audio import g711
from ringlog.audio.g711 import Int16
from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, root
from schemas.events import CallEvent, MediaChunk

PATIENCE_S = 120.0
CHUNK = 800


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Waits until a condition holds; fails with `what` when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)


class ArchiverProcess:
    """`python -m streams.archive` against a running stack."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; it may not be ready yet."""
        self._process = subprocess.Popen([sys.executable, "-m", "streams.archive"], cwd=root())

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None and self._process.poll() is None, "it died by itself"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def readiness(self) -> tuple[bool, str]:
        """What `/readyz` says: ready, and else what is waited for."""
        url = f"http://127.0.0.1:{self._config.metrics_port_of('archive')}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True, ""
        except urllib.error.HTTPError as error:
            return False, str(json.loads(error.read())["waiting_for"])
        except OSError:
            return False, "no answer"

    def metric(self, name: str) -> float:
        """A sample of `/metrics`."""
        url = f"http://127.0.0.1:{self._config.metrics_port_of('archive')}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)

    def close(self) -> None:
        """Ends it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass
class Said:
    """What one leg of a call sounds like: chunk number -> samples; missing numbers are holes."""

    leg: str
    ssrc: int
    start_ms: int
    chunks: dict[int, Int16]

    @property
    def samples(self) -> Int16:
        """The leg with silence in its holes."""
        out = np.zeros((max(self.chunks) + 1) * CHUNK, np.int16)
        for n, samples in self.chunks.items():
            out[n * CHUNK : (n + 1) * CHUNK] = samples
        return out


class Calls:
    """Produces calls."""

    def __init__(self, config: Settings) -> None:
        self._codec = codec_of(config)
        self._producer = sync.producer_of(config, "archive-test")
        self.said: dict[str, list[Said]] = {}

    def event(self, call_id: str, kind: str, **fields: Any) -> None:
        """One step of a call."""
        event = CallEvent.model_validate(
            {"event_id": str(uuid.uuid4()), "kind": kind, "occurred_at": now_ms(),
             "producer": "test", "call_id": call_id, **fields}
        )  # fmt: skip
        sync.produce(self._producer, self._codec, "calls.events", event)

    def sound(self, call_id: str, said: Said, ended: bool = True) -> None:
        """The chunks of a leg, each written twice, as after a repeat, and its end."""
        self.said.setdefault(call_id, []).append(said)
        for n, samples in said.chunks.items():
            made = self._chunk(call_id, said, n, samples)
            for one in (made, made.model_copy(update={"payload": b"\x00" * CHUNK})):
                sync.produce(self._producer, self._codec, "media.audio", one)
        if ended:
            self.end(call_id, said)

    def end(self, call_id: str, said: Said) -> None:
        """The end of a leg."""
        last = self._chunk(call_id, said, max(said.chunks) + 1, None)
        sync.produce(self._producer, self._codec, "media.audio", last)

    def raw(self, topic: str, call_id: str, partition: int, value: bytes) -> None:
        """Bytes under a call's key."""
        self._producer.send(topic, value, key=call_id.encode(), partition=partition)

    def flush(self) -> None:
        """Returns when the broker has everything."""
        self._producer.flush(60)

    def close(self) -> None:
        """Disconnects."""
        self._producer.close()

    @staticmethod
    def _chunk(call_id: str, said: Said, n: int, samples: Int16 | None) -> MediaChunk:
        begin = 1_000 + said.start_ms * 1_000  # a later source of a leg goes on in its timestamps
        ts = begin + n * CHUNK
        return MediaChunk.model_validate(
            {"event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{call_id}|{said.leg}|{ts}")),
             "kind": "end" if samples is None else "chunk", "occurred_at": now_ms(),
             "producer": "test", "call_id": call_id, "leg": said.leg, "asr_profile": "demo",
             "turn_silence_ms": 500, "ssrc": said.ssrc, "first_seq": n * 5, "rtp_ts": ts,
             "leg_start_ts": begin, "leg_start_ms": said.start_ms, "codec": "pcmu",
             "rate_hz": 8_000, "payload": b"" if samples is None else g711.encode_pcmu(samples)}
        )  # fmt: skip


def voice(rng: np.random.Generator, chunks: int, holes: tuple[int, ...] = ()) -> dict[int, Int16]:
    """Chunks of noise that mu-law keeps as it is."""
    return {
        n: g711.decode_pcmu(rng.integers(0, 256, CHUNK, dtype=np.uint8).tobytes())
        for n in range(chunks)
        if n not in holes
    }


def delete_all(config: Settings, topic: str) -> None:
    """Removes every record that a topic has now, as retention does."""
    admin = AdminClient({"bootstrap.servers": config.kafka_bootstrap})
    consumer = sync.consumer_of(config, "archive-test-ends")
    try:
        places = [(topic, n) for n in sync.partitions_of(consumer, topic)]
        ends = sync.ends_of(consumer, places)
        wanted = [TopicPartition(*place, end) for place, end in ends.items() if end]
        for done in admin.delete_records(wanted).values():
            done.result(60)
    finally:
        consumer.close()
