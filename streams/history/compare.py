"""Compares the log with the raw tables: every field of every record.

Each row is written as one canonical text, here from the record and in ClickHouse from the columns;
per partition the count and the XOR of the texts' MD5 must agree.
"""

import hashlib
import operator
import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import RawRecord
from ringlog.settings import Settings
from schemas.avro_schema import record_schema, strip_logical
from schemas.catalogue import Topic
from schemas.wire import Poison
from streams.history.clickhouse import ClickHouse
from streams.history.columns import OFFSET, PARTITION, TOPICS_KEPT
from streams.history.container import Row
from streams.history.sorting import Sorter

_NULL = "-"
_NAMED = 5  # offsets that a difference names


@dataclass(frozen=True, slots=True)
class Difference:
    """A partition in which log and table are not the same. `text` says how."""

    topic: str
    partition: int
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`rows` were compared and `poison` records have no row; good when nothing differs."""

    rows: int
    poison: int
    differences: tuple[Difference, ...]


def compare(config: Settings, topics: Iterable[Topic] = TOPICS_KEPT) -> Comparison:
    """Reads the whole log up to its present ends and asks the tables for the same offsets.

    Rows of records that retention or compaction has removed are left alone. Raises Away,
    InsertRefused, KafkaException or RegistryError.
    """
    clickhouse = ClickHouse(config, timeout_s=600)
    rows = poison = 0
    differences: list[Difference] = []
    for topic in topics:
        for part in _log_parts(config, topic):
            rows += len(part.digests)
            poison += part.poison
            if (text := _difference(clickhouse, topic, part)) is not None:
                differences.append(Difference(topic.name, part.partition, text))
    return Comparison(rows, poison, tuple(differences))


@dataclass(slots=True)
class _Part:
    """One partition as the log has it: a digest by offset."""

    partition: int
    begin: int
    end: int
    digests: dict[int, int]
    poison: int = 0


def _log_parts(config: Settings, topic: Topic) -> list[_Part]:
    """All partitions of a topic, each up to its present end."""
    codec = codec_of(config)
    sorter = Sorter(topic, codec)
    text = text_of(topic)
    with closing(sync.consumer_of(config, "history-compare", **sync.TO_THE_END)) as consumer:
        places = [(topic.name, n) for n in sync.partitions_of(consumer, topic.name)]
        ends = sync.ends_of(consumer, places)
        begins = sync.begins_of(consumer, places)
        parts = {place: _Part(place[1], begins[place], ends[place], {}) for place in places}
        for polled in sync.between(consumer, begins, ends):
            for place, records in polled.items():
                for record in records:
                    _take(parts[place], sorter, topic, text, record)
        return list(parts.values())


def _take(
    part: _Part, sorter: Sorter, topic: Topic, text: Callable[[Row, Any], str], record: RawRecord
) -> None:
    if record.value is None and topic.compacted:
        return
    row = Row(record.partition, record.offset, record.timestamp_ms, record.value or b"")
    try:
        part.digests[row.offset] = _digest(text(row, sorter.read(row)))
    except Poison:
        part.poison += 1


def _difference(clickhouse: ClickHouse, topic: Topic, part: _Part) -> str | None:
    digest = f"reinterpretAsUInt64(substring(MD5({sql_text(topic)}), 1, 8))"
    where = (
        f"FROM {topic.table} FINAL WHERE {PARTITION} = {part.partition} "
        f"AND {OFFSET} >= {part.begin} AND {OFFSET} < {part.end}"
    )
    here = part.digests
    if not topic.compacted:
        ((count, xor),) = clickhouse.query(f"SELECT count(), groupBitXor({digest}) {where}")
        if (int(count), int(xor)) == (len(here), reduce(operator.xor, here.values(), 0)):
            return None
    there = {int(o): int(d) for o, d in clickhouse.query(f"SELECT {OFFSET}, {digest} {where}")}
    found = {
        "missing in the table": here.keys() - there.keys(),
        "different": {o for o in here.keys() & there.keys() if here[o] != there[o]},
    }
    if not topic.compacted:  # the table keeps what compaction has removed from the log since
        found["not on the log"] = there.keys() - here.keys()
    return (
        "; ".join(
            f"{what}: {len(offsets)} ({', '.join(map(str, sorted(offsets)[:_NAMED]))})"
            for what, offsets in found.items()
            if offsets
        )
        or None
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "little")


def text_of(topic: Topic) -> Callable[[Row, dict[str, Any]], str]:
    """How a record of the topic is written as text."""
    fields = strip_logical(record_schema(topic.model))["fields"]

    def write(row: Row, record: dict[str, Any]) -> str:
        values = (_text(f["type"], record[f["name"]], f["name"]) for f in fields)
        return "|".join((str(row.partition), str(row.offset), *values))

    return write


def _text(schema: Any, value: Any, name: str = "") -> str:
    if isinstance(schema, list):
        return _NULL if value is None else _text(schema[1], value, name)
    if isinstance(schema, dict):
        if schema["type"] == "array":
            return "[" + " ".join(_text(schema["items"], v) for v in value) + "]"
        if schema["type"] == "map":
            pairs = (f"{_text('string', k)}:{_text(schema['values'], v)}" for k, v in value.items())
            return "[" + " ".join(pairs) + "]"
        return "(" + ",".join(_text(f["type"], value[f["name"]]) for f in schema["fields"]) + ")"
    if name == "event_id":
        return str(value).lower()
    if schema == "string":
        return value.encode().hex().upper()  # type: ignore[no-any-return] # a str of the record
    if schema == "bytes":
        return value.hex().upper()  # type: ignore[no-any-return] # bytes of the record
    if schema == "double":
        return str(struct.unpack("<Q", struct.pack("<d", value))[0])
    return str(int(value))


def sql_text(topic: Topic) -> str:
    """The same text as SQL over the columns of the topic's table."""
    fields = record_schema(topic.model)["fields"]
    parts = [f"toString({PARTITION})", f"toString({OFFSET})"]
    parts += [_sql(f["type"], f"`{f['name']}`") for f in fields]
    return "concat(" + ", '|', ".join(parts) + ")"


def _sql(schema: Any, column: str) -> str:
    if isinstance(schema, list):
        return f"ifNull({_sql(schema[1], column)}, '{_NULL}')"
    if isinstance(schema, dict):
        kind = schema["type"]
        if schema.get("logicalType") == "timestamp-millis":
            return f"toString(toUnixTimestamp64Milli({column}))"
        if schema.get("logicalType") == "uuid":
            return f"toString({column})"
        if kind == "array":
            return _sql_list(_sql(schema["items"], "x"), "x", column)
        if kind == "map":
            pair = f"concat({_sql('string', 'k')}, ':', {_sql(schema['values'], 'v')})"
            return _sql_list(pair, "k, v", f"mapKeys({column}), mapValues({column})")
        inner = ", ',', ".join(
            _sql(f["type"], f"tupleElement({column}, '{f['name']}')") for f in schema["fields"]
        )
        return f"concat('(', {inner}, ')')"
    if schema in ("string", "bytes"):
        return f"hex({column})"
    if schema == "double":
        return f"toString(reinterpretAsUInt64({column}))"
    if schema == "boolean":
        return f"toString(toUInt8({column}))"
    return f"toString({column})"


def _sql_list(item: str, names: str, columns: str) -> str:
    return f"concat('[', arrayStringConcat(arrayMap(({names}) -> {item}, {columns}), ' '), ']')"
