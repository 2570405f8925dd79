"""kill -9 amid eight overlapping calls on one partition: nothing lost, doubled, cut or changed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from kafka import KafkaConsumer, TopicPartition

from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import consumer_of, produce, producer_of
from ringlog.settings import Settings
from schemas.events import Transcript
from schemas.partition import partition_of
from schemas.wire import Codec
from tests.unit.asr_worker.material import (
    SENTENCES,
    VOICES,
    MemoryLog,
    Record,
    call_id,
    chunks,
    interleave,
    timeline,
    work,
)

PARTITION = 3
CALLS = 8
SEEDS = 20

pytestmark = pytest.mark.stack

Said = tuple[str, int, int, int, tuple[tuple[str, int], ...], tuple[int, ...]]


def said(t: Transcript) -> Said:
    """All of a final that must never differ."""
    tokens = tuple((token.text, token.start_ms) for token in t.tokens)
    return t.text, t.start_ms, t.end_ms, t.mark, tokens, tuple(t.gaps_ms)


def names(run: str) -> list[str]:
    """Names of calls whose ids lie on the partition."""
    found: list[str] = []
    n = 0
    while len(found) < CALLS:
        if partition_of(call_id(f"{run}-{n}"), 8) == PARTITION:
            found.append(f"{run}-{n}")
        n += 1
    return found


SOUNDS = [
    timeline([SENTENCES[(k + i) % 12] for i in range(3)], VOICES[k % 6], seed=k, snr_db=15)[0]
    for k in range(CALLS)
]


def partition_log(run: str) -> list[Record]:
    """Eight calls, 0.4 s apart, as they lie on the partition."""
    legs = zip(names(run), SOUNDS, strict=True)
    return interleave([(4 * k, chunks(name, sound)) for k, (name, sound) in enumerate(legs)])


def per_call(run: str, finals: list[Transcript]) -> dict[int, list[Said]]:
    """Finals by the number of their call, in order."""
    number = {call_id(name): k for k, name in enumerate(names(run))}
    found: dict[int, list[Said]] = {k: [] for k in range(CALLS)}
    for t in finals:
        assert t.call_id is not None
        found[number[t.call_id]].append(said(t))
    return {k: sorted(v, key=lambda s: s[1]) for k, v in found.items()}


class Nursery:
    """The process that forks workers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.asr.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery died"
        return line.strip()

    def worker(self, end: int, batch: int, commit_every_s: float, kill_at: int | None) -> bool:
        """Run a worker, killing it after a turn; returns whether it finished."""
        assert self._process.stdin is not None
        print(PARTITION, end, batch, commit_every_s, file=self._process.stdin, flush=True)
        pid, done, killed = 0, False, False
        while (line := self._line()) != "gone":
            word, _, number = line.partition(" ")
            if word == "pid":
                pid = int(number)
            elif word == "done":
                done = True
            elif word == "turn" and kill_at is not None and not killed and int(number) >= kill_at:
                os.kill(pid, signal.SIGKILL)
                killed = True
        return done

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@dataclass
class Kafka:
    """What the test itself does on the log."""

    codec: Codec
    config: Settings
    reader: KafkaConsumer

    def end(self, topic: str) -> int:
        """End of the partition."""
        tp = TopicPartition(topic, PARTITION)
        return int(self.reader.end_offsets([tp])[tp])

    def write(self, records: list[Record]) -> int:
        """Put a partition's log on Kafka at once; returns its end."""
        producer = producer_of(self.config, "test-edge", linger_ms=5)
        futures = [produce(producer, self.codec, "media.audio", record.chunk) for record in records]
        producer.flush()
        last = futures[-1].get(timeout=30)
        producer.close()
        return int(last.offset) + 1

    def transcripts(self, since: int) -> list[Transcript]:
        """Everything on the partition from an offset on."""
        tp = TopicPartition("asr.transcripts", PARTITION)
        end = self.end(tp.topic)
        self.reader.assign([tp])
        self.reader.seek(tp, since)
        found: list[Transcript] = []
        while self.reader.position(tp) < end:
            for record in self.reader.poll(timeout_ms=300).get(tp, ()):
                event = self.codec.decode(tp.topic, record.value)
                assert isinstance(event, Transcript)
                found.append(event)
        return found


@pytest.fixture
def kafka(stack: Settings) -> Iterator[Kafka]:
    """Access to the log."""
    reader = consumer_of(stack, "test-reader", group_id=None)
    yield Kafka(codec_of(stack), stack, reader)
    reader.close()


@pytest.fixture
def nursery(stack: Settings) -> Iterator[Nursery]:
    """A nursery on the stack's settings."""
    made = Nursery()
    yield made
    made.close()


@pytest.mark.timeout(600)
def test_twenty_times_killed_and_nothing_is_lost(kafka: Kafka, nursery: Nursery) -> None:
    in_memory = MemoryLog()
    assert work(partition_log("undisturbed"), in_memory)
    expected = per_call("undisturbed", in_memory.finals())
    assert sum(len(v) for v in expected.values()) >= 3 * CALLS

    since = kafka.end("asr.transcripts")
    end = kafka.write(partition_log("calm"))
    assert nursery.worker(end, 100, 0.2, kill_at=None)
    calm = [t for t in kafka.transcripts(since) if t.kind == "final"]
    assert per_call("calm", calm) == expected  # each final once, as without Kafka

    kills = repeated = 0
    for seed in range(SEEDS):
        dice = random.Random(seed)
        since = kafka.end("asr.transcripts")
        run = f"seed-{seed}"
        end = kafka.write(partition_log(run))
        for _ in range(4):
            batch, commit_every_s = dice.choice([7, 20, 45]), dice.choice([0.0, 0.0, 0.05])
            if nursery.worker(end, batch, commit_every_s, kill_at=dice.randint(1, 25)):
                break
            kills += 1
        else:
            assert nursery.worker(end, 100, 0.2, kill_at=None)
        first: dict[str, Transcript] = {}
        written = kafka.transcripts(since)
        for t in written:
            kept = first.setdefault(t.event_id, t)
            assert said(t) == said(kept)  # said twice only in the same words
        assert per_call(run, [t for t in first.values() if t.kind == "final"]) == expected
        repeated += len(written) - len(first)
    assert kills >= 2 * SEEDS
    assert repeated > 0  # kills did hit between publishing and committing
