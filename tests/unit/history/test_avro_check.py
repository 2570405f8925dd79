"""The side-by-side check agrees with fastavro: what it passes is what a reader reads."""

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schema import record_schema, strip_logical
from schemas.catalogue import Topic
from streams.history.avro_check import Checker, Unsupported
from streams.history.columns import TOPICS_KEPT
from tests.unit.history.samples import record

HEAD = b"\x00\x00\x00\x00\x07"
BY_NAME = {t.name: t for t in TOPICS_KEPT}


def encode(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(strip_logical(schema)), value)
    return HEAD + out.getvalue()


def read(schema: Any, value: bytes) -> Any:
    """What fastavro makes of it; raises anything for what is not exactly one record."""
    body = io.BytesIO(value[len(HEAD) :])
    result = fastavro.schemaless_reader(body, fastavro.parse_schema(strip_logical(schema)), None)
    assert body.tell() == len(value) - len(HEAD)
    return result


def samples(topic: Topic, count: int) -> list[bytes]:
    return [encode(record_schema(topic.model), record(topic, n)) for n in range(count)]


@pytest.mark.parametrize("topic", TOPICS_KEPT, ids=lambda t: t.name)
def test_passes_every_record_of_every_topic(topic: Topic) -> None:
    checked = Checker(record_schema(topic.model), "call_id").check(samples(topic, 50))
    assert checked.ok.all()
    assert checked.spans() == [f"call-{n % 37}".encode() for n in range(50)]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_passes_after_damage_reads_the_same_with_fastavro(data: st.DataObject) -> None:
    topic = BY_NAME[data.draw(st.sampled_from(("asr.transcripts", "tasks.requested")))]
    schema = record_schema(topic.model)
    values = samples(topic, 6)
    for n in range(5):  # the last one stays whole: a damaged neighbour must not touch it
        damaged = bytearray(values[n])
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(len(HEAD), len(damaged) - 1))
            match data.draw(st.sampled_from(("flip", "cut", "add"))):
                case "flip":
                    damaged[at] = data.draw(st.integers(0, 255))
                case "cut":
                    del damaged[at:]
                case _:
                    damaged[at:at] = data.draw(st.binary(max_size=4))
            if len(damaged) <= len(HEAD):
                break
        values[n] = bytes(damaged)
    ok = Checker(schema).check(values).ok
    assert ok[5]
    for value, passed in zip(values, ok, strict=True):
        if passed:
            found = read(schema, value)
            assert encode(schema, found) == value or read(schema, encode(schema, found)) == found


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"event_id": "not-a-uuid"}, "not 36 characters"),
        ({"event_id": "g" * 36}, "no hexadecimal digits"),
        ({"event_id": "0123456789abcdef0123456789abcdef0123"}, "no dashes"),
        ({"occurred_at": -1}, "before 1970"),
        ({"occurred_at": 253_402_300_800_000}, "year 10000"),
    ],
)
def test_fails_what_has_no_column_value(value: dict[str, Any], why: str) -> None:
    topic = BY_NAME["calls.events"]
    schema = record_schema(topic.model)
    good, bad = encode(schema, record(topic, 1)), encode(schema, record(topic, 2, **value))
    assert Checker(schema).check([good, bad, good]).ok.tolist() == [True, False, True], why


def test_fails_only_the_records_whose_text_is_not_utf8() -> None:
    topic = BY_NAME["asr.transcripts"]
    schema = record_schema(topic.model)
    text = "测试文字" * 3
    values = [encode(schema, record(topic, n, text=text)) for n in range(40)]
    raw = text.encode()
    for n in (0, 7, 39):
        assert raw in values[n]
        values[n] = values[n].replace(raw, b"\xff" + raw[1:])
    # A character that is cut at the end of its text is not mended by what follows.
    values[20] = values[20].replace(raw, raw[:-3] + b"abc"[:2] + b"\xe6")
    ok = Checker(schema).check(values).ok
    assert [n for n in range(40) if not ok[n]] == [0, 7, 20, 39]


def test_many_bad_texts_leave_no_record_wrongly_passed() -> None:
    topic = BY_NAME["asr.transcripts"]
    schema = record_schema(topic.model)
    raw = "测试文字".encode()
    good = [encode(schema, record(topic, n, text="测试文字")) for n in range(100)]
    bad = [value.replace(raw, b"\xff" + raw[1:]) for value in good]
    ok = Checker(schema).check([*good[:50], *bad[50:]]).ok
    assert not ok[50:].any()


def test_longs_of_all_lengths_and_too_long_ones() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
    longs = [0, -1, 63, 64, -65, 2**31, 2**62, 2**63 - 1, -(2**63)]
    assert Checker(schema).check([encode(schema, {"n": n}) for n in longs]).ok.all()
    eleven = HEAD + b"\x80" * 10 + b"\x01"
    overflow = HEAD + b"\xff" * 9 + b"\x02"
    assert not Checker(schema).check([eleven, overflow]).ok.any()


def test_blocks_of_an_array_and_a_count_that_lies() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": {"type": "array", "items": "long"}}],
    }
    two_blocks = HEAD + bytes([4, 2, 4, 2, 6, 0])  # [1, 2] and [3]
    assert read(schema, two_blocks) == {"a": [1, 2, 3]}
    huge = HEAD + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x02" * 50
    with_size = HEAD + bytes([3, 4, 2, 4, 0])
    assert Checker(schema).check([two_blocks, huge, with_size]).ok.tolist() == [True, False, False]


def test_short_and_empty_values_fail_and_hurt_nobody() -> None:
    topic = BY_NAME["audit"]
    schema = record_schema(topic.model)
    good = encode(schema, record(topic, 1))
    values = [b"", good, HEAD, good, HEAD[:3], good + b"\x00", good]
    assert Checker(schema).check(values).ok.tolist() == [
        False, True, False, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "array", "items": "null"},
        {"type": "fixed", "name": "F", "size": 0},
    ],
)
def test_leaves_rare_types_to_the_decoder(schema: Any) -> None:
    with pytest.raises(Unsupported):
        Checker({"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]})
