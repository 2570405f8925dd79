"""`ringlog demo`: starts what is needed, lets simulated people be called, and judges the run."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from rich.console import Console

from demo import history, people
from demo.observer import Observer
from demo.people import Person, phone_of
from demo.progress import show_progress
from demo.report import Report, build, show, window_differences
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import ids
from schemas.events import CustomerChange

POOL = "sales"
PLAYBOOK = "promotion"
_NEEDED = frozenset(
    {"edge", "asr", "robots-a", "profiles", "dispatch", "history", "analytics", "api"}
)
_CALL_S = 90
_WINDOWS_WAIT_S = 45.0
_VERSIONS = ("ringlog", "sherpa-onnx", "chdb", "apache-flink", "faust-streaming", "aiokafka")


class DemoError(RuntimeError):
    """The demo could not run; the text says why."""


def run_demo(config: Settings, calls: int = 20, report: Path | None = None) -> int:
    """Exit code 0: everything as it should be; 1: it is not, and the report says how."""
    from stack import control

    console = Console()
    began = time.monotonic()
    started = False
    try:
        if not control.is_running(config):
            console.print("starting the stack …")
            control.up(config, detach=True, report=lambda line: console.print(f"  {line}"))
            started = True
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


async def _demo(config: Settings, calls: int, out: Path, began: float) -> int:
    console = Console()
    run_number = int(time.time())
    campaign = f"demo-{run_number}"
    cast = _cast(calls, run_number)
    log_file = config.home / "demo" / f"{campaign}.jsonl"
    manifest = _manifest(config, cast, log_file)
    seen = Observer(campaign)
    first_final: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        carrier = _start_carrier(config, manifest)
        stack.callback(_stop, carrier)
        await _until_ready(config, carrier)
        producer = await stack.enter_async_context(EventProducer(config, "demo"))
        tasks = [
            asyncio.create_task(seen.follow(config, producer, now_ms())),
            asyncio.create_task(_watch_first(seen, first_final)),
            asyncio.create_task(show_progress(seen, calls, console)),
        ]
        stack.push_async_callback(_cancel, tasks)
        await _tell_crm(producer, campaign, cast)
        await _assign(config, campaign, cast)
        await _until_over(seen, calls, tasks[0])
        await _until_windows(seen)
        rows, failures = await history.check(config, seen)
    with log_file.open(encoding="utf-8") as lines:
        log = [json.loads(line) for line in lines]
    result = build(
        seen,
        log,
        cast,
        rows,
        failures,
        ((first_final[0] if first_final else 0.0) - began, time.monotonic() - began),
        {name: version(name) for name in _VERSIONS} | {"python": sys.version.split()[0]},
    )
    _write(out, result)
    show(result, console)
    console.print(f"report: {out}")
    return 0 if result.ok else 1


def _cast(calls: int, run_number: int) -> dict[str, Person]:
    """Phone number -> person; the people take turns when there are more calls than people."""
    everyone = people.load()
    return {phone_of(run_number, n): everyone[n % len(everyone)] for n in range(calls)}


def _manifest(config: Settings, cast: dict[str, Person], log_file: Path) -> Path:
    """Writes what the carrier needs to know: the people and which sound is which prompt."""
    index = config.prompts_dir / "index.json"
    if not index.exists():
        raise DemoError(
            f"no prompts are published: {index} is missing; `ringlog playbooks publish`"
        )
    prompts = {
        f"{entry['prompt']}.{entry['wording']}/{sha[:8]}": sha
        for sha, entry in json.loads(index.read_text(encoding="utf-8")).items()
    }
    log_file.parent.mkdir(parents=True, exist_ok=True)
    log_file.touch()
    path = log_file.with_suffix(".manifest.json")
    content = {
        "people": {phone: person.model_dump() for phone, person in cast.items()},
        "prompts": prompts,
        "log": str(log_file.absolute()),
    }
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def _start_carrier(config: Settings, manifest: Path) -> subprocess.Popen[bytes]:
    config.logs_dir.mkdir(parents=True, exist_ok=True)
    with (config.logs_dir / "carrier.out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "demo.carrier", "--manifest", str(manifest)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _until_ready(config: Settings, carrier: subprocess.Popen[bytes]) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            if carrier.poll() is not None:
                raise DemoError(f"the carrier ended; see {config.logs_dir / 'carrier.out'}")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{config.sim_url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise DemoError("the carrier is not ready after 30 s")


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _customer(campaign: str, n: int) -> str:
    return f"{campaign}-c{n:03d}"


async def _tell_crm(producer: EventProducer, campaign: str, cast: dict[str, Person]) -> None:
    """The customers' records, as a CRM would report them."""
    changes = []
    for n, (phone, person) in enumerate(cast.items()):
        customer = _customer(campaign, n)
        change = CustomerChange(
            event_id=ids.root_id("demo-crm", "customers", customer),
            kind="upserted",
            occurred_at=now_ms(),
            producer="demo",
            customer_id=customer,
            source="demo-crm",
            table="customers",
            position="1",
            name=person.name,
            phone=phone,
            level=person.level,
            purchases=person.purchases,
        )
        changes.append(("customers.changes", change))
    await producer.send_all(changes)


async def _assign(config: Settings, campaign: str, cast: dict[str, Person]) -> None:
    """One `POST /api/tasks/assign` a person, all at once."""
    key_file = config.home / "api-key"
    key = config.api_key.get_secret_value() if config.api_key else ""
    if not key and key_file.exists():
        key = key_file.read_text(encoding="ascii").strip()

    async def one(session: aiohttp.ClientSession, n: int, phone: str) -> None:
        body = {
            "customer_id": _customer(campaign, n), "phone": phone, "campaign_id": campaign,
            "pool": POOL, "playbook": PLAYBOOK, "skills": {"sales": 1},
            "priority": ("high", "medium", "low")[n % 3], "tags": ["demo"], "wait_ms": 0,
        }  # fmt: skip
        headers = {"Idempotency-Key": f"{campaign}-{n}"}
        url = f"{config.api_url}/api/tasks/assign"
        async with session.post(url, json=body, headers=headers) as answer:
            if answer.status not in (200, 202):
                raise DemoError(f"POST {url}: {answer.status} {await answer.text()}")

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(one(session, n, phone) for n, phone in enumerate(cast)))


async def _watch_first(seen: Observer, first_final: list[float]) -> None:
    while not seen.finals:
        seen.changed.clear()
        await seen.changed.wait()
    first_final.append(time.monotonic())


async def _until_over(seen: Observer, calls: int, reading: asyncio.Task[None]) -> None:
    """Until every task came to an end, or far longer than the calls can take."""
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


def _write(path: Path, report: Report) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
