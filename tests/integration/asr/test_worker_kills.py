"""kill -9 amid eight overlapping calls on one partition: nothing lost, doubled, cut or changed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ringlog.settings import Settings
from schemas.events import Transcript
from schemas.partition import partition_of
from tests.integration.asr.log import Log, Said, first_finals, per_call
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


def in_order(run: str, finals: list[Transcript]) -> list[list[Said]]:
    """What each of the eight calls said."""
    found = per_call(finals)
    assert len(found) == CALLS
    return [found[call_id(name)] for name in names(run)]


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


@pytest.fixture
def nursery(stack: Settings) -> Iterator[Nursery]:
    """A nursery on the stack's settings."""
    made = Nursery()
    yield made
    made.close()


@pytest.mark.timeout(600)
def test_twenty_times_killed_and_nothing_is_lost(log: Log, nursery: Nursery) -> None:
    in_memory = MemoryLog()
    assert work(partition_log("undisturbed"), in_memory)
    expected = in_order("undisturbed", in_memory.finals())
    assert sum(map(len, expected)) >= 3 * CALLS

    since = log.ends()
    end = log.write(record.chunk for record in partition_log("calm"))
    assert nursery.worker(end, 100, 0.2, kill_at=None)
    calm = [t for t in log.transcripts(since) if t.kind == "final"]
    assert in_order("calm", calm) == expected  # each final once, as without Kafka

    kills = repeated = 0
    for seed in range(SEEDS):
        dice = random.Random(seed)
        since = log.ends()
        run = f"seed-{seed}"
        end = log.write(record.chunk for record in partition_log(run))
        for _ in range(4):
            batch, commit_every_s = dice.choice([7, 20, 45]), dice.choice([0.0, 0.0, 0.05])
            if nursery.worker(end, batch, commit_every_s, kill_at=dice.randint(1, 25)):
                break
            kills += 1
        else:
            assert nursery.worker(end, 100, 0.2, kill_at=None)
        written = log.transcripts(since)
        assert in_order(run, first_finals(written)) == expected
        repeated += len(written) - len({t.event_id for t in written})
    assert kills >= 2 * SEEDS
    assert repeated > 0  # kills did hit between publishing and committing
