"""Broker and registry keep what they were given, through a restart and through a kill."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ringlog.settings import Settings
from stack import control

_SERVICES = {"kafka", "registry"}
_WITHIN_S = 90.0


@pytest.fixture
def config(tmp_path: Path, port_shift: int) -> Iterator[Settings]:
    settings = Settings(home=tmp_path, port_shift=port_shift)
    control.up(settings, only=_SERVICES, detach=True, tied=True)
    yield settings
    control.down(settings)


def register(settings: Settings, name: str) -> int:
    """Id of a schema; the same text gives the same id for ever."""
    schema = json.dumps({"type": "record", "name": name, "fields": []})
    request = urllib.request.Request(
        f"{settings.registry_url}/subjects/{name}-value/versions",
        data=json.dumps({"schema": schema}).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(json.load(answer)["id"])


def schema_of(settings: Settings, schema_id: int) -> Any:
    """A schema by id."""
    url = f"{settings.registry_url}/schemas/ids/{schema_id}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(json.load(answer)["schema"])


def kill_and_wait(settings: Settings, service: str) -> None:
    """SIGKILL a service; returns when the supervisor has it ready again."""
    pid = json.loads(settings.pids_file.read_text())[service]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        state = {item.service: item for item in control.status(settings)}[service]
        if state.restarts and state.ready and state.pid != pid:
            return
        time.sleep(0.1)
    pytest.fail(f"{service} was not restarted")


def test_schemas_and_records_outlive_kills_and_a_restart(config: Settings) -> None:
    first = register(config, "First")
    admin = AdminClient({"bootstrap.servers": config.kafka_bootstrap})
    for future in admin.create_topics([NewTopic("kept", num_partitions=1)]).values():
        future.result(timeout=30)
    producer = Producer({"bootstrap.servers": config.kafka_bootstrap})
    producer.produce("kept", b"acknowledged")
    assert producer.flush(30) == 0

    second = register(config, "Second")
    kill_and_wait(config, "registry")
    assert schema_of(config, second)["name"] == "Second"
    kill_and_wait(config, "kafka")

    control.down(config)
    control.up(config, only=_SERVICES, detach=True, tied=True)
    assert register(config, "First") == first
    assert schema_of(config, first)["name"] == "First"
    assert register(config, "Second") == second
    consumer = Consumer(
        {
            "bootstrap.servers": config.kafka_bootstrap,
            "group.id": "kept-reader",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 1000,  # the broker's lower limit is set for it
            "heartbeat.interval.ms": 300,
        }
    )
    try:
        consumer.subscribe(["kept"])
        records = consumer.consume(1, timeout=60)
        assert [record.value() for record in records] == [b"acknowledged"]
    finally:
        consumer.close()


def test_every_listener_is_on_the_loopback_address(config: Settings) -> None:
    pids = json.loads(config.pids_file.read_text())
    for name in pids:
        for connection in psutil.Process(pids[name]).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr
                assert connection.laddr.ip.removeprefix("::ffff:") == "127.0.0.1", name
