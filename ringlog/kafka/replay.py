"""Reads a topic from its first record on, even if the log no longer has the beginning.

What lies before the log's beginning comes from the raw table, the rest from the log; both as
records of the present schema, so a fold sees no difference.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.kafka.reader import check_call
from ringlog.settings import Settings
from schemas.avro_schema import record_schema
from schemas.catalogue import Topic
from schemas.wire import AvroRecord, Poison

_ROWS_AT_ONCE = 20_000


class TableAway(Exception):
    """ClickHouse did not answer; asking again may help."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One record, as the contract's Avro reader gives it. `archived`: from the table."""

    partition: int
    offset: int
    record: AvroRecord
    archived: bool


def replay(
    config: Settings,
    topic: Topic,
    ends: Mapping[int, int] | None = None,
    begins: Mapping[int, int] | None = None,
) -> Iterator[Replayed]:
    """All records of a topic, one partition after another, each in the order of offsets.

    `ends` names the partitions and the offsets before which to stop: without it all, to where the
    log ends now. `begins` are other offsets to begin with than 0. Poison is left out on both
    sides. Raises TableAway, KafkaException or RegistryError.
    """
    codec = codec_of(config)
    with closing(sync.consumer_of(config, "replay", **sync.TO_THE_END)) as consumer:
        places = [(topic.name, n) for n in sync.partitions_of(consumer, topic.name)]
        kept_from = {n: at for (_, n), at in sync.begins_of(consumer, places).items()}
        if ends is None:
            ends = {n: at for (_, n), at in sync.ends_of(consumer, places).items()}
        for number, end in ends.items():
            begin = (begins or {}).get(number, 0)
            if begin < (older := min(kept_from[number], end)):
                with closing(_Table(config, topic)) as table:
                    yield from table.between(number, begin, older)
            place = topic.name, number
            rest = {place: max(begin, kept_from[number])}
            for polled in sync.between(consumer, rest, {place: end}):
                for raw in polled[place]:
                    if raw.value is None and topic.compacted:
                        continue  # a tombstone
                    try:
                        record = codec.decode_record(topic.name, raw.value)
                        check_call(topic, record["kind"], record["call_id"], number)
                    except Poison:
                        continue
                    yield Replayed(number, raw.offset, record, archived=False)


class _Table:
    """A topic's raw table, read as records."""

    def __init__(self, config: Settings, topic: Topic) -> None:
        self._topic = topic
        fields = record_schema(topic.model)["fields"]
        self._readers = [(f["name"], reader(f["type"])) for f in fields]
        self._columns = ", ".join(_selected(f["type"], f"`{f['name']}`") for f in fields)
        host, port = config.clickhouse_native
        self._client = Client(
            host, port, config.clickhouse_database, config.clickhouse_user,
            config.clickhouse_password.get_secret_value(), client_name="replay",
            settings={"strings_as_bytes": True},
        )  # fmt: skip

    def close(self) -> None:
        """Disconnects."""
        self._client.disconnect()

    def between(self, partition: int, begin: int, end: int) -> Iterator[Replayed]:
        """Records of a stretch of a partition; raises TableAway."""
        at = begin
        while at < end:
            rows = self._rows(
                f"SELECT _offset, {self._columns} FROM {self._topic.table} FINAL "
                f"WHERE _partition = {partition} AND _offset >= {at} AND _offset < {end} "
                f"ORDER BY _offset LIMIT {_ROWS_AT_ONCE}"
            )
            for offset, *values in rows:
                pairs = zip(self._readers, values, strict=True)
                record = {name: read(value) for (name, read), value in pairs}
                yield Replayed(partition, int(offset), record, archived=True)
            if len(rows) < _ROWS_AT_ONCE:
                return
            at = int(rows[-1][0]) + 1

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            rows: Any = self._client.execute(sql)
        except (DriverError, OSError, EOFError) as error:
            self._client.disconnect()
            raise TableAway(f"ClickHouse: {str(error).strip()[:300]}") from None
        return rows if isinstance(rows, list) else []


def reader(schema: Any) -> Callable[[Any], Any]:
    """How a column's value becomes a field's again: the inverse of what the sink chose for it."""
    if isinstance(schema, list):
        inner = reader(schema[1])
        return lambda value: None if value is None else inner(value)
    if schema == "string":
        return _text
    if not isinstance(schema, dict):
        return {"boolean": bool, "bytes": bytes}.get(schema, _same)
    kind, logical = schema["type"], schema.get("logicalType")
    if logical == "uuid":
        return str
    if kind == "array":
        item = reader(schema["items"])
        return lambda value: [item(x) for x in value]
    if kind == "map":
        each = reader(schema["values"])
        return lambda value: {_text(k): each(v) for k, v in value.items()}
    if kind == "record":
        parts = [(f["name"], reader(f["type"])) for f in schema["fields"]]
        return lambda value: {n: read(v) for (n, read), v in zip(parts, value, strict=True)}
    return reader(kind)


def _selected(schema: Any, column: str) -> str:
    """A column as SQL: times as the numbers that they are, since Python's end before ours do."""
    inner = schema[1] if isinstance(schema, list) else schema
    if isinstance(inner, dict) and inner.get("logicalType") == "timestamp-millis":
        return f"toUnixTimestamp64Milli({column})"
    return column


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _same(value: Any) -> Any:
    return value
