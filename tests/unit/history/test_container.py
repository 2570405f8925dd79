"""Spliced containers are what an Avro reader reads back."""

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schema import record_schema, strip_logical
from schemas.catalogue import Topic
from schemas.registry import MemoryRegistry
from schemas.wire import Codec
from streams.history.columns import TOPICS_KEPT
from streams.history.container import Header, Row, container, zigzag
from tests.unit.history.samples import record


def read_back(data: bytes) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(data)))  # type: ignore[arg-type] # records are dicts


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_zigzag_is_avros_long(n: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", n)
    assert zigzag(n) == out.getvalue()


@pytest.mark.parametrize("topic", TOPICS_KEPT, ids=lambda t: t.name)
def test_records_come_back_with_their_place(topic: Topic) -> None:
    codec = Codec(MemoryRegistry())
    records = [record(topic, n) for n in range(60)]
    rows = [Row(n // 20, 10**12 + n, 0, codec.encode(topic.name, r)) for n, r in enumerate(records)]
    found = read_back(container(Header(strip_logical(record_schema(topic.model))), rows))
    assert found == [
        codec.decode_record(topic.name, row.value)
        | {"_partition": row.partition, "_offset": row.offset}
        for row in rows
    ]


def test_one_block_for_each_run_of_a_partition() -> None:
    topic = TOPICS_KEPT[0]
    codec = Codec(MemoryRegistry())
    value = codec.encode(topic.name, record(topic, 0))
    rows = [Row(p, o, 0, value) for p, o in ((0, 5), (0, 6), (3, 1), (3, 2), (3, 9))]
    data = container(Header(record_schema(topic.model)), rows)
    blocks = list(fastavro.block_reader(io.BytesIO(data)))
    assert [block.num_records for block in blocks] == [2, 3]


def test_same_rows_give_the_same_bytes() -> None:
    topic = TOPICS_KEPT[0]
    codec = Codec(MemoryRegistry())
    rows = [Row(0, n, 0, codec.encode(topic.name, record(topic, n))) for n in range(10)]
    schema = record_schema(topic.model)
    assert container(Header(schema), rows) == container(Header(schema), list(rows))
