"""Bytes to records: a fast decoder, and what every reader of a topic refuses."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, get_args, get_origin

import fastavro
from confluent_kafka import Consumer

from ringlog.kafka import sync
from ringlog.kafka.sync import Place
from ringlog.settings import Settings
from schemas.avro_schema import NAMESPACE, record_schema
from schemas.catalogue import MAX_RECORD_BYTES, TOPICS
from schemas.partition import partition_of
from schemas.wire import HEADER, Codec, Poison, SchemaSource
from streams.history.avro_check import MAX_MILLIS

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_AT_ONCE: Final = 10_000
_HEADS: Final = 4_096
_TOGETHER: Final = 200_000
"""Records whose ids are held in memory at a time, where no topic alone has more."""


class NotAnEvent(Exception):
    """An Avro record of the topic that is not a valid event: it has a row, and every reader refuses
    it."""

    def __init__(self, reason: str, event: dict[str, Any]) -> None:
        super().__init__(reason)
        self.event = event


class LogDecoder:
    """Decodes into plain dicts. Records of the current schema take a faster path than
    `Codec.decode_record`, with the same result."""

    def __init__(self, source: SchemaSource) -> None:
        self._codec = Codec(source)
        self._current: dict[bytes, tuple[str, Any] | None] = {}
        self._rules = {name: _Rules(name) for name in TOPICS}

    def decode(self, topic: str, partition: int, value: bytes | None) -> dict[str, Any]:
        """The record; raises Poison where it can have no row, NotAnEvent where it has one and is no
        event, RegistryError when the registry does not answer."""
        event = self._fast(topic, value) if value is not None else None
        if event is None:
            event = self._codec.decode_record(topic, value)
        self._rules[topic].check(partition, event)
        return event

    def _fast(self, topic: str, value: bytes) -> dict[str, Any] | None:
        """The record, or None if the slow path must decide."""
        head = value[: HEADER.size]
        try:
            known = self._current[head]
        except KeyError:
            known = self._schema_of(head)
            if len(self._current) < _HEADS:  # bounded; the codec remembers enough of a flood
                self._current[head] = known
        if known is None or known[0] != topic or len(value) > MAX_RECORD_BYTES:
            return None
        body = io.BytesIO(value)
        body.seek(HEADER.size)
        try:
            record = fastavro.schemaless_reader(body, known[1], None)
        except Exception:  # fastavro raises whatever the bytes provoke
            return None
        return record if body.tell() == len(value) and isinstance(record, dict) else None

    def _schema_of(self, head: bytes) -> tuple[str, Any] | None:
        """The topic whose current schema has this header, and the schema as fastavro wants it."""
        if len(head) < HEADER.size or head[0] != 0:
            return None
        try:
            writer = self._codec.writer_schema(HEADER.unpack(head)[1])
        except Poison:
            return None
        # A record's name tells its topic: one schema each.
        name = next((t for t, rules in self._rules.items() if rules.names(writer.text)), None)
        if name is None or writer.text != record_schema(TOPICS[name].model):
            return None
        return name, writer.parsed


class _Rules:
    """What readers of a topic require of a record beyond its Avro types."""

    def __init__(self, name: str) -> None:
        topic = TOPICS[name]
        record = topic.model.__name__
        self._record_names = (record, f"{NAMESPACE}.{record}")
        fields = record_schema(topic.model)["fields"]
        logical = {f["name"]: _logical(f["type"]) for f in fields}
        self._uuids = [name for name, kind in logical.items() if kind == "uuid"]
        self._times = [name for name, kind in logical.items() if kind == "timestamp-millis"]
        self._partitions = topic.partitions if topic.call_keyed else 0
        self._words = [
            (name, frozenset(words))
            for name, info in topic.model.model_fields.items()
            if (words := _words(info.annotation))
        ]

    def names(self, schema: Any) -> bool:
        """Whether a schema is of this topic's record, in whatever version."""
        return isinstance(schema, dict) and schema.get("name") in self._record_names

    def check(self, partition: int, event: dict[str, Any]) -> None:
        """Raises Poison or NotAnEvent."""
        for name in self._uuids:
            if event[name] is not None and not _UUID(event[name]):
                raise Poison(f"field {name}: not a UUID")
        for name in self._times:
            at = event[name]
            if at is not None and not 0 <= at < MAX_MILLIS:
                raise Poison(f"field {name}: not a time before the year 10000")
        if self._partitions and event["kind"] != "takeover":
            call_id = event["call_id"]
            if not call_id:
                raise Poison("no call_id")
            right = partition_of(call_id, self._partitions)
            if right != partition:
                raise Poison(f"call {call_id} belongs to partition {right}, not {partition}")
        for name, words in self._words:
            if event[name] not in words:
                raise NotAnEvent(f"field {name}: not one of its allowed values", event)


def _words(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal, None among them where it may be absent; () for other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    parts = get_args(annotation)
    literals = [part for part in parts if get_origin(part) is Literal]
    if literals and all(part in literals or part is type(None) for part in parts):
        return (*(word for part in literals for word in get_args(part)), None)
    return ()


def _logical(schema: Any) -> str | None:
    if isinstance(schema, list):
        return next((found for part in schema if (found := _logical(part))), None)
    return schema.get("logicalType") if isinstance(schema, dict) else None


_OPTIONS: Final[Mapping[str, Any]] = {**sync.TO_THE_END, "fetch.wait.max.ms": 20}


def consumer_of(config: Settings) -> Consumer:
    """A consumer for `raw_records`."""
    return sync.consumer_of(config, "ringlog-verify", None, **_OPTIONS)


def together(topics: Iterable[str], sizes: Mapping[str, int]) -> list[list[str]]:
    """Topics in groups that are read at once: many small ones, or a large one alone."""
    groups: list[list[str]] = []
    held = _TOGETHER
    for topic in topics:
        held += sizes[topic]
        if held > _TOGETHER:
            groups.append([])
            held = sizes[topic]
        groups[-1].append(topic)
    return groups


def raw_records(
    consumer: Consumer, begins: Mapping[Place, int], ends: Mapping[Place, int], topics: list[str]
) -> Iterator[list[sync.RawRecord]]:
    """Batches of one partition's records up to the ends, in order.

    Raises KafkaException.
    """
    places = [place for place, end in ends.items() if place[0] in topics and begins[place] < end]
    if not places:
        return
    from_to = ({p: begins[p] for p in places}, {p: ends[p] for p in places})
    for polled in sync.between(consumer, *from_to, _AT_ONCE):
        yield from polled.values()
