"""Confluent's wire format: byte 0, 4-byte schema id (big-endian), Avro body; keys are UTF-8 text.

Poison (bytes that are no valid event of their topic) raises `Poison` with the reason; the caller
sends it to `dead_letters` and goes on.
"""

import io
import json
import struct
from typing import Any, Protocol

import fastavro
from pydantic import ValidationError

from schemas.avro_schema import NAMESPACE, record_schema, strip_logical
from schemas.catalogue import Topic, topic
from schemas.envelope import Event

MAGIC = 0
HEADER = struct.Struct(">bI")
MAX_RECORD_BYTES = 1_048_576
"""Longest record that is looked into; Kafka's own default limit for a message."""

Record = dict[str, Any]


class Poison(Exception):
    """A record that cannot be read. The text is the reason, fit for `dead_letters`."""


class SchemaSource(Protocol):
    """Where schema ids come from: a registry client, or one in memory for tests."""

    def id_of(self, subject: str, schema: str) -> int:
        """Id under which the subject knows the schema; raises RegistryError."""
        ...

    def schema_of(self, schema_id: int) -> str:
        """Schema text of an id; raises KeyError when there is none, RegistryError when asked in
        vain."""
        ...


class Codec:
    """Encodes and decodes events of all topics; schemas are looked up once and kept."""

    def __init__(self, source: SchemaSource) -> None:
        self._source = source
        self._writers: dict[str, tuple[bytes, Any]] = {}
        self._readers: dict[int, tuple[str, Any]] = {}
        self._targets: dict[str, Any] = {}

    def warm(self, *topics: str) -> None:
        """Looks up the ids of the topics' current schemas; raises RegistryError.

        Records of these schemas are read and written without the registry from then on.
        """
        for name in topics:
            self._writer(name)

    def must_ask(self, value: bytes | None) -> bool:
        """Whether reading a record takes a question to the registry: its schema was never met."""
        if value is None or not HEADER.size <= len(value) <= MAX_RECORD_BYTES:
            return False
        magic, schema_id = HEADER.unpack_from(value)
        return magic == MAGIC and schema_id not in self._readers

    def encode(self, topic_name: str, event: Event | Record) -> bytes:
        """The record value of an event; raises ValueError when the event is of another topic."""
        header, schema = self._writer(topic_name)
        if isinstance(event, Event):
            if type(event) is not topic(topic_name).model:
                raise ValueError(f"{type(event).__name__} is no event of {topic_name}")
            event = event.model_dump()
        out = io.BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, schema, event)
        return out.getvalue()

    def decode_record(self, topic_name: str, value: bytes | None) -> Record:
        """The event as a plain dict, unvalidated beyond its Avro types; raises Poison."""
        if value is None:
            raise Poison("no value")
        if len(value) > MAX_RECORD_BYTES:
            raise Poison(f"longer than {MAX_RECORD_BYTES} bytes")
        if len(value) < HEADER.size:
            raise Poison(f"shorter than the {HEADER.size}-byte header")
        magic, schema_id = HEADER.unpack_from(value)
        if magic != MAGIC:
            raise Poison(f"first byte is {magic & 0xFF}, not {MAGIC}")
        name, writer = self._reader(schema_id)
        model = topic(topic_name).model
        if name not in (model.__name__, f"{NAMESPACE}.{model.__name__}"):
            raise Poison(f"schema {schema_id} is of {name}, not of {topic_name}")
        body = io.BytesIO(value)
        body.seek(HEADER.size)
        try:
            record = fastavro.schemaless_reader(body, writer, self._target(topic_name))
        except Exception as error:  # fastavro raises whatever the bytes provoke
            raise Poison(f"Avro: {type(error).__name__}: {error}"[:500]) from None
        if body.tell() != len(value):
            raise Poison(f"{len(value) - body.tell()} bytes after the record")
        if not isinstance(record, dict):
            raise Poison("not a record")
        return record

    def decode(self, topic_name: str, value: bytes | None) -> Event:
        """The validated event; raises Poison."""
        return self.validated(topic_name, self.decode_record(topic_name, value))

    def validated(self, topic_name: str, record: Record) -> Event:
        """The event of a record as `decode_record` gave it; raises Poison."""
        try:
            return topic(topic_name).model.model_validate(record)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(p) for p in first["loc"])
            raise Poison(f"field {where}: {first['msg']}"[:500]) from None

    def _writer(self, topic_name: str) -> tuple[bytes, Any]:
        found = self._writers.get(topic_name)
        if found is None:
            t = topic(topic_name)
            schema_id = self._source.id_of(t.subject, schema_text(t))
            target = self._target(topic_name)
            found = HEADER.pack(MAGIC, schema_id), target
            self._writers[topic_name] = found
            self._readers.setdefault(schema_id, (t.model.__name__, target))
        return found

    def _target(self, topic_name: str) -> Any:
        found = self._targets.get(topic_name)
        if found is None:
            found = _parse(record_schema(topic(topic_name).model))
            self._targets[topic_name] = found
        return found

    def _reader(self, schema_id: int) -> tuple[str, Any]:
        found = self._readers.get(schema_id)
        if found is None:
            try:
                schema = json.loads(self._source.schema_of(schema_id))
            except KeyError:
                raise Poison(f"schema id {schema_id} is not in the registry") from None
            if not isinstance(schema, dict) or schema.get("type") != "record":
                raise Poison(f"schema {schema_id} is not a record")
            found = str(schema.get("name", "")), _parse(schema)
            self._readers[schema_id] = found
        return found


def schema_text(t: Topic) -> str:
    """A topic's value schema as canonical JSON text."""
    return json.dumps(record_schema(t.model), ensure_ascii=False, separators=(",", ":"))


def _parse(schema: Any) -> Any:
    # Every codec parses for itself: fastavro's named-type cache would mix up schema versions.
    return fastavro.parse_schema(strip_logical(schema), named_schemas={}, _force=True)
