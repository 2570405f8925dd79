"""`python -m tests.faults`: a campaign under faults on a stack of its own, then the verdict."""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from ringlog.clock import now_ms
from ringlog.settings import Settings, root, settings
from stack import control, environment
from tests.faults import judge, schedule
from tests.faults.actions import Injector
from tests.faults.judge import Done
from tests.faults.load import Campaign, Load
from tests.faults.schedule import Fault
from tests.integration.conftest import free_port_shift

ANSWER_LIMIT_MS = 3_000
"""The bar for an answer after the death of a robot worker or of the ASR worker."""

_KILL_EVERY_S = 12.0
_IN_CALLS = frozenset({"robots", "asr", "edge"})
_DEAF = ("killed edge", "clock of edge", "restarted")
"""How the words begin for what loses sound: for a moment no edge serves."""


class Run:
    """One run of a schedule."""

    def __init__(
        self, config: Settings, faults: list[Fault], calls: int, seed: int, brief: bool
    ) -> None:
        self._config, self._faults, self._calls = config, faults, calls
        self._brief = brief
        self._seed = seed
        self._one_by_one = all(f.at_s == 0 for f in faults)
        self.console = Console(highlight=False)
        self.done: list[Done] = []
        self.failures: list[str] = []

    @property
    def seconds(self) -> float:
        """How long it takes, about."""
        if self._one_by_one:
            return _KILL_EVERY_S * len(self._faults)
        return self._faults[-1].at_s + 10

    async def run(self) -> bool:
        """Runs it all; returns whether everything held."""
        until = asyncio.Event()
        started: asyncio.Future[Load] = asyncio.get_running_loop().create_future()
        campaign = Campaign(self._config, self._calls, self.seconds, self._brief)
        calling = asyncio.create_task(campaign.run(until, started))
        either: set[asyncio.Future[Any]] = {calling, started}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if calling.done():
            await calling
        load = started.result()
        injector = Injector(self._config, clocks_of(self._config), self._seed)
        try:
            await self._until_calls(load)
            await self._inject(injector, load)
            with suppress(TimeoutError):
                await injector.until_ready()
        finally:
            until.set()
            await injector.close()
            await calling
        self._judge(load)
        self._verify("after the faults")
        self._rebuild()
        self._verify("after a rebuild")
        return not self.failures

    async def _until_calls(self, load: Load) -> None:
        while len(load.seen.placed) < min(self._calls, 8):
            await asyncio.sleep(0.2)

    async def _inject(self, injector: Injector, load: Load) -> None:
        dice = random.Random(self._seed)
        began = time.monotonic()
        for n, fault in enumerate(self._faults, 1):
            if self._one_by_one:
                await asyncio.sleep(dice.uniform(1.0, 3.0))
            else:
                await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
            if fault.kind == "kill" and fault.target in _IN_CALLS:
                # Amid a sentence, so that it is this death which the answer has to survive.
                await load.seen.speech(within_s=20)
                await asyncio.sleep(dice.uniform(0.0, 0.8))
            at_ms = now_ms()
            try:
                what = await injector.do(fault)
                if self._one_by_one or fault.target == "kafka":
                    await injector.until_ready()
            except TimeoutError:
                self.failures.append(f"{fault}: not ready again in time")
                return
            self.done.append(Done(at_ms, now_ms(), what, fault.target))
            self.console.print(
                f"[{n}/{len(self._faults)}] {what}; ready after {(now_ms() - at_ms) / 1000:.1f} s; "
                f"calls {load.running} running, {len(load.seen.finished_tasks())} over"
            )

    def _judge(self, load: Load) -> None:
        seen = load.seen
        if load.open_tasks:
            some = ", ".join(load.open_tasks[:3])
            self.failures.append(f"{len(load.open_tasks)} tasks did not end: {some} ...")
        with load.log_file.open(encoding="utf-8") as lines:
            said = [json.loads(line) for line in lines]
        given = judge.answers(seen, said)
        late: dict[str, list[int]] = defaultdict(list)
        outages = [f for f in self.done if f.target == "kafka"]
        for fault in self.done:
            worst = max(judge.late_ms(given, fault, outages), default=0)
            late[fault.what.split(" for ")[0]].append(worst)
        lost = judge.unanswered(given, [f for f in self.done if f.what.startswith(_DEAF)])
        self.failures += [
            f"«{a.line.text}» in {a.line.call_id} was never answered" for a in lost[:10]
        ]
        self.failures += judge.overlaps(seen)
        if self._brief:
            served = judge.turns_taken(seen.tasks.values())
            self.console.print(f"permits while all priorities waited: {dict(served)}")
            self.failures += judge.unfair(served)
        for what, each in late.items():
            bound = what.startswith(("killed robots", "killed asr"))
            if bound and max(each) > ANSWER_LIMIT_MS:
                self.failures.append(f"{what}: an answer came {max(each)} ms late")
        self._show(load, given, late)

    def _show(self, load: Load, given: list[judge.Answer], late: dict[str, list[int]]) -> None:
        table = Table(
            "what was done", "times", "latest answer, ms: p50", "p95", "worst",
            title=f"{len(load.assigned)} calls, {len(given)} lines said, {len(self.done)} faults",
            title_justify="left",
        )  # fmt: skip
        for what, worst in sorted(late.items()):
            p50, p95 = np.percentile(worst, [50, 95])
            table.add_row(what, str(len(worst)), f"{p50:.0f}", f"{p95:.0f}", str(max(worst)))
        self.console.print(table)

    def _verify(self, when: str) -> None:
        self.console.print(f"verify {when} …")
        status = self._ringlog("verify", "--idle", "--settle", "60")
        if status:
            self.failures.append(f"verify {when} found violations (exit code {status})")

    def _rebuild(self) -> None:
        """What is derived is made again from the log, to be held against it once more."""
        for command in (
            ("history", "--yes"), ("status",), ("profiles", "--check"), ("dispatch", "--check"),
        ):  # fmt: skip
            if self._ringlog("rebuild", *command):
                self.failures.append(f"ringlog rebuild {' '.join(command)} failed")

    def _ringlog(self, *arguments: str) -> int:
        command = [sys.executable, "-m", "cli.main", *arguments]
        return subprocess.run(
            command, env=environment.of_services(self._config), check=False
        ).returncode


