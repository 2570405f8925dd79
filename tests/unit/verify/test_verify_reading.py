"""The decoder: the short way gives what the codec gives, and refuses what readers refuse."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schema import record_schema
from schemas.catalogue import MAX_RECORD_BYTES, TOPICS
from schemas.events import CallEvent
from schemas.ids import root_id
from schemas.partition import partition_of
from schemas.registry import MemoryRegistry
from schemas.wire import HEADER, Codec, Poison
from tests.unit.schemas.odd_schemas import odd_schemas
from tests.unit.verify.world import T0, World
from verify.reading import LogDecoder, NotAnEvent, together

REGISTRY = MemoryRegistry()
CODEC = Codec(REGISTRY)
CALL = "call-1"
RIGHT = partition_of(CALL, 8)


def event(**fields: object) -> dict[str, object]:
    """A good record of `calls.events`, as a dict."""
    good = CallEvent(
        event_id=root_id("x"), kind="ringing", occurred_at=T0, producer="t", call_id=CALL
    )
    return good.model_dump() | fields


def test_it_decodes_as_the_codec_does() -> None:
    world = World()
    world.whole_call()
    world.windows()
    decoder = LogDecoder(REGISTRY)
    for entry in world.entries:
        assert entry.event is not None
        value = CODEC.encode(entry.topic, entry.event)
        found = decoder.decode(entry.topic, entry.partition, value)
        assert found == CODEC.decode_record(entry.topic, value) == entry.event.model_dump()


@settings(max_examples=60, deadline=None)
@given(value=st.one_of(st.binary(max_size=60), st.binary(max_size=20).map(
    lambda tail: CODEC.encode("calls.events", event())[:-8] + tail)))  # fmt: skip
def test_it_refuses_what_the_codec_refuses(value: bytes) -> None:
    decoder = LogDecoder(REGISTRY)
    try:
        expected: object = CODEC.decode_record("calls.events", value)
    except Poison as poison:
        expected = str(poison)
    try:
        found: object = decoder.decode("calls.events", RIGHT, value)
    except Poison as poison:
        found = str(poison)
    except NotAnEvent as refused:
        found = refused.event
    if not isinstance(found, str) or isinstance(expected, str):
        assert found == expected


@pytest.mark.parametrize(
    ("fields", "partition", "reason"),
    [
        ({"event_id": "x" * 36}, RIGHT, "field event_id: not a UUID"),
        ({"occurred_at": -1}, RIGHT, "field occurred_at: not a time before the year 10000"),
        ({"call_id": None}, RIGHT, "no call_id"),
        ({}, (RIGHT + 1) % 8, f"call {CALL} belongs to partition {RIGHT}, not {(RIGHT + 1) % 8}"),
    ],
)
def test_what_no_row_can_hold_is_poison(
    fields: dict[str, object], partition: int, reason: str
) -> None:
    value = CODEC.encode("calls.events", event(**fields))
    with pytest.raises(Poison) as poison:
        LogDecoder(REGISTRY).decode("calls.events", partition, value)
    assert str(poison.value) == reason


@pytest.mark.parametrize("fields", [{"kind": "exploded"}, {"direction": "sideways"}])
def test_a_record_that_is_no_event_is_refused_and_kept(fields: dict[str, object]) -> None:
    with pytest.raises(NotAnEvent) as refused:
        LogDecoder(REGISTRY).decode(
            "calls.events", RIGHT, CODEC.encode("calls.events", event(**fields))
        )
    assert refused.value.event["call_id"] == CALL


def test_records_of_an_older_schema_go_the_long_way() -> None:
    schema = record_schema(TOPICS["calls.events"].model)
    older = schema | {"fields": [f for f in schema["fields"] if f["name"] != "optout_offset"]}
    registry = MemoryRegistry()
    schema_id = registry.id_of("calls.events-value", json.dumps(older))
    import io

    import fastavro

    from schemas.avro_schema import strip_logical

    out = io.BytesIO()
    out.write(HEADER.pack(0, schema_id))
    fastavro.schemaless_writer(out, fastavro.parse_schema(strip_logical(older)), event())
    found = LogDecoder(registry).decode("calls.events", RIGHT, out.getvalue())
    assert found == event(optout_offset=None)


def test_another_topics_record_and_a_long_one_are_poison() -> None:
    decoder = LogDecoder(REGISTRY)
    value = CODEC.encode("calls.events", event())
    with pytest.raises(Poison, match="not of tasks.events"):
        decoder.decode("tasks.events", RIGHT, value)
    with pytest.raises(Poison, match="longer than"):
        decoder.decode("calls.events", RIGHT, value + b"x" * MAX_RECORD_BYTES)
    with pytest.raises(Poison, match="no value"):
        decoder.decode("calls.events", RIGHT, None)


def test_small_topics_are_read_together_and_large_ones_alone() -> None:
    sizes = {"a": 10, "b": 199_000, "c": 5_000, "d": 5_000_000, "e": 0, "f": 1}
    assert together(sizes, sizes) == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert together((), {}) == []


@pytest.mark.parametrize("kind", odd_schemas("CallEvent"))
def test_k1_a_record_of_an_odd_schema_is_refused(kind: str) -> None:
    text, reason = odd_schemas("CallEvent")[kind]
    decoder = LogDecoder(registry := MemoryRegistry())
    value = HEADER.pack(0, registry.id_of("odd", text)) + b"\x02a"
    for _ in range(2):
        with pytest.raises(Poison, match=reason):
            decoder.decode("calls.events", RIGHT, value)
