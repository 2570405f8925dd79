"""Ten thousand tasks through the whole path: a list, dispatch, the edge, a carrier, the stores."""

import asyncio
import json
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

import aiohttp
import pytest
from clickhouse_driver import Client

from demo.campaign import carrier_of
from demo.people import Expected, Person, load
from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas import ids
from schemas.events import RobotStatus, TaskEvent
from schemas.events.tasks import TASK_OVER
from stack import environment
from tests.faults.listed import ListedCampaign, lawful_phones
from tests.integration.e2e.test_asked_to_stop import verified

TASKS = 10_000
TALKS = 100
"""One in so many answers and talks; the others are busy, turn the call down, or do not answer."""

LONGEST_S = 3_000.0

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(3_600)]


def people() -> list[Person]:
    """Who is called, in turn."""
    talks = next(p for p in load() if p.expects.disposition == "completed" and p.on)
    silent = [
        Person(
            name=f"cause-{cause}", voice=talks.voice, answers_after_ms=200, hangs_up=cause,
            expects=Expected(disposition=said),
        )
        for cause, said in ((17, "busy"), (21, "rejected"), (18, "no_answer"))
    ]  # fmt: skip
    return [talks if n % TALKS == 0 else silent[n % 3] for n in range(TASKS)]


@dataclass
class Followed:
    """The newest status of each of the campaign's tasks, as Kafka tells it."""

    config: Settings
    campaign_id: str

    def statuses(self) -> dict[str, str]:
        """By task, by the order of its partition; of records with one id the first counts."""
        codec, found = codec_of(self.config), dict[str, str]()
        seen: set[str] = set()
        for record in sync.read(self.config, "tasks.events"):
            event = codec.decode("tasks.events", record.value)
            assert isinstance(event, TaskEvent)
            if event.campaign_id == self.campaign_id and event.event_id not in seen:
                seen.add(event.event_id)
                found[event.task_id or ""] = event.kind
        return found


async def of_api(config: Settings, tasks: list[str]) -> Counter[str]:
    """Statuses by the API, one request a task."""
    found: Counter[str] = Counter()
    limit = asyncio.Semaphore(20)
    async with aiohttp.ClientSession(config.api_url) as http:

        async def ask(task: str) -> None:
            async with limit, http.get(f"/api/tasks/{task}") as answer:
                assert answer.status == 200, await answer.text()
                found[(await answer.json())["status"]] += 1

        await asyncio.gather(*map(ask, tasks))
    return found


def staff(config: Settings) -> None:
    """More robots than the demo has: robots are not what is tested."""
    codec = codec_of(config)
    with closing(sync.producer_of(config, "test-staff")) as producer:
        for n in range(2):
            robot = RobotStatus(
                event_id=ids.root_id("ten-thousand", n), occurred_at=now_ms(), producer="test",
                robot_id=f"crowd-{n}", pool="sales", playbooks=["promotion"], slots=8,
                skills={"sales": 1},
            )  # fmt: skip
            sync.produce(producer, codec, "robots.status", robot)
        producer.flush()


async def test_every_task_ends_and_all_stores_count_the_same(
    product: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.of_services(product).items():
        monkeypatch.setenv(name, value)
    run = int(time.time())
    campaign_id = f"many-{run}"
    cast = dict(zip(lawful_phones(run, TASKS), people(), strict=True))
    staff(product)
    campaign = ListedCampaign(product, campaign_id, ahead=500)
    async with carrier_of(product, campaign_id, cast):
        began = time.monotonic()
        await campaign.launch(
            dict(enumerate(cast)),
            retries={c: [] for c in ("busy", "no_answer", "machine", "unreachable")}
            | {"carrier": ["5s"]},
        )
        loaded = time.monotonic()
        followed = Followed(product, campaign_id)
        while True:
            status = await asyncio.to_thread(followed.statuses)
            over = sum(kind in TASK_OVER for kind in status.values())
            if over >= TASKS:
                break
            assert time.monotonic() < loaded + LONGEST_S, (over, Counter(status.values()))
            await asyncio.sleep(5)
        ended = time.monotonic()
    # A customer may have asked for a call back, which is hours from now.
    kafka = Counter(kind for kind in status.values() if kind in TASK_OVER)
    assert sum(kafka.values()) == TASKS
    assert kafka["completed"] >= TASKS // TALKS * 0.9, kafka
    tasks = [task for task, kind in status.items() if kind in TASK_OVER]
    assert await of_api(product, tasks) == kafka
    host, port = product.clickhouse_native
    client = Client(host, port=port, database="ringlog")
    await until_equal(client, campaign_id, kafka)
    calls = dict(
        client.execute(
            "select disposition, count() from calls where campaign_id = %(c)s and state = 'ended' "
            "group by disposition",
            {"c": campaign_id},
        )
    )
    assert sum(calls.values()) >= TASKS
    assert {"busy", "rejected", "no_answer"} <= calls.keys(), calls
    assert abs(calls["busy"] - TASKS / 3) < TASKS / TALKS, calls
    figures = {
        "tasks": TASKS, "import_s": round(loaded - began, 1), "calls_s": round(ended - loaded, 1),
        "a_second": round(TASKS / (ended - loaded), 1), "status": dict(kafka), "calls": calls,
    }  # fmt: skip
    print(json.dumps(figures))
    verified(product)


async def until_equal(client: Client, campaign_id: str, kafka: Counter[str]) -> None:
    """ClickHouse is some seconds behind."""
    deadline = time.monotonic() + 120
    while True:
        rows = client.execute(
            "select status, count() from tasks where campaign_id = %(c)s group by status",
            {"c": campaign_id},
        )
        found = {status: n for status, n in rows if status in TASK_OVER}
        if found == dict(kafka):
            return
        assert time.monotonic() < deadline, (found, kafka)
        await asyncio.sleep(1)
