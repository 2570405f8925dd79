"""The shared stack is usable: a broker that takes topics, a registry that keeps schemas."""

import json
import time
import urllib.request

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ringlog.settings import Settings
from stack import control


def test_broker_creates_a_topic_and_allows_short_sessions(stack: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    for future in admin.create_topics([NewTopic("stack-test", num_partitions=3)]).values():
        future.result(timeout=30)
    deadline = time.monotonic() + 10
    while "stack-test" not in (topics := admin.list_topics(timeout=30).topics):
        assert time.monotonic() < deadline, "the broker's metadata follow a creation in a moment"
        time.sleep(0.1)
    assert len(topics["stack-test"].partitions) == 3


def test_registry_speaks_confluents_api(stack: Settings) -> None:
    with urllib.request.urlopen(f"{stack.registry_url}/subjects", timeout=30) as answer:
        assert isinstance(json.load(answer), list)


def test_status_lists_the_services_as_ready(stack: Settings) -> None:
    statuses = {status.service: status for status in control.status(stack)}
    assert {"kafka", "registry"} <= statuses.keys()
    assert all(status.ready for status in statuses.values())
