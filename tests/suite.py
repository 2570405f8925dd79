"""What `make test` runs, two jobs at a time: types, unit tests, and each room's integration tests.

Every room has a stack of its own: one room's records on the log would be another's past. Most of
their time rooms wait, for a service to start or for a call to be spoken, so two share two cores;
more would make them wait for the processor, and tests that measure latency would measure that.

Two rooms still disturb each other now and then. Where at most three tests of a job failed, they
run once more at the end, with nothing beside them. Their first failure stays in the output, and one
of the last lines names them.

    python -m tests.suite            everything but the heavy tests
    python -m tests.suite --all      and those, and the faults under load
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LANES = 2
FIRST_S = 1_000_000
"""Weight of what is to be said first, since it is soon over."""

USUAL_S = {
    "types": FIRST_S + 1, "unit": FIRST_S, "e2e": 240, "ingest": 225, "verify": 130, "archive": 115,
    "robots": 115, "history": 90, "stack": 80, "analytics": 77, "asr": 68,
}  # fmt: skip
"""How long jobs take by themselves, s: the longest begin first, so that both lanes end together."""

OTHERWISE_S = 45

MOST_AGAIN = 3
"""More failed tests than this in one job are not chance: it has failed."""

CHECKED = ("schemas", "ringlog", "cli", "ingest", "asr_worker", "streams", "sql", "stack", "verify",
           "demo", "bench", "tests", "docs")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One command, and the part of its environment that is its own."""

    name: str
    command: tuple[str, ...]
    cache: Path | None = None
    """Where pytest keeps which tests failed last; None for what does not run again."""

    @property
    def weight_s(self) -> float:
        """What decides the order."""
        return USUAL_S.get(self.name, OTHERWISE_S)


@dataclass
class Outcome:
    """What has come of the jobs; several threads add to it."""

    failed: list[str] = field(default_factory=list)
    running: "set[subprocess.Popen[str]]" = field(default_factory=set)
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


def jobs(everything: bool, rooms: Sequence[Path]) -> list[Job]:
    """All jobs in the order in which they begin."""
    tests = (sys.executable, "-m", "pytest", "-q", "--cov", "--cov-report=")
    light = () if everything else ("-m", "not heavy")
    # What only computes gives way to the room beside it, which keeps clocks.
    modest = ("nice", "-n", "10")
    out = [
        Job("types", (*modest, sys.executable, "-m", "mypy", "--strict", *CHECKED)),
        _tests("unit", (*modest, *tests), "tests/unit"),
    ]
    out += [_tests(room.name, (*tests, *light), str(room)) for room in rooms]
    return sorted(out, key=lambda job: -job.weight_s)


def _tests(name: str, command: tuple[str, ...], folder: str) -> Job:
    cache = Path(".pytest_cache") / name
    return Job(name, (*command, f"-o=cache_dir={cache}", folder), cache)


def failed_last(job: Job) -> list[str]:
    """The tests that failed when a job ran last."""
    try:
        return sorted(json.loads(_memory(job).read_text())) if job.cache else []
    except FileNotFoundError:
        return []


def forget(job: Job) -> None:
    """Before a run: what failed once stays in pytest's memory until it is good."""
    if job.cache is not None:
        _memory(job).unlink(missing_ok=True)


def _memory(job: Job) -> Path:
    assert job.cache is not None
    return ROOT / job.cache / "v" / "cache" / "lastfailed"


def again(job: Job) -> Job | None:
    """The failed tests of a job by themselves; None where that would prove nothing."""
    tests = failed_last(job)
    if not 0 < len(tests) <= MOST_AGAIN:
        return None
    return Job(f"{job.name}.again", (*job.command[:-1], *tests), job.cache)


def rooms_of(root: Path, everything: bool) -> list[Path]:
    """Folders of integration tests; the faults too, where everything is wanted."""
    found = [p.parent for p in sorted(root.glob("tests/integration/*/test_*.py"))]
    if everything:
        found.append(root / "tests" / "faults")
    return [path.relative_to(root) for path in dict.fromkeys(found)]


def run(waiting: list[Job], lanes: int) -> list[str]:
    """Runs all jobs; the names of those that failed. Each one's output comes when it has ended."""
    outcome = Outcome()
    queue = list(waiting)
    threads = [
        threading.Thread(target=_lane, args=(number, queue, outcome), name=f"lane {number}")
        for number in range(min(lanes, len(queue)))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        with outcome.lock:
            outcome.stopped = True
            for process in outcome.running:
                process.send_signal(signal.SIGINT)
        for thread in threads:
            thread.join()
        outcome.failed.append("interrupted")
    return outcome.failed


def _lane(number: int, queue: list[Job], outcome: Outcome) -> None:
    while True:
        with outcome.lock:
            if outcome.stopped or not queue:
                return
            job = queue.pop(0)
            print(f"-- {job.name} begins", flush=True)
            begun_s = time.monotonic()
            process = subprocess.Popen(
                job.command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "COVERAGE_FILE": str(ROOT / f".coverage.{job.name}"),
                     "RINGLOG_TEST_LANE": str(number)},
            )  # fmt: skip
            outcome.running.add(process)
        said, _ = process.communicate()
        took_s = time.monotonic() - begun_s
        with outcome.lock:
            outcome.running.discard(process)
            good = process.returncode == 0
            print(f"== {job.name}: {'good' if good else 'FAILED'} after {took_s:.0f} s", flush=True)
            print(said.rstrip(), flush=True)
            if not good:
                outcome.failed.append(job.name)


def run_twice(todo: list[Job], lanes: int) -> list[str]:
    """Runs all jobs, then a room's few failed tests by themselves; the names of what failed."""
    for job in todo:
        forget(job)
    failed = run(todo, lanes)
    if "interrupted" in failed:
        return failed
    for job in todo:
        if job.name in failed and (repeated := again(job)) is not None:
            tests = failed_last(job)
            if not run([repeated], 1):
                failed.remove(job.name)
                print(f"failed beside another room, good alone: {', '.join(tests)}", flush=True)
    return failed


def main() -> int:
    """Exit code 1 when a job failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.suite", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what is heavy")
    parser.add_argument("--lanes", type=int, default=LANES, help="how many jobs run at a time")
    parser.add_argument("names", nargs="*", help="only these jobs, such as `unit` or `history`")
    asked = parser.parse_args()
    todo = jobs(asked.all, rooms_of(ROOT, asked.all))
    if unknown := set(asked.names) - {job.name for job in todo}:
        parser.error(f"no such jobs: {', '.join(sorted(unknown))}")
    begun_s = time.monotonic()
    failed = run_twice(
        [job for job in todo if not asked.names or job.name in asked.names], asked.lanes
    )
    print(f"== all after {time.monotonic() - begun_s:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
