"""A campaign over two carriers of an Asterisk: one is killed while people talk on it."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.asterisk.instance import Asterisk
from demo.campaign import DemoError, Desk, cast_of, customer_of, manifest_of, stop_process
from demo.observer import Observer
from demo.people import Person
from demo.report import Report, build, show
from demo.run import conduct, versions, write
from ringlog.settings import Settings, root
from stack import environment

KILLED = "carrier-a"
_TALKING = 3
"""How many people talk over the carrier when it is killed, at least; fewer in a small campaign."""

_FEW = 12

_HELD_BACK = 4
"""One of so many people is called after the carrier's death only, and two at least."""

_KILLED_S = 90.0
"""How long the carrier's death is waited for before the others are called all the same."""

_READY_S = 60.0


class AsteriskCampaign:
    """One run."""

    def __init__(
        self, config: Settings, asterisk: Asterisk, calls: int, began: float, console: Console
    ) -> None:
        self._config, self._asterisk, self._began = config, asterisk, began
        self._console = console
        number = int(time.time())
        self._name = f"demo-{number}"
        self._cast = cast_of(calls, number)
        self._carriers: dict[str, subprocess.Popen[bytes]] = {}
        self._talking = _TALKING if calls >= _FEW else 1
        self._killed_ms: int | None = None
        self._killed = asyncio.Event()

    async def run(self) -> int:
        """Exit code 0 when everything is as it should be."""
        done = await conduct(
            self._config, self._name, self._cast, self._people(), self._began, self._console,
            self._kill_one, self._assign,
        )  # fmt: skip
        log = with_calls(done.log, done.seen, self._name, self._cast)
        cut_off = interrupted(log, KILLED)
        failures = done.failures + self._failures(log, cut_off)
        report = build(
            done.seen, log, self._cast, done.rows, failures, done.times, versions(), cut_off
        )
        report.notes += told(done.seen, log, cut_off, self._killed_ms)
        self._show(report)
        return 0 if report.ok else 1

    async def _assign(self, desk: Desk) -> None:
        """The tasks, some of them when the carrier is dead."""
        phones = list(self._cast)
        now = len(phones) - max(2, len(phones) // _HELD_BACK)
        for n, phone in enumerate(phones):
            if n == now:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._killed.wait(), _KILLED_S)
            await desk.assign(self._name, n, phone)

    def _failures(self, log: list[dict[str, Any]], cut_off: set[str]) -> list[str]:
        found = [f"{p} rang twice" for p in rang_twice(log)]
        if self._killed_ms is None:
            talking = f"{self._talking} people on the line"
            return [*found, f"{KILLED} never had {talking}: it was not killed"]
        after = [e for e in log if e["event"] == "rings" and e["wall_ms"] > self._killed_ms]
        if wrong := [e["phone"] for e in after if e["carrier"] == KILLED]:
            found.append(f"{len(wrong)} calls reached the dead carrier")
        if not after:
            found.append("no call was placed after the carrier's death")
        if not cut_off:
            found.append("nobody's call was cut off")
        return found

    def _show(self, report: Report) -> None:
        out = self._config.home / "demo-report.json"
        write(out, report)
        show(report, self._console)
        self._console.print(f"report: {out}")

    @contextlib.asynccontextmanager
    async def _people(self) -> AsyncIterator[Path]:
        """Both carriers with all people behind each; gives the file of their log."""
        log_file = self._config.home / "demo" / f"{self._name}.jsonl"
        manifest = manifest_of(self._config, self._cast, log_file)
        try:
            self._start(manifest)
            for name, process in self._carriers.items():
                assert process.stdout is not None
                line = asyncio.to_thread(process.stdout.readline)
                if (await asyncio.wait_for(line, _READY_S)).strip() != b"ready":
                    raise DemoError(f"{name} did not start")
            yield log_file
        finally:
            for process in self._carriers.values():
                await asyncio.to_thread(stop_process, process)

    def _start(self, manifest: Path) -> None:
        """A process a carrier."""
        for name, trunk in self._asterisk.trunks.items():
            self._carriers[name] = subprocess.Popen(
                [sys.executable, "-m", "demo.sip", "--manifest", str(manifest),
                 "--name", name, "--host", trunk.host, "--port", str(trunk.port)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=root(),
                env=environment.of_services(self._config),
            )  # fmt: skip

    async def _kill_one(self, seen: Observer) -> None:
        """SIGKILL, once some people talk over the carrier and others are still to be called."""
        log_file = self._config.home / "demo" / f"{self._name}.jsonl"
        while True:
            lines = log_file.read_text(encoding="utf-8").splitlines() if log_file.exists() else []
            log = [json.loads(line) for line in lines if line.endswith("}")]
            talking = interrupted(log, KILLED) & {
                e["phone"] for e in log if e["event"] in ("said", "heard")
            }
            if len(talking) >= self._talking:
                break
            await asyncio.sleep(0.2)
        self._carriers[KILLED].kill()
        self._killed_ms = time.time_ns() // 1_000_000
        self._killed.set()
        self._console.print(f"{KILLED} is killed: {len(talking)} people were talking", style="bold")


def with_calls(
    log: Iterable[Mapping[str, Any]], seen: Observer, campaign: str, cast: Mapping[str, Person]
) -> list[dict[str, Any]]:
    """The far ends' log with the call of each entry; agents' entries and unknown calls are left
    out. A far end knows numbers only."""
    phones = {customer_of(campaign, n): phone for n, phone in enumerate(cast)}
    calls = {
        phones[event.customer_id]: call_id
        for call_id, events in seen.calls.items()
        for event in events
        if event.customer_id in phones
    }
    return [{**e, "call_id": calls[e["phone"]]} for e in log if e["phone"] in calls]


def interrupted(log: Iterable[Mapping[str, Any]], carrier: str) -> set[str]:
    """Numbers that were on this carrier's line, and never got off it."""
    last: dict[str, Mapping[str, Any]] = {}
    for entry in log:
        if entry["event"] in ("rings", "answered", "over") and entry["carrier"] == carrier:
            last[entry["phone"]] = entry
    return {phone for phone, entry in last.items() if entry["event"] != "over"}


def rang_twice(log: Iterable[Mapping[str, Any]]) -> list[str]:
    """Numbers whose telephone rang more than once."""
    rings = Counter(e["phone"] for e in log if e["event"] == "rings")
    return [phone for phone, times in rings.items() if times > 1]


def told(
    seen: Observer, log: list[dict[str, Any]], cut_off: set[str], killed_ms: int | None
) -> list[str]:
    """What happened, in sentences."""
    by_carrier = Counter(e["carrier"] for e in log if e["event"] == "rings")
    lines = ["calls by carrier: " + ", ".join(f"{c} {n}" for c, n in sorted(by_carrier.items()))]
    if killed_ms is None:
        return lines
    cut_calls = {e["call_id"] for e in log if e["phone"] in cut_off}
    ends = [e for c in cut_calls for e in seen.calls[c] if e.kind == "ended"]
    became = Counter(e.disposition or "none" for e in ends)
    waited = max((e.occurred_at - killed_ms for e in ends), default=0) / 1000
    after = sum(e["event"] == "rings" and e["wall_ms"] > killed_ms for e in log)
    return [
        *lines,
        f"{KILLED} was killed with {len(cut_off)} calls on it; they ended as "
        + ", ".join(f"{name} ({n})" for name, n in became.most_common())
        + f", the last {waited:.0f} s later",
        f"{after} people were called after that, all over the other carrier",
    ]
