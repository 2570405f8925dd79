"""A campaign on the real log: a list of thousands, a service that is killed again and again."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import urllib3
from click.testing import CliRunner

from cli.main import cli
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas import ids
from schemas.events import RobotStatus, TaskEvent, TaskRequested

HTTP = urllib3.PoolManager(timeout=60)
CONTACTS, AHEAD, KILLS = 3_000, 200, 6

pytestmark = pytest.mark.heavy


def started(config: Settings, service: str) -> "subprocess.Popen[bytes]":
    """A service that is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"streams.{service}"], stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{config.metrics_port_of(service)}/readyz"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            if HTTP.request("GET", url, retries=False).status == 200:
                return process
        except urllib3.exceptions.HTTPError:
            pass
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"{service} is not ready")


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Settings]:
    process = started(stack, "api")
    try:
        yield stack
    finally:
        process.kill()
        process.wait()


def ringlog(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


def requests_of(config: Settings, campaign_id: str) -> list[TaskRequested]:
    """All requests on the log, repeats too."""
    codec = codec_of(config)
    found = [codec.decode("tasks.requested", r.value) for r in sync.read(config, "tasks.requested")]
    return [e for e in found if isinstance(e, TaskRequested) and e.campaign_id == campaign_id]


def test_of_thousands_each_is_asked_for_once_though_the_service_is_killed(
    api: Settings, tmp_path: Path
) -> None:
    chance = random.Random(20261127)
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "playbook: promotion\npool: nowhere\npurpose: service\nrecording_notice: true\n"
        f"ahead: {AHEAD}\n"
    )
    customers = tmp_path / "customers.jsonl"
    with customers.open("w") as file:
        for n in range(CONTACTS):
            file.write(json.dumps({"phone": f"138{n:08d}", "customer_id": f"k{n}"}) + "\n")
        file.write(json.dumps({"phone": "12"}) + "\n")
    ringlog("campaign", "create", "many", str(settings))
    began = time.monotonic()
    told = ringlog("campaign", "import", "many", str(customers), code=1)
    print(f"import: {CONTACTS / (time.monotonic() - began):.0f} rows/s")
    assert f"{CONTACTS + 1:,} rows: {CONTACTS:,} added, 0 on the list already, 1 not valid" in told
    assert (tmp_path / "customers.errors.csv").exists()
    assert f"of {CONTACTS:,}" in ringlog("campaign", "dry-run", "many")
    ringlog("campaign", "start", "many", code=1)
    with closing(sync.producer_of(api, "test")) as producer:
        robot = RobotStatus(
            event_id=ids.root_id("nobody"), occurred_at=1, producer="test", robot_id="nobody",
            pool="nowhere", playbooks=["promotion"], state="paused",
        )  # fmt: skip
        sync.produce(producer, codec_of(api), "robots.status", robot)
        producer.flush()
    deadline = time.monotonic() + 60
    while CliRunner().invoke(cli, ["campaign", "start", "many"]).exit_code != 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    codec = codec_of(api)
    over: set[str] = set()
    process = started(api, "campaigns")
    kills, deadline = 0, time.monotonic() + 240
    try:
        with closing(sync.producer_of(api, "test")) as producer:
            while len(over) < CONTACTS:
                assert time.monotonic() < deadline, len(over)
                tasks = {e.task_id or "" for e in requests_of(api, "many")}
                assert len(tasks - over) <= AHEAD
                if kills < KILLS and len(over) > kills * CONTACTS // KILLS:
                    kills += 1
                    time.sleep(chance.random() / 2)
                    process.kill()
                    process.wait()
                    process = started(api, "campaigns")
                for task in tasks - over:
                    event = TaskEvent(
                        event_id=ids.event_id(task, "completed"), kind="completed",
                        occurred_at=1_800_000_000_000, producer="test", task_id=task,
                    )  # fmt: skip
                    sync.produce(producer, codec, "tasks.events", event)
                    over.add(task)
                producer.flush()
        assert kills == KILLS
    finally:
        process.kill()
        process.wait()
    found = Counter(e.event_id for e in requests_of(api, "many"))
    assert len(found) == CONTACTS, "each contact has one id, whatever was repeated"
    print(f"repeats after {KILLS} kills: {sum(found.values()) - CONTACTS}")
    history = started(api, "history")
    try:
        deadline = time.monotonic() + 120
        while True:
            rows = ringlog("campaign", "results", "many").splitlines()
            if sum('"completed"' in row for row in rows) == CONTACTS:
                break
            assert time.monotonic() < deadline, rows[:3]
            time.sleep(0.5)
        assert len(rows) == CONTACTS + 1
    finally:
        history.kill()
        history.wait()