def clocks_of(config: Settings) -> Path:
    """Folder of what the clocks of the stack's processes are wrong by."""
    return config.home / "clocks"


def wrong_clocks(config: Settings) -> dict[str, str]:
    """Variables with which Python processes have a clock that can be stepped."""
    clocks_of(config).mkdir(parents=True)
    own = str(Path(__file__).parent / "clock")
    path = os.pathsep.join((str(root()), own))
    return {"RINGLOG_FAULTS_CLOCK": str(clocks_of(config)), "PYTHONPATH": path}


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="Length of a mixed schedule.")
@click.option("--kills", type=int, help="Instead: kill every service so often, one at a time.")
@click.option("--only", multiple=True, help="Only faults of this target; can be repeated.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same schedule.")
@click.option("--seeds", default=1, show_default=True, help="So many runs: this seed, the next …")
@click.option("--calls", default=8, show_default=True, help="Calls at any time.")
@click.option("--brief", is_flag=True, help="Nobody answers: many short calls, no words.")
@click.option("--keep", is_flag=True, help="Keep the stack's folder.")
def main(
    minutes: float,
    kills: int | None,
    only: tuple[str, ...],
    seed: int,
    seeds: int,
    calls: int,
    brief: bool,
    keep: bool,
) -> None:
    """Run calls while services die, stall, and are restarted; then prove that nothing is wrong.

    \b
    python -m tests.faults --minutes 5 --seed 3
    python -m tests.faults --kills 20
    python -m tests.faults --kills 20 --only robots --only asr
    python -m tests.faults --seeds 20 --brief --kills 2 --only dispatch --only profiles
    """
    if seeds > 1:
        sys.exit(each_alone(range(seed, seed + seeds)))
    try:
        faults = schedule.kills(kills, seed, only) if kills else schedule.mixed(minutes, seed, only)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(0 if run_of(seed, faults, calls, brief, keep) else 1)


def each_alone(seeds: Iterable[int]) -> int:
    """Runs this very command once for each seed, in a process of its own."""
    given = [word for word in sys.argv[1:] if not word.startswith(("--seed=", "--seeds="))]
    for option in ("--seed", "--seeds"):
        if option in given:
            at = given.index(option)
            del given[at : at + 2]
    bad = [
        seed
        for seed in seeds
        if subprocess.run(
            [sys.executable, "-m", "tests.faults", *given, f"--seed={seed}"], check=False
        ).returncode
    ]
    click.echo(f"not good: seeds {bad}" if bad else "every seed is good")
    return 1 if bad else 0


def run_of(seed: int, faults: list[Fault], calls: int, brief: bool, keep: bool) -> bool:
    """One schedule on a stack of its own; whether everything held."""
    home = Path(tempfile.mkdtemp(prefix="ringlog-faults-"))
    config = Settings(home=home, port_shift=free_port_shift(), law="off")  # all are simulated
    os.environ |= environment.of_services(config) | wrong_clocks(config)
    settings.cache_clear()
    run = Run(config, faults, calls, seed, brief)
    run.console.print(f"seed {seed}: {len(faults)} faults in about {run.seconds / 60:.0f} minutes")
    control.up(config, detach=True, tied=True)
    try:
        good = uvloop.run(run.run())
    finally:
        control.down(config)
    for failure in run.failures:
        run.console.print(f"failed: {failure}", style="bold red")
    run.console.print("nothing lost, nothing twice" if good else f"NOT good; logs: {home / 'logs'}")
    if good and not keep:
        subprocess.run(["rm", "-r", str(home)], check=True)
    return good


if __name__ == "__main__":
    main()
