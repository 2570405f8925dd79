"""A campaign of 100,000 contacts: loading the list, rehearsing it, and the service's start.

The list goes through the API as an operator's does. Of its tasks most are asked for and over, as
on the day after; then the service starts without a checkpoint, with one, and after `kill -9`.
"""

import asyncio
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import openpyxl

from bench.measure import Measure, Outcome
from bench.own_stack import own_stack
from ringlog.api_key import api_key
from ringlog.campaigns.contacts import Importer, Loading
from ringlog.campaigns.tables import format_of, read_table
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings, root
from schemas import ids
from schemas.envelope import Event
from schemas.events import OptOut, TaskEvent, TaskRequested
from schemas.phone import Numbers
from stack import environment

RESTART_S = 10.0
ANSWER_S = 0.5
"""How long the API may be busy for others, at most, while a list is rehearsed."""

HEADINGS = ("手机号", "姓名", "标签", "amount_due")
CAMPAIGN = "bench"
SETTINGS = {"playbook": "promotion", "purpose": "service", "recording_notice": True}


def phone(n: int) -> str:
    """A mobile number of the list."""
    return f"138{n:08d}"


def lists(folder: Path, rows: int) -> list[Path]:
    """The same customers as CSV and as an Excel file."""
    table = [[phone(n), f"客户{n}", "industry:finance", "120.5"] for n in range(rows)]
    text, book = folder / "list.csv", openpyxl.Workbook(write_only=True)
    with text.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([HEADINGS, *table])
    sheet = book.create_sheet()
    for row in (HEADINGS, *table):
        sheet.append(row)
    book.save(folder / "list.xlsx")
    return [text, folder / "list.xlsx"]


def read_rate(path: Path, rows: int) -> float:
    """Rows a second that become contacts, on one core, nothing written."""
    importer = Importer(Loading("default", CAMPAIGN, "default", "x", "CN", "bench", 1), set())
    began = time.perf_counter()
    for row in read_table(path, format_of(path.name)):
        importer.take(row)
    if importer.added != rows:
        raise RuntimeError(f"{importer.added} of {rows} rows were taken")
    return rows / (time.perf_counter() - began)


