"""Ids are part of the contract: other programs compute them too, so they never change."""

from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as kafka_murmur2

from schemas import ids
from schemas.partition import murmur2, partition_of


def test_golden_ids() -> None:
    namespace = uuid5(NAMESPACE_URL, "https://ringlog.dev/events")
    assert namespace == ids.NAMESPACE
    assert ids.event_id("cause", "final", 2) == str(uuid5(namespace, "cause/final/2"))
    task = ids.task_id("default", "/api/tasks/assign", "key-1")
    assert task == str(uuid5(namespace, "default|/api/tasks/assign|key-1"))
    assert ids.call_id(task, 1) == str(uuid5(namespace, f"{task}|1"))
    assert ids.call_once_id("c", "ended") == str(uuid5(namespace, "c|ended"))
    assert ids.window_id("job", "c", "i", 10, 0, 1) == "df9bd1dd-7702-5ff1-73d5-39e5b1f36c3f"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_has_the_uuid_of_the_standard_library(name: str) -> None:
    assert ids.uuid_of(name) == str(uuid5(ids.NAMESPACE, name))


def test_phone_hash_ignores_how_a_number_is_written() -> None:
    assert ids.phone_hash("+86 138-0000 0000", b"k") == ids.phone_hash("+8613800000000", b"k")
    assert ids.phone_hash("+8613800000000", b"k") != ids.phone_hash("+8613800000000", b"other")


@given(st.binary(max_size=64))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


@pytest.mark.parametrize(("key", "partition"), [("a", 4), ("call-1", 6), ("客户", 1), ("", 1)])
def test_golden_partitions(key: str, partition: int) -> None:
    assert partition_of(key, 8) == partition
