"""Every record becomes a row or poison with a reason, and only what is certain is spliced."""

import copy
import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schema import record_schema
from schemas.catalogue import TOPICS, Topic
from schemas.partition import partition_of
from schemas.registry import MemoryRegistry
from schemas.wire import HEADER, Codec, Poison, schema_text
from streams.history.columns import OFFSET, PARTITION, TOPICS_KEPT, columns_of
from streams.history.container import Row, container
from streams.history.sorting import Sorted, Sorter
from tests.unit.history.samples import record
from tests.unit.schemas.odd_schemas import odd_schemas

CALLS = TOPICS["calls.events"]


class Bench:
    """A topic's sorter with a registry in memory."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.registry = MemoryRegistry()
        self.codec = Codec(self.registry)
        self.sorter = Sorter(topic, self.codec)
        self.own_id = self.registry.id_of(topic.subject, schema_text(topic))

    def value(self, n: int, **fields: Any) -> bytes:
        return self.codec.encode(self.topic.name, record(self.topic, n, **fields))

    def written(self, schema: dict[str, Any], data: dict[str, Any]) -> bytes:
        """A value by a writer with a schema of its own."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), data)
        schema_id = self.registry.id_of(self.topic.subject, json.dumps(schema))
        return HEADER.pack(0, schema_id) + out.getvalue()

    def row(self, offset: int, value: bytes, call: str | None = None) -> Row:
        partition = partition_of(call or f"call-{offset % 37}", self.topic.partitions)
        return Row(partition if self.topic.call_keyed else 0, offset, 5, value)

    def sort(self, *rows: Row) -> Sorted:
        return self.sorter.sort(rows)


def good_of(done: Sorted) -> list[tuple[int, list[int]]]:
    return [(w.schema_id, sorted(row.offset for row in rows)) for w, rows in done.good]


def rows_read(done: Sorted) -> list[dict[str, Any]]:
    """What ClickHouse is sent, as an Avro reader reads it."""
    out: list[Any] = []
    for writer, rows in done.good:
        out += fastavro.reader(io.BytesIO(container(writer.header, rows)))
    return out


@pytest.mark.parametrize("topic", TOPICS_KEPT, ids=lambda t: t.name)
def test_all_good_records_are_spliced_as_they_are(topic: Topic) -> None:
    bench = Bench(topic)
    rows = [bench.row(n, bench.value(n)) for n in range(40)]
    done = bench.sort(*rows)
    assert not done.poison
    ((writer, found),) = done.good
    assert sorted(found, key=lambda r: r.offset) == rows
    assert writer.columns == (*(c.name for c in columns_of(topic)), PARTITION, OFFSET)


@pytest.mark.parametrize("topic", TOPICS_KEPT, ids=lambda t: t.name)
def test_poison_has_a_reason_and_touches_no_neighbour(topic: Topic) -> None:
    bench = Bench(topic)
    other = TOPICS["media.audio"]
    foreign = bench.registry.id_of(other.subject, schema_text(other))
    good = bench.value(1)
    poison = {
        0: b"",
        2: b"garbage",
        3: b"\x01" + good[1:],
        4: HEADER.pack(0, 4_000_000) + good[5:],
        5: HEADER.pack(0, foreign) + good[5:],
        6: good[:-1],
        7: good + b"\x00",
        8: bench.value(8, event_id="x" * 36),
        9: bench.value(9, occurred_at=-5),
    }
    rows = [bench.row(n, value) for n, value in poison.items()]
    rows += [bench.row(n, bench.value(n)) for n in (1, 10)]
    done = bench.sort(*rows)
    assert good_of(done) == [(bench.own_id, [1, 10])]
    reasons = {bad.row.offset: bad.reason for bad in done.poison}
    assert reasons.keys() == poison.keys()
    for offset, part in {
        0: "no value", 2: "first byte", 3: "first byte is 1", 4: "not in the registry",
        5: "MediaChunk", 6: "Avro", 7: "1 bytes after", 8: "event_id: not a UUID",
        9: "occurred_at",
    }.items():  # fmt: skip
        assert part in reasons[offset]


def test_a_call_on_a_wrong_partition_is_poison_except_the_barrier() -> None:
    bench = Bench(TOPICS["dialogue.directives"])
    right = partition_of("call-1", 8)
    wrong = (right + 1) % 8
    done = bench.sort(
        Row(right, 0, 0, bench.value(1, kind="say", call_id="call-1")),
        Row(wrong, 1, 0, bench.value(2, kind="say", call_id="call-1")),
        Row(wrong, 2, 0, bench.value(3, kind="say", call_id=None)),
        Row(wrong, 3, 0, bench.value(4, kind="takeover", call_id=None)),
    )
    assert good_of(done) == [(bench.own_id, [0, 3])]
    assert {bad.row.offset: bad.reason for bad in done.poison} == {
        1: f"call call-1 belongs to partition {right}, not {wrong}",
        2: "no call_id",
    }


