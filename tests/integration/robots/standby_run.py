"""Calls that go on while robot workers die: workers as processes, an edge, customers, a verdict."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ringlog.kafka.reader import Received
from ringlog.settings import Settings, root
from schemas.acceptance import Acceptance
from schemas.events import Directive, Lease, Turn
from schemas.ids import event_id
from stack import environment
from streams.robots.leases import LeaseState, evolve_lease
from streams.robots.worker import SHARD
from tests.integration.robots.scene import PATIENCE_S, Call, Site

EVERY_S = 0.8
PROMPT_S = 0.25
HEARTBEAT_MS = 200

QUESTIONS: list[tuple[str, list[str]]] = [
    ("一个月多少钱", ["details"]),
    ("嗯", []),
    ("你是谁", ["who_we_are", "details"]),
    ("再说一遍", ["details"]),
    ("", []),
]
"""What customers ask in the node `details`, and the prompts that answer it."""


@dataclass
class Asked:
    """One final: when it was said, when its first directive was read and of which epoch, and when
    its last one was."""

    call_id: str
    prompts: list[str]
    at: float
    first: float | None = None
    epoch: int = -1
    answered: float | None = None


class Workers:
    """The processes of one shard, by name."""

    def __init__(self, config: Settings, logs: Path, death_ms: int = 500) -> None:
        self._env = {
            **environment.of_services(config),
            "RINGLOG_ROBOT_DEATH_MS": str(death_ms),
        }
        self.death_ms = death_ms
        self._config, self._logs = config, logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with self._log(name).open("ab") as out:
            self.processes[name] = subprocess.Popen(
                self._command(name), cwd=root(), env=self._env, stdout=out, stderr=out
            )

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "streams.robots", "--name", name]

    def _log(self, name: str) -> Path:
        return self._logs / f"robots-{name}.log"

    def until_follows(self, name: str) -> None:
        """Waits until a worker has read the log: it follows, or speaks already."""
        address = f"http://127.0.0.1:{self._config.metrics_port_of(f'robots-{name}')}/healthz"
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.processes[name].poll() is None, "the worker has failed"
            try:
                with urllib.request.urlopen(address, timeout=2) as answer:
                    if json.load(answer).get("role") in ("follow", "speak"):
                        return
            except (OSError, ValueError):
                pass  # it starts
            time.sleep(0.05)
        raise TimeoutError(f"robots-{name} does not follow")

    def name_of(self, instance: str | None) -> str | None:
        """Which of them a lease's worker is, if it lives."""
        for name, process in self.processes.items():
            if process.poll() is None and (instance or "").startswith(
                f"robots-{name}.{process.pid}."
            ):
                return name
        return None

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that is stopped for a while, and woken."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@dataclass
class Run:
    """Eight calls with a question every 0.8 s, and all that came of them."""

    site: Site
    workers: Workers
    calls: list[Call] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    accepted: dict[str, Directive] = field(default_factory=dict)
    stale: list[Directive] = field(default_factory=list)
    late: list[Lease] = field(default_factory=list)
    """Heartbeats that arrived when their worker was no longer the speaker."""
    turns: dict[str, Turn] = field(default_factory=dict)
    lease: LeaseState = field(default_factory=LeaseState)
    wins: list[tuple[int, int]] = field(default_factory=list)
    """Of each claim that won: its epoch, and ms since the last sign of life of a speaker."""
    _acceptance: Acceptance = field(default_factory=Acceptance)
    _alive_ms: int = 0
    _folded: int = 0
    _playing: dict[str, asyncio.Queue[Directive]] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _asking: bool = False

    # -- folding what is on the log

    async def follow(self) -> None:
        """Folds everything that is read, as it comes."""
        while True:
            async with self.site.news:
                await self.site.news.wait_for(lambda: len(self.site.read) > self._folded)
                new = self.site.read[self._folded :]
                self._folded = len(self.site.read)
                for received in new:
                    self._fold(received)
                self.site.news.notify_all()

    def _fold(self, received: Received) -> None:
        match event := received.event:
            case Lease() if event.shard == SHARD:
                self._lease(received, event)
            case Turn():
                self.turns.setdefault(event.event_id, event)
                if event.input_event_id in self.asked:
                    self._done(event.input_event_id)
            case Directive():
                standing = self._acceptance.evolve(received.partition, event)
                if standing == "accepted":
                    self._accept(event)
                elif standing == "stale":
                    self.stale.append(event)

    def _lease(self, received: Received, event: Lease) -> None:
        before = self.lease
        self.lease, verdict = evolve_lease(before, received.offset, event)
        if verdict == "stale" and event.kind == "heartbeat":
            self.late.append(event)
        if verdict == "claimed" and not before.released and before.worker is not None:
            self.wins.append((self.lease.epoch, received.timestamp_ms - self._alive_ms))
        if verdict in ("claimed", "beat"):
            self._alive_ms = received.timestamp_ms

    def _accept(self, d: Directive) -> None:
        self.accepted[d.directive_id] = d
        if (queue := self._playing.get(d.call_id or "")) is not None:
            queue.put_nowait(d)
        cause = d.causation_id or ""
        if (asked := self.asked.get(cause)) is not None:
            if d.kind == "say" and asked.first is None:
                asked.first, asked.epoch = time.monotonic(), d.epoch or 0
            self._done(cause)

    def _done(self, final_id: str) -> None:
        asked = self.asked[final_id]
        turn = self.turns.get(event_id(final_id, "turn"))
        if turn is None or asked.answered is not None:
            return
        if all(i in self.accepted for i in turn.directive_ids):
            asked.answered = time.monotonic()

    # -- the edge and the customers

    async def play(self, call: Call) -> None:
        """The edge of one call: prompts take a quarter of a second, a `stop` ends them."""
        queue = self._playing.setdefault(call.call_id, asyncio.Queue())
        waiting: list[Directive] = []
        while True:
            d = waiting.pop(0) if waiting else await queue.get()
            if d.kind != "say":
                continue
            await call.event("playout_started", directive_id=d.directive_id)
            begun, cut = time.monotonic(), False
            while not cut and (left := begun + PROMPT_S - time.monotonic()) > 0:
                try:
                    other = await asyncio.wait_for(queue.get(), left)
                except TimeoutError:
                    break
                cut = other.kind == "stop"
                waiting = [] if cut else [*waiting, other]
            ms = int(PROMPT_S * 1000)
            heard = min(ms, int((time.monotonic() - begun) * 1000)) if cut else ms
            fields = {"directive_id": d.directive_id, "heard_ms": heard, "prompt_ms": ms}
            await call.event("playout_ended", **fields)

    async def begin(self, calls: int) -> None:
        """Brings calls to the node in which they stay."""
        self.calls = [Call(self.site) for _ in range(calls)]
        for call in self.calls:
            self._tasks.append(asyncio.create_task(self.play(call)))
        await asyncio.gather(*(self._to_details(call) for call in self.calls))

    async def _to_details(self, call: Call) -> None:
        await call.begin()
        for text, prompt in (("可以", "offer"), ("多少钱", "details")):
            await self.answered(await self.ask(call, text, [prompt]))

    async def ask(self, call: Call, text: str, prompts: list[str]) -> str:
        """One final, remembered before it is on the log."""
        call_id, at = call.call_id, time.monotonic()
        final_id = call.next_final_id()
        self.asked[final_id] = Asked(call_id, prompts, at)
        assert await call.final(text) == final_id
        return final_id

    async def answered(self, final_id: str) -> None:
        await self.site.until(lambda: self.asked[final_id].answered is not None)

    async def all_answered(self) -> None:
        """Waits until all that was asked so far is answered."""
        asked = list(self.asked.values())
        await self.site.until(lambda: all(a.answered is not None for a in asked))

    def keep_asking(self, seed: int) -> None:
        """Each customer asks every 0.8 s, in an order of their own."""
        self._asking = True
        for n, call in enumerate(self.calls):
            chance = random.Random(seed * 100 + n)
            self._tasks.append(asyncio.create_task(self._ask_on(call, chance)))

    async def _ask_on(self, call: Call, chance: random.Random) -> None:
        await asyncio.sleep(chance.random() * EVERY_S)
        while self._asking:
            begun = time.monotonic()
            await self.ask(call, *chance.choice(QUESTIONS))
            await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - begun)))

    async def stop_asking(self) -> None:
        """No more questions; returns when all were answered."""
        self._asking = False
        await asyncio.sleep(EVERY_S)
        await self.all_answered()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # -- who speaks

    @property
    def speaker(self) -> str | None:
        """Name of the worker that holds the lease and lives."""
        return self.workers.name_of(self.lease.worker)

    async def speaks(self, than: int = -1) -> str:
        """Waits until a living worker has an epoch higher than this one."""
        await self.site.until(lambda: self.lease.epoch > than and self.speaker is not None)
        assert self.speaker is not None
        return self.speaker

    @property
    def follower(self) -> str:
        return next(n for n in self.workers.processes if n != self.speaker)

    # -- the verdict

    def check(self) -> None:
        """Nothing lost, nothing doubled, and every answer is what was asked for."""
        inputs = Counter(t.input_event_id for t in self.turns.values())
        said: dict[str, list[str]] = {}
        for d in self.accepted.values():  # in the order of acceptance
            if d.kind == "say":
                said.setdefault(d.causation_id or "", []).append(d.prompt_id or "")
        for final_id, asked in self.asked.items():
            assert inputs[final_id] == 1, final_id
            assert said.get(final_id, []) == asked.prompts, final_id
        for call in self.calls:
            seqs = [d.seq for d in self.accepted.values() if d.call_id == call.call_id]
            assert seqs == sorted(set(seqs)), call.call_id

    def check_claims(self) -> None:
        """No claim won against a speaker that had just given a sign of life. A booting worker
        waits for two heartbeats, others for the death time."""
        early = [(epoch, ms) for epoch, ms in self.wins if ms < 2 * HEARTBEAT_MS - 20]
        assert early == []

    def answers_of(self, epoch: int) -> list[Asked]:
        """What a speaker of an epoch higher than this one has answered with words."""
        return [a for a in self.asked.values() if a.first is not None and a.epoch > epoch]

    def next_answer_s(self, died: float, epoch: int) -> float:
        """From the death of an epoch's speaker to its successor's first answer."""
        return min((a.first or 0.0) - died for a in self.answers_of(epoch))

    def longest_wait_s(self, died: float, epoch: int) -> float:
        """The longest that anyone waited for an answer, of questions around a death."""
        waits = [(a.first or 0.0) - a.at for a in self.answers_of(epoch) if a.at < died + 2]
        return max(waits)


def spread(seconds: list[float]) -> str:
    """Smallest, middle, nine tenths and largest, in ms."""
    ordered = sorted(round(s * 1000) for s in seconds)
    at = [0, len(ordered) // 2, len(ordered) * 9 // 10, len(ordered) - 1]
    values = [ordered[min(i, len(ordered) - 1)] for i in at]
    return "min {} p50 {} p90 {} max {} ms, n={}".format(*values, len(ordered))
