"""A campaign of simulated people: their carrier, their records in a CRM, and their tasks."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from demo import people
from demo.people import Person, phone_of
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import ids
from schemas.events import CustomerChange

POOL = "sales"
PLAYBOOK = "promotion"
_API_AWAY_S = 120
"""How long a request is retried while the API is away, with the same Idempotency-Key."""


class DemoError(RuntimeError):
    """The demo could not run; the text says why."""


def cast_of(calls: int, run_number: int) -> dict[str, Person]:
    """Phone number -> person; the people take turns when there are more calls than people."""
    everyone = people.load()
    return {phone_of(run_number, n): everyone[n % len(everyone)] for n in range(calls)}


@contextlib.asynccontextmanager
async def carrier_of(
    config: Settings, campaign: str, cast: dict[str, Person]
) -> AsyncIterator[Path]:
    """Runs the carrier with these people; returns the file in which it logs what really happens.

    Raises DemoError.
    """
    log_file = config.home / "demo" / f"{campaign}.jsonl"
    carrier = _start_carrier(config, manifest_of(config, cast, log_file))
    try:
        await _until_ready(config, carrier)
        yield log_file
    finally:
        await asyncio.to_thread(stop_process, carrier)


def manifest_of(config: Settings, cast: dict[str, Person], log_file: Path) -> Path:
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


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, and waits until it is gone."""
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


def customer_of(campaign: str, n: int) -> str:
    """Id of the n-th customer."""
    return f"{campaign}-c{n:03d}"


async def tell_crm(producer: EventProducer, campaign: str, cast: dict[str, Person]) -> None:
    """The customers' records, as a CRM would report them."""
    changes = []
    for n, (phone, person) in enumerate(cast.items()):
        customer = customer_of(campaign, n)
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


class Desk:
    """The client that requests calls: `POST /api/tasks/assign` for one person or all."""

    def __init__(self, config: Settings) -> None:
        key_file = config.home / "api-key"
        key = config.api_key.get_secret_value() if config.api_key else ""
        if not key and key_file.exists():
            key = key_file.read_text(encoding="ascii").strip()
        self._url = f"{config.api_url}/api/tasks/assign"
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def assign_all(self, campaign: str, cast: dict[str, Person]) -> None:
        """One task a person, all at once."""
        await asyncio.gather(*(self.assign(campaign, n, phone) for n, phone in enumerate(cast)))

    @retry(
        retry=retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
        stop=stop_after_delay(_API_AWAY_S),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    async def assign(self, campaign: str, n: int, phone: str) -> str:
        """The n-th person's task; returns its id. Raises DemoError."""
        body = {
            "customer_id": customer_of(campaign, n), "phone": phone, "campaign_id": campaign,
            "pool": POOL, "playbook": PLAYBOOK, "skills": {"sales": 1},
            "priority": ("high", "medium", "low")[n % 3], "tags": ["demo"], "wait_ms": 0,
        }  # fmt: skip
        headers = {"Idempotency-Key": f"{campaign}-{n}"}
        async with self._session.post(self._url, json=body, headers=headers) as answer:
            if answer.status >= 500:
                answer.raise_for_status()
            if answer.status not in (200, 202):
                raise DemoError(f"POST {self._url}: {answer.status} {await answer.text()}")
            task_id: str = (await answer.json())["task_id"]
            return task_id