class Api:
    """The running API, asked as a client asks it."""

    def __init__(self, config: Settings) -> None:
        self._headers = {"Authorization": f"Bearer {api_key(config)[0]}"}
        self._url = config.api_url

    async def ask(self, path: str, **options: object) -> dict[str, object]:
        """The answer's JSON; raises RuntimeError for any but 2xx."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            post = session.post(self._url + path, timeout=aiohttp.ClientTimeout(600), **options)  # type: ignore[arg-type] # aiohttp's own
            async with post as answer:
                told: dict[str, object] = await answer.json(content_type=None)
                if answer.status >= 300:
                    raise RuntimeError(f"{path}: {told}")
                return told

    async def slowest(self, until: "asyncio.Task[object]") -> float:
        """The longest wait for another answer while a task runs, s."""
        slowest = 0.0
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while not until.done():
                began = time.perf_counter()
                async with session.get(f"{self._url}/api/campaigns/{CAMPAIGN}") as answer:
                    await answer.read()
                slowest = max(slowest, time.perf_counter() - began)
                await asyncio.sleep(0.01)
        return slowest


async def imported(config: Settings, data: bytes, rows: int) -> float:
    """Rows a second through the API, with Kafka's acknowledgement."""
    api = Api(config)
    body = {"campaign_id": CAMPAIGN, "settings": SETTINGS}
    await api.ask("/api/campaigns", json=body)
    began = time.perf_counter()
    told = await api.ask(
        f"/api/campaigns/{CAMPAIGN}/import?format=csv", data=data,
        headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    if told["added"] != rows:
        raise RuntimeError(f"{told['added']} of {rows} rows were taken")
    return rows / (time.perf_counter() - began)


async def rehearsed(config: Settings) -> tuple[float, float]:
    """(s of the dry run, the longest wait of another request meanwhile, s)."""
    api = Api(config)
    began = time.perf_counter()
    run = asyncio.create_task(api.ask(f"/api/campaigns/{CAMPAIGN}/dry-run"))
    slowest = await api.slowest(run)
    await run
    return time.perf_counter() - began, slowest


async def barred(config: Settings, numbers: int) -> None:
    """A do-not-call list of that length, of numbers that are not on the list."""
    hashes = Numbers("CN", b"bench")
    async with EventProducer(config, "bench") as producer:
        chunk: list[tuple[str, Event]] = []
        for n in range(numbers):
            hashed = hashes.hash(f"+86139{n:08d}")
            event = OptOut(
                event_id=ids.root_id("bench", n), kind="opted_out", occurred_at=1,
                producer="bench", phone_hash=hashed, reason="register", source="list",
            )  # fmt: skip
            chunk.append(("compliance.optouts", event))
            if len(chunk) == 5_000:
                await producer.send_all(chunk)
                chunk.clear()
        await producer.send_all(chunk)


async def called(config: Settings, rows: int, asked: int) -> None:
    """The history of so many tasks of the list: asked for, queued, assigned, dialled, over."""
    at = now_ms()
    async with EventProducer(config, "campaigns") as producer:
        for start in range(0, asked, 1_000):
            chunk: list[tuple[str, Event]] = []
            for n in range(start, min(start + 1_000, asked)):
                number = f"+86{phone(n)}"
                contact = ids.root_id("contact", config.tenant_id, CAMPAIGN, number)
                task = ids.contact_task_id(config.tenant_id, CAMPAIGN, contact)
                customer = ids.root_id("customer", config.tenant_id, number)
                request = TaskRequested(
                    event_id=ids.event_id(task, "requested"), kind="requested", occurred_at=at,
                    producer="campaigns", task_id=task, customer_id=customer,
                    campaign_id=CAMPAIGN, pool="default", body_sha256="",
                    idempotency_key=contact, phone=number, playbook="promotion",
                )  # fmt: skip
                chunk.append(("tasks.requested", request))
                for kind in ("queued", "assigned", "dialing", "completed"):
                    step = TaskEvent.model_validate(
                        {
                            "event_id": ids.event_id(task, kind), "kind": kind,
                            "occurred_at": at, "producer": "bench", "task_id": task,
                            "customer_id": customer, "campaign_id": CAMPAIGN,
                        }
                    )  # fmt: skip
                    chunk.append(("tasks.events", step))
            await producer.send_all(chunk)


def started(config: Settings, stop: Callable[[int], None] | None = None) -> float:
    """Seconds from the start of the service until it is ready; then it is stopped."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.campaigns"], cwd=root(),
        env=environment.of_services(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{config.metrics_port_of('campaigns')}/readyz"
        ready = asyncio.run(_until_ready(url, process))
        if stop is not None:
            time.sleep(5)  # a checkpoint of what it read is written meanwhile
            stop(process.pid)
    finally:
        process.terminate()
        process.wait(60)
    return ready - began


async def _until_ready(url: str, process: "subprocess.Popen[bytes]") -> float:
    async with aiohttp.ClientSession() as session:
        while process.poll() is None:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return time.perf_counter()
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError("the service has ended")


def run(quick: bool) -> Outcome:
    """Rows a second of the import, the dry run beside other requests, and starts."""
    rows, numbers = (2_000, 20_000) if quick else (100_000, 1_000_000)
    asked = rows * 9 // 10
    with tempfile.TemporaryDirectory(prefix="ringlog-bench-") as folder:
        files = lists(Path(folder), rows)
        rates = {path.suffix: read_rate(path, rows) for path in files}
        with own_stack({"api"}) as config:
            through = asyncio.run(imported(config, files[0].read_bytes(), rows))
            asyncio.run(barred(config, numbers))
            rehearsal_s, slowest_s = asyncio.run(rehearsed(config))
            asyncio.run(called(config, rows, asked))
            first_s = started(config)
            again_s = started(config, stop=lambda pid: os.kill(pid, signal.SIGKILL))
            killed_s = started(config)
            checkpoint = config.home / "campaigns" / "checkpoint.db"
            size_mb = checkpoint.stat().st_size / 1e6
    what = f"start of the service, {rows:,} contacts, {asked:,} called"
    return Outcome(
        measures=[
            Measure(
                what=f"import of {rows:,} rows by the API, acknowledged", unit="rows/s",
                ours=through, against="reading the CSV alone", theirs=rates[".csv"],
                note=f"reading XLSX alone {rates['.xlsx']:,.0f} rows/s",
            ),
            Measure(
                what=what, unit="s", ours=max(again_s, killed_s), against="budget",
                theirs=RESTART_S, budget=1.0, bound="at most",
                note=f"after a stop {again_s:.1f} s, after kill -9 {killed_s:.1f} s; "
                f"the checkpoint has {size_mb:.0f} MB",
            ),
            Measure(
                what=what, unit="s", ours=again_s, against="without a checkpoint",
                theirs=first_s,
            ),
            Measure(
                what=f"another request during a dry run, {numbers:,} numbers barred", unit="s",
                ours=slowest_s, against="budget", theirs=ANSWER_S, budget=1.0, bound="at most",
                note=f"the longest of all; the dry run took {rehearsal_s:.1f} s",
            ),
        ],
    )  # fmt: skip
