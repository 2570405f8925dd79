"""Sorts records into those spliced unchanged, those encoded again, and poison.

A record is poison if every reader of its topic refuses it or it does not fit the columns; its bytes
go to `dead_letters` with the reason. Everything else gets a row.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ringlog.kafka.reader import check_call
from schemas.avro_schema import NAMESPACE, record_schema
from schemas.catalogue import MAX_RECORD_BYTES, Topic
from schemas.partition import partition_of
from schemas.wire import HEADER, MAGIC, Codec, Poison, TooLarge
from schemas.writer_schema import WriterSchema
from streams.history.avro_check import MAX_MILLIS, Checker, Unsupported
from streams.history.columns import OFFSET, PARTITION
from streams.history.container import Header, Row

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CHECK_BYTES = 4 << 20
"""Bytes checked at once; this takes about ten times as much memory."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One writer's schema whose bodies ClickHouse reads as every Avro reader does.

    `columns` are the columns that its records fill.
    """

    schema_id: int
    header: Header
    columns: tuple[str, ...]
    checker: Checker


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that cannot become a row, and why."""

    row: Row
    reason: str


@dataclass(frozen=True, slots=True)
class Sorted:
    """Rows by the schema under which they are spliced, and poison."""

    good: list[tuple[Writer, list[Row]]]
    poison: list[Bad]


