"""Confluent framing: what goes in comes out, and nothing else gets through."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schema import record_schema
from schemas.catalogue import TOPICS
from schemas.events import Directive, Token, Transcript
from schemas.registry import MemoryRegistry
from schemas.wire import HEADER, Codec, Poison

ID = "00000000-0000-0000-0000-000000000000"


def final(text: str = "价格太高了") -> Transcript:
    return Transcript(
        event_id=ID, kind="final", occurred_at=1_700_000_000_000, producer="asr", call_id="c-1",
        leg="customer", utterance_id="u", text=text, start_ms=10, end_ms=900, mark=7_200,
        ssrc=4_294_967_295, tokens=[Token(text="价", start_ms=20)], gaps_ms=[60], model="demo",
        decode_ms=1.5,
    )  # fmt: skip


@pytest.fixture
def codec() -> Codec:
    return Codec(MemoryRegistry())


def test_round_trip(codec: Codec) -> None:
    assert codec.decode("asr.transcripts", codec.encode("asr.transcripts", final())) == final()


def test_any_avro_consumer_reads_it(codec: Codec) -> None:
    value = codec.encode("asr.transcripts", final())
    schema = fastavro.parse_schema(record_schema(Transcript), _force=True)
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER.size :]), schema, None)
    assert record["occurred_at"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert str(record["event_id"]) == ID
    assert record["tokens"] == [{"text": "价", "start_ms": 20}]


def test_a_record_written_before_a_field_was_added_gets_its_default() -> None:
    registry = MemoryRegistry()
    old = record_schema(Transcript)
    old["fields"] = [f for f in old["fields"] if f["name"] not in ("gaps_ms", "confidence")]
    old_id = registry.id_of("asr.transcripts-value", json.dumps(old))
    body = io.BytesIO()
    record = final().model_dump()
    fastavro.schemaless_writer(body, fastavro.parse_schema(old, _force=True), record)
    event = Codec(registry).decode("asr.transcripts", HEADER.pack(0, old_id) + body.getvalue())
    assert isinstance(event, Transcript)
    assert event.gaps_ms == []
    assert event.confidence is None


def test_an_event_of_another_topic_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="is no event of"):
        codec.encode("dialogue.turns", final())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda v: None, "no value"),
        (lambda v: b"", "shorter"),
        (lambda v: b"\x01" + v[1:], "first byte"),
        (lambda v: HEADER.pack(0, 999) + v[5:], "not in the registry"),
        (lambda v: v[:-3], "Avro"),
        (lambda v: v + b"x", "1 bytes after"),
        (lambda v: v + bytes(2_000_000), "longer"),
    ],
)
def test_poison_is_named(codec: Codec, spoil: object, reason: str) -> None:
    value = codec.encode("asr.transcripts", final())
    with pytest.raises(Poison, match=reason):
        codec.decode("asr.transcripts", spoil(value))  # type: ignore[operator]


def test_a_record_of_another_topic_is_poison(codec: Codec) -> None:
    directive = Directive(
        event_id=ID, kind="stop", occurred_at=1, producer="t", call_id="c", directive_id="d", seq=1
    )
    value = codec.encode("dialogue.directives", directive)
    with pytest.raises(Poison, match=r"is of .*Directive, not of asr\.transcripts"):
        codec.decode("asr.transcripts", value)


def test_an_unknown_kind_is_poison(codec: Codec) -> None:
    record = final().model_dump() | {"kind": "sung"}
    with pytest.raises(Poison, match="field kind"):
        codec.decode("asr.transcripts", codec.encode("asr.transcripts", record))


@given(st.binary(max_size=300), st.sampled_from(sorted(TOPICS)))
@settings(max_examples=300, deadline=None)
def test_no_bytes_do_more_than_raise_poison(data: bytes, topic: str) -> None:
    codec = Codec(MemoryRegistry())
    codec.warm(topic)
    for value in (data, HEADER.pack(0, 1) + data):
        try:
            codec.decode(topic, value)
        except Poison:
            pass


@pytest.mark.parametrize("name", TOPICS)
def test_every_event_begins_with_its_id_and_its_kind(name: str) -> None:
    fields = [field["name"] for field in record_schema(TOPICS[name].model)["fields"]]
    assert fields[:2] == ["event_id", "kind"]


def test_the_kind_is_known_without_decoding(codec: Codec) -> None:
    value = codec.encode("asr.transcripts", final())
    assert codec.kind_of("asr.transcripts", value) == "final"
    assert codec.kind_of("calls.events", value) is None, "another topic's schema"
    other = HEADER.pack(0, 4_711) + value[HEADER.size :]
    assert codec.kind_of("asr.transcripts", other) is None
    assert codec.kind_of("asr.transcripts", None) is None


@given(st.binary(max_size=80), st.booleans())
def test_odd_bytes_have_a_kind_or_none(data: bytes, ours: bool) -> None:
    codec = Codec(MemoryRegistry())
    value = codec.encode("asr.transcripts", final())
    odd = (value[: HEADER.size] if ours else b"") + data
    found = codec.kind_of("asr.transcripts", odd)
    assert found is None or isinstance(found, str)