def test_an_older_writer_without_a_field_fills_fewer_columns() -> None:
    bench = Bench(CALLS)
    older = record_schema(CALLS.model)
    older["fields"] = [f for f in older["fields"] if f["name"] not in ("digits", "tenant_id")]
    data = record(CALLS, 3)
    value = bench.written(older, {k: v for k, v in data.items() if k not in ("digits",)})
    done = bench.sort(bench.row(3, value), bench.row(4, bench.value(4)))
    assert not done.poison and len(done.good) == 2
    columns = next(w.columns for w, _ in done.good if w.schema_id != bench.own_id)
    assert "digits" not in columns and "tenant_id" not in columns and "kind" in columns


def test_a_newer_writer_with_a_field_more_is_spliced() -> None:
    bench = Bench(CALLS)
    newer = record_schema(CALLS.model)
    newer["fields"].insert(4, {"name": "novelty", "type": {"type": "array", "items": "double"}})
    value = bench.written(newer, record(CALLS, 3, novelty=[1.0, 2.0]))
    done = bench.sort(bench.row(3, value))
    ((writer, rows),) = done.good
    assert rows[0].value == value and "novelty" not in writer.columns


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"attempt": "int"}, {"attempt": 7}),
        ({"kind": {"type": "enum", "name": "K", "symbols": ["dialing"]}}, {"kind": "dialing"}),
        ({"more": {"type": "array", "items": "null"}}, {"more": [None, None]}),
    ],
)
def test_what_needs_schema_resolution_is_written_anew(
    change: dict[str, Any], fields: dict[str, Any]
) -> None:
    bench = Bench(CALLS)
    schema = record_schema(CALLS.model)
    schema["fields"] = [
        {"name": f["name"], "type": change.get(f["name"], f["type"])} for f in schema["fields"]
    ]
    schema["fields"] += [
        {"name": name, "type": kind}
        for name, kind in change.items()
        if name not in {f["name"] for f in schema["fields"]}
    ]
    value = bench.written(schema, record(CALLS, 3, **fields))
    row = bench.row(3, value)
    try:
        expected = bench.sorter.read(row)
    except Poison as why:  # fastavro cannot resolve it either: then it is poison, not a row
        assert [bad.reason for bad in bench.sort(row).poison] == [str(why)]
        return
    done = bench.sort(row, bench.row(4, bench.value(4)))
    assert good_of(done) == [(bench.own_id, [3, 4])]
    found = next(r for r in rows_read(done) if r["_offset"] == 3)
    assert found["kind"] == expected["kind"] and found["attempt"] == expected["attempt"]


def test_a_record_that_lacks_a_required_field_is_poison() -> None:
    bench = Bench(CALLS)
    schema = record_schema(CALLS.model)
    schema["fields"] = [f for f in schema["fields"] if f["name"] != "producer"]
    done = bench.sort(bench.row(3, bench.written(schema, record(CALLS, 3))))
    assert not done.good and "Avro" in done.poison[0].reason


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_end_in_one_place(values: list[bytes]) -> None:
    bench = Bench(TOPICS["asr.transcripts"])
    rows = [bench.row(n, value) for n, value in enumerate(values)]
    rows.append(bench.row(100, bench.value(100)))
    done = bench.sort(*rows)
    everywhere = [o for _, offsets in good_of(done) for o in offsets]
    everywhere += [bad.row.offset for bad in done.poison]
    assert sorted(everywhere) == [row.offset for row in rows]
    assert 100 in dict(good_of(done)).get(bench.own_id, [])
    assert all(bad.reason for bad in done.poison)


@pytest.mark.parametrize("kind", odd_schemas())
def test_k1_a_record_of_an_odd_schema_is_poison_and_its_neighbours_are_rows(kind: str) -> None:
    bench = Bench(TOPICS["dialogue.turns"])
    text, reason = odd_schemas()[kind]
    odd = HEADER.pack(0, bench.registry.id_of("odd", text)) + b"\x02a"
    call = record(bench.topic, 0)["call_id"]
    place = partition_of(call, 8)
    good = bench.value(0)
    rows = [Row(place, n, 0, value) for n, value in enumerate((good, odd, good))]
    for _ in range(2):
        done = bench.sorter.sort(rows)
        assert [row.offset for _, group in done.good for row in group] == [0, 2]
        assert [bad.row.offset for bad in done.poison] == [1]
        assert reason in done.poison[0].reason