class Sorter:
    """Sorts the records of one topic. Every method may raise RegistryError: ask again later."""

    def __init__(self, topic: Topic, codec: Codec) -> None:
        self.topic = topic
        self._codec = codec
        self._writers: dict[bytes, Writer | None] = {}
        self._partitions: dict[bytes, int] = {}
        fields = record_schema(topic.model)["fields"]
        logical = {f["name"]: _logical(f["type"]) for f in fields}
        self._times = [name for name, kind in logical.items() if kind == "timestamp-millis"]
        self._uuids = [name for name, kind in logical.items() if kind == "uuid"]
        self._fields = {f["name"]: _shape(f["type"]) for f in fields}
        self._optional = {f["name"] for f in fields if "default" in f}

    def sort(self, rows: Sequence[Row]) -> Sorted:
        """Every row in exactly one place; the same rows are always sorted the same way."""
        by_head: dict[bytes, list[Row]] = {}
        for row in rows:
            by_head.setdefault(row.value[: HEADER.size], []).append(row)
        good: dict[int, tuple[Writer, list[Row]]] = {}
        alone: list[Row] = []
        for head, group in by_head.items():
            writer = self._writer(head)
            if writer is None:
                alone += group
                continue
            fine = self._fine(writer, group)
            alone += [row for row, ok in zip(group, fine, strict=True) if not ok]
            _add(good, writer, [row for row, ok in zip(group, fine, strict=True) if ok])
        poison: list[Bad] = []
        for row in alone:
            try:
                value = self._anew(self.read(row))
            except Poison as why:
                poison.append(Bad(row, str(why)))
                continue
            _add(good, self._own(value[: HEADER.size]), [row._replace(value=value)])
        for _, group in good.values():
            group.sort(key=_place)
        return Sorted(list(good.values()), sorted(poison, key=lambda bad: _place(bad.row)))

    def read(self, row: Row) -> dict[str, Any]:
        """The record as in its row; raises Poison with the reason if it has none."""
        record = self._codec.decode_record(self.topic.name, row.value or None)
        for name in self._uuids:
            if record[name] is not None and not _UUID.fullmatch(record[name]):
                raise Poison(f"field {name}: not a UUID")
        for name in self._times:
            if record[name] is not None and not 0 <= record[name] < MAX_MILLIS:
                raise Poison(f"field {name}: not a time before the year 10000")
        check_call(self.topic, record["kind"], record["call_id"], row.partition)
        return record

    def _fine(self, writer: Writer, rows: Sequence[Row]) -> list[bool]:
        """Which rows can be spliced as they are."""
        fine: list[bool] = []
        for some in _slices(rows):
            checked = writer.checker.check([row.value for row in some])
            ok: list[bool] = checked.ok.tolist()
            if self.topic.call_keyed:
                for n, (row, call) in enumerate(zip(some, checked.spans(), strict=True)):
                    ok[n] = ok[n] and self._partition(call) == row.partition
            fine += ok
        for n, row in enumerate(rows):
            if len(row.value) > MAX_RECORD_BYTES:
                fine[n] = False
        return fine

    def _partition(self, call: bytes) -> int:
        found = self._partitions.get(call)
        if found is None:
            if not call:
                return -1
            if len(self._partitions) > 100_000:
                self._partitions.clear()
            try:
                found = partition_of(call.decode(), self.topic.partitions)
            except UnicodeDecodeError:
                return -1
            self._partitions[call] = found
        return found

    def _anew(self, record: dict[str, Any]) -> bytes:
        try:
            return self._codec.encode(self.topic.name, record)
        except (ValueError, TypeError, OverflowError, TooLarge) as error:
            raise Poison(f"does not fit the columns: {error}"[:500]) from None

    def _own(self, head: bytes) -> Writer:
        writer = self._writer(head)
        assert writer is not None, "the contract's own schema is always spliced"
        return writer

    def _writer(self, head: bytes) -> Writer | None:
        """The writer whose records may be spliced; None means check each record."""
        if head in self._writers:
            return self._writers[head]
        if len(head) < HEADER.size or head[0] != MAGIC:
            return None
        schema_id = HEADER.unpack(head)[1]
        try:
            writer = self._codec.writer_schema(schema_id)
        except Poison:
            return None  # as `read` will say
        found = self._make(schema_id, writer)
        self._writers[head] = found
        return found

    def _make(self, schema_id: int, writer: WriterSchema) -> Writer | None:
        schema, model = writer.text, self.topic.model.__name__
        if writer.name not in (model, f"{NAMESPACE}.{model}"):
            return None
        shapes = {f["name"]: _shape(f["type"]) for f in schema["fields"]}
        known = {name: shape for name, shape in shapes.items() if name in self._fields}
        if any(self._fields[name] != shape for name, shape in known.items()):
            return None  # a promotion: left to Avro's own schema resolution
        if not self._fields.keys() <= known.keys() | self._optional:
            return None
        if PARTITION in shapes or OFFSET in shapes:
            return None
        try:
            checker = Checker(schema, "call_id" if self.topic.call_keyed else None)
        except Unsupported:
            return None
        return Writer(schema_id, Header(schema), (*known, PARTITION, OFFSET), checker)


def _add(good: dict[int, tuple[Writer, list[Row]]], writer: Writer, rows: list[Row]) -> None:
    if rows:
        good.setdefault(writer.schema_id, (writer, []))[1].extend(rows)


def _slices(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in order, `_CHECK_BYTES` of them at a time."""
    begin = size = 0
    for n, row in enumerate(rows):
        size += len(row.value)
        if size >= _CHECK_BYTES:
            yield rows[begin : n + 1]
            begin, size = n + 1, 0
    if begin < len(rows):
        yield rows[begin:]


def _place(row: Row) -> tuple[int, int]:
    return row.partition, row.offset


def _logical(schema: Any) -> str | None:
    if isinstance(schema, list):
        return next((found for s in schema if (found := _logical(s))), None)
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _shape(schema: Any) -> Any:
    """A schema without the parts that do not affect how its bytes are read into a column."""
    if isinstance(schema, list):
        return [_shape(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] == "record":
        return {"record": [(f["name"], _shape(f["type"])) for f in schema["fields"]]}
    kept = {k: schema[k] for k in ("type", "logicalType") if k in schema}
    kept |= {k: _shape(schema[k]) for k in ("items", "values") if k in schema}
    return kept if len(kept) > 1 else _shape(schema["type"])
