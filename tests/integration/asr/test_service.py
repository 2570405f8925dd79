"""The service as it is run: readiness, bad input, and workers that come and go in a group."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from ringlog.settings import Settings
from schemas.events import MediaChunk
from schemas.partition import partition_of
from stack.ports import is_free
from tests.integration.asr.log import AUDIO, Log, Said, first_finals, per_call, wait_for
from tests.unit.asr_worker.material import (
    SENTENCES,
    VOICES,
    MemoryLog,
    call_id,
    chunks,
    interleave,
    timeline,
    work,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


class Worker:
    """One running worker."""

    def __init__(self, config: Settings, number: int) -> None:
        self.port = config.metrics_port_of("asr") + 200 * (number + 1)
        while not is_free("127.0.0.1", self.port):
            self.port += 1
        config.logs_dir.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asr_worker", "--instance", f"asr-{number}",
             "--metrics-port", str(self.port)],
            stdout=(config.logs_dir / f"test-asr-{number}.jsonl").open("ab"),
        )  # fmt: skip

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its HTTP routes; (0, "") while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0, ""

    def wait_ready(self) -> None:
        """Wait for /readyz."""
        wait_for(lambda: self.get("/readyz")[0] == 200, f"worker {self.port} to be ready")

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=30)


@pytest.fixture
def start(stack: Settings) -> Iterator[Callable[[int], Worker]]:
    """Starts workers that end with the test."""
    workers: list[Worker] = []

    def begin(number: int) -> Worker:
        workers.append(Worker(stack, number))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.process.kill()
        worker.process.wait()


def calls(run: str, count: int) -> dict[str, list[MediaChunk]]:
    """Calls on whatever partitions their ids give, by id."""
    made = {}
    for k in range(count):
        texts = [SENTENCES[(2 * k + i) % 12] for i in range(2)]
        sound = timeline(texts, VOICES[k % 6], seed=k, snr_db=20)[0]
        made[call_id(f"{run}-{k}")] = chunks(f"{run}-{k}", sound)
    return made


def finals_of(
    log: Log, since: dict[int, int], legs: dict[str, list[MediaChunk]]
) -> dict[str, list[Said]]:
    """What the calls said; a worker that was killed before may leave others to be said again."""
    written = [t for t in log.transcripts(since) if t.call_id in legs]
    return per_call(first_finals(written))


def undisturbed(legs: dict[str, list[MediaChunk]]) -> dict[str, list[Said]]:
    """What each call says, worked alone in memory."""
    found: dict[str, list[Said]] = {}
    for call, leg in legs.items():
        memory = MemoryLog()
        work(interleave([(0, leg)]), memory)
        found[call] = per_call(memory.finals())[call]
    return found


def test_ready_then_transcribes_then_ends_cleanly(log: Log, start: Callable[[int], Worker]) -> None:
    worker = start(10)
    worker.wait_ready()
    legs = calls("clean", 3)
    since = log.ends()
    for leg in legs.values():
        log.write(leg)
    expected = undisturbed(legs)
    wait_for(lambda: finals_of(log, since, legs) == expected, "all finals")
    (partition,) = {partition_of(call, 8) for call in list(legs)[:1]}
    mine = [t for t in log.transcripts({partition: since[partition]}) if t.call_id in legs]
    assert {partition_of(t.call_id or "", 8) for t in mine} == {partition}
    status, metrics = worker.get("/metrics")
    assert status == 200
    assert 'ringlog_consumer_lag{group="ringlog-asr",topic="media.audio"} 0.0' in metrics
    assert "ringlog_asr_final_latency_seconds_count" in metrics
    assert json.loads(worker.get("/healthz")[1])["ok"] is True
    assert worker.stop() == 0
    again = log.ends()
    worker = start(10)  # everything was committed: nothing is worked again
    worker.wait_ready()
    other = calls("clean-again", 1)
    for leg in other.values():
        log.write(leg)
    wait_for(lambda: bool(log.transcripts(again)), "the next call's transcripts")
    assert {t.call_id for t in log.transcripts(again)} == set(other)


def test_what_cannot_be_read_becomes_a_dead_letter(
    log: Log, start: Callable[[int], Worker]
) -> None:
    worker = start(11)
    worker.wait_ready()
    legs = calls("amid-poison", 1)
    ((call, leg),) = legs.items()
    partition = partition_of(call, 8)
    since = log.ends()
    log.write(leg[: len(leg) // 2])
    bad = [
        log.write_raw(b"no avro", partition),
        log.write([leg[5].model_copy(update={"rate_hz": 44_100})]) - 1,
        log.write([leg[5].model_copy(update={"codec": "l16", "payload": b"odd"})]) - 1,
    ]
    astray = log.write_raw(log.codec.encode(AUDIO, leg[6]), (partition + 1) % 8)
    log.write(leg[len(leg) // 2 :])
    expected = undisturbed(legs)
    wait_for(lambda: finals_of(log, since, legs) == expected, "all finals")
    places = {(partition, offset) for offset in bad} | {((partition + 1) % 8, astray)}

    def found() -> dict[tuple[int, int], str]:
        return {
            (d.source_partition, d.source_offset): d.reason
            for d in log.dead_letters()
            if d.source_topic == AUDIO and (d.source_partition, d.source_offset) in places
        }

    wait_for(lambda: len(found()) == len(places), "four dead letters")
    reasons = " ".join(found().values())
    assert "44100 Hz" in reasons
    assert "first byte" in reasons
    assert "belongs to partition" in reasons
    assert worker.process.poll() is None


def test_a_worker_that_dies_or_comes_costs_no_word(
    log: Log, start: Callable[[int], Worker]
) -> None:
    first, second = start(0), start(1)
    first.wait_ready()
    second.wait_ready()
    legs = calls("group", 10)
    assert len({partition_of(call, 8) for call in legs}) >= 4
    expected = undisturbed(legs)
    since = log.ends()
    parts = [
        (leg[: 3 * len(leg) // 5], leg[3 * len(leg) // 5 : 4 * len(leg) // 5],
         leg[4 * len(leg) // 5 :])
        for leg in legs.values()
    ]  # fmt: skip
    for part in parts:
        log.write(part[0])
    wait_for(lambda: len(finals_of(log, since, legs)) >= 5, "finals of five calls")
    first.process.kill()  # its partitions go to the second when its session is over
    for part in parts:
        log.write(part[1])
    newcomer = start(2)
    newcomer.wait_ready()
    for part in parts:
        log.write(part[2])
    wait_for(
        lambda: finals_of(log, since, legs) == expected,
        "all finals of ten calls",
        timeout_s=120,
    )
