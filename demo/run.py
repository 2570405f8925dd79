"""`ringlog demo`: starts what is needed, calls simulated people, and judges the run."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from demo import history
from demo.campaign import DemoError, Desk, carrier_of, cast_of, tell_crm
from demo.observer import Observer
from demo.people import Person
from demo.progress import show_progress
from demo.proof import failures_of_verify
from demo.report import Report, build, show, window_differences
from ringlog.campaigns.callee_facts import site_facts
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.law.facts import Refusal
from ringlog.law.site import law_of
from ringlog.settings import Settings

_NEEDED = frozenset(
    {"edge", "asr", "robots-a", "profiles", "dispatch", "history", "analytics", "api"}
)
_CALL_S = 90
_WINDOWS_WAIT_S = 45.0
_VERSIONS = ("ringlog", "sherpa-onnx", "chdb", "apache-flink", "faust-streaming", "aiokafka")


STARTS_LAWLESS = "starting the stack, with RINGLOG_LAW=off: all people are simulated …"


def run_demo(config: Settings, calls: int = 20, report: Path | None = None) -> int:
    """Exit code 0: everything as it should be; 1: it is not, and the report says how."""
    from stack import control

    console = Console()
    began = time.monotonic()
    started = False
    try:
        if not control.is_running(config):
            console.print(STARTS_LAWLESS)
            config = config.model_copy(update={"law": "off"})
            control.up(config, detach=True, report=lambda line: console.print(f"  {line}"))
            started = True
        check_law(config)
        lacking = sorted(_NEEDED - {s.service for s in control.status(config) if s.ready})
        if lacking:
            raise DemoError(f"{', '.join(lacking)} not ready; look at `ringlog status`")
        return uvloop.run(_demo(config, calls, report or config.home / "demo-report.json", began))
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    except (DemoError, control.StackError) as error:
        console.print(f"the demo could not run: {error}", style="bold red", highlight=False)
        return 1
    finally:
        if started:
            console.print("stopping the stack …")
            with contextlib.suppress(control.StackNotRunning):
                control.down(config)


def check_law(config: Settings) -> None:
    """Raises DemoError where a stack that runs by this law would call nobody now."""
    law = law_of(config)
    phone, at = next(iter(cast_of(1, int(time.time())))), now_ms()
    said = law.judge(phone, site_facts(law, {}, ()), at)
    if isinstance(said, Refusal):
        raise DemoError(
            f"the law forbids these calls now: {said.reason} ({said.rule}); "
            "start the stack with RINGLOG_LAW=off, since all people are simulated"
        )


async def _demo(config: Settings, calls: int, out: Path, began: float) -> int:
    console = Console()
    run_number = int(time.time())
    campaign = f"demo-{run_number}"
    cast = cast_of(calls, run_number)
    done = await conduct(config, campaign, cast, carrier_of(config, campaign, cast), began, console)
    result = build(done.seen, done.log, cast, done.rows, done.failures, done.times, versions())
    write(out, result)
    show(result, console)
    console.print(f"report: {out}")
    return 0 if result.ok else 1


@dataclass(frozen=True, slots=True)
class Conducted:
    """A campaign that is over: what was seen on Kafka, what the far ends logged, what the stores
    hold, and what is wrong in them. `times`: first transcript and all, s."""

    seen: Observer
    log: list[dict[str, Any]]
    rows: dict[str, int]
    failures: list[str]
    times: tuple[float, float]


def versions() -> dict[str, str]:
    """Versions of what the report names."""
    return {name: version(name) for name in _VERSIONS} | {"python": sys.version.split()[0]}


async def conduct(
    config: Settings,
    campaign: str,
    cast: dict[str, Person],
    people: AbstractAsyncContextManager[Path],
    began: float,
    console: Console,
    beside: Callable[[Observer], Coroutine[Any, Any, None]] | None = None,
    assign: Callable[[Desk], Coroutine[Any, Any, None]] | None = None,
) -> Conducted:
    """Calls the cast and waits until all is over and written.

    `people` answer while it is entered, and log to the file that it gives. `beside` runs along.
    `assign` hands the tasks in; without it, all at once.
    """
    seen = Observer(campaign)
    calls = len(cast)
    first_final: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        log_file = await stack.enter_async_context(people)
        producer = await stack.enter_async_context(EventProducer(config, "demo"))
        tasks = [
            asyncio.create_task(seen.follow(config, producer, now_ms())),
            asyncio.create_task(_watch_first(seen, first_final)),
            asyncio.create_task(show_progress(seen, calls, console)),
            *([asyncio.create_task(beside(seen))] if beside else []),
        ]
        stack.push_async_callback(_cancel, tasks)
        await tell_crm(producer, campaign, cast)
        async with Desk(config) as desk:
            await (assign(desk) if assign else desk.assign_all(campaign, cast))
        await _until_over(seen, calls, tasks[0])
        await _until_windows(seen)
        rows, failures = await history.check(config, seen)
        console.print("proving it with ringlog verify …")
        failures += await failures_of_verify(config)
    with log_file.open(encoding="utf-8") as lines:
        log = [json.loads(line) for line in lines]
    first_s = (first_final[0] if first_final else 0.0) - began
    return Conducted(seen, log, rows, failures, (first_s, time.monotonic() - began))


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _watch_first(seen: Observer, first_final: list[float]) -> None:
    while not seen.finals:
        seen.changed.clear()
        await seen.changed.wait()
    first_final.append(time.monotonic())


async def _until_over(seen: Observer, calls: int, reading: asyncio.Task[None]) -> None:
    """Waits until every task has ended, or far longer than the calls can take."""
    limit_s = _CALL_S * (2 + calls / 8)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while len(seen.finished_tasks()) < calls:
                if reading.done():
                    reading.result()
                seen.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(seen.changed.wait(), 2)


async def _until_windows(seen: Observer) -> None:
    """Until Flink's windows hold all turns; the last one closes after traffic stopped."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WINDOWS_WAIT_S):
            while not seen.windows or window_differences(seen)[1]:
                seen.changed.clear()
                await seen.changed.wait()


def write(path: Path, report: Report) -> None:
    """The report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
