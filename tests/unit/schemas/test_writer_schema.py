"""Schemas as strangers register them: each is read with, or refused with the reason."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schema import record_schema, strip_logical
from schemas.catalogue import TOPICS
from schemas.writer_schema import Unusable, writer_schema
from tests.unit.schemas.odd_schemas import odd_schemas, record


@pytest.mark.parametrize("kind", odd_schemas())
def test_k1_an_odd_schema_is_refused_with_the_reason(kind: str) -> None:
    text, reason = odd_schemas()[kind]
    with pytest.raises(Unusable, match=reason):
        writer_schema(text)


@pytest.mark.parametrize("name", TOPICS)
def test_every_schema_of_ours_is_read_with(name: str) -> None:
    own = record_schema(TOPICS[name].model)
    found = writer_schema(json.dumps(own))
    assert found.text == own
    assert found.name == TOPICS[name].model.__name__


def test_a_named_type_may_be_used_twice() -> None:
    found = writer_schema(record({"type": "enum", "name": "E", "symbols": ["A"]}, "E"))
    value = fastavro.schemaless_reader(io.BytesIO(b"\x00\x00"), found.parsed, None)
    assert value == {"f0": "A", "f1": "A"}


def test_a_logical_type_in_the_wrong_place_changes_nothing() -> None:
    """Written beside a field's type, as many do, it has no meaning; the field stays."""
    field = {"name": "at", "type": "long", "logicalType": "timestamp-millis"}
    assert strip_logical(field) == {"name": "at", "type": "long"}
    found = writer_schema(record(fields=[field]))
    assert fastavro.schemaless_reader(io.BytesIO(b"\x02"), found.parsed, None) == {"at": 1}


SCHEMAS: Any = st.recursive(
    st.sampled_from(["null", "int", "string", "Turn", "A", 5, None, {}, [], {"type": "string"}]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.builds(lambda t: {"type": "array", "items": t}, inner),
        st.builds(lambda t: {"type": "map", "values": t}, inner),
        st.builds(lambda t: {"type": t, "logicalType": "uuid"}, inner),
        st.builds(
            lambda n, ts: {"type": "record", "name": n,
                           "fields": [{"name": f"x{i}", "type": t} for i, t in enumerate(ts)]},
            st.sampled_from(["A", "B", "ringlog.Turn", 7, None]), st.lists(inner, max_size=3),
        ),
        st.dictionaries(st.sampled_from(["type", "items", "name", "fields", "size"]), inner),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, body=st.binary(max_size=40))
def test_whatever_is_registered_ends_in_a_reason_or_in_a_bounded_read(
    schema: Any, body: bytes
) -> None:
    text = record(schema)
    try:
        found = writer_schema(text)
    except Unusable as why:
        assert str(why)
        return
    try:
        fastavro.schemaless_reader(io.BytesIO(body * 20), found.parsed, None)
    except Exception:  # the bytes are no such record; the codec says so
        pass
