"""Confluent's wire format: byte 0, 4-byte schema id (big-endian), Avro body; keys are UTF-8 text.

Poison (bytes that are no valid event of their topic) raises `Poison` with the reason; the caller
sends it to `dead_letters` and goes on.
"""

import io
import json
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import fastavro
from pydantic import ValidationError

from schemas.avro_schema import NAMESPACE, record_schema
from schemas.catalogue import MAX_RECORD_BYTES, Topic, topic
from schemas.envelope import Event
from schemas.writer_schema import Unusable, WriterSchema, writer_schema

MAGIC = 0
HEADER = struct.Struct(">bI")
MAX_SCHEMA_ID = 2**31 - 1
"""Registries number schemas from 1, with a signed 32-bit integer."""

_LENGTH_OF_ID = 36 * 2
"""Avro writes a length as a zigzag varint: twice the number, in one byte up to 63."""

_KIND_AT = HEADER.size + 1 + 36
"""Where the length of an event's kind lies."""

_MORE_OR_NEGATIVE = 0x81
"""Bits of a varint's byte: another byte follows; the number is negative."""

ABSENT_FOR_S = 1.0
"""How long a missing id counts as missing: a schema may get it later, but not one that already has
records."""

MAX_REFUSED = 4_096
"""Unusable schema ids whose reason is kept."""

AvroRecord = dict[str, Any]
"""An event as Avro gives it: plain values by field name."""


class Poison(Exception):
    """A record that cannot be read. The text is the reason, fit for `dead_letters`."""


class TooLarge(Exception):
    """An event whose record would be longer than any reader takes; the text names the topic."""


class SchemaSource(Protocol):
    """Where schema ids come from: a registry client, or one in memory for tests."""

    def id_of(self, subject: str, schema: str) -> int:
        """Id under which the subject knows the schema; raises RegistryError."""
        ...

    def schema_of(self, schema_id: int) -> str:
        """Schema text of an id; raises KeyError when there is none, Unusable when it is no Avro
        schema, RegistryError when the registry does not answer."""
        ...


class _Refused(NamedTuple):
    """Why no record can be read with a schema id, and until when that is believed."""

    why: str
    until_s: float


class Codec:
    """Encodes and decodes events of all topics; schemas are looked up once and kept.

    `waiting_for` says why a record waits for the registry; the waiting caller sets it, health
    reports it.
    """

    def __init__(self, source: SchemaSource, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting_for = ""
        self._source = source
        self._clock = clock
        self._own: dict[str, tuple[bytes, Any]] = {}
        self._writers: dict[int, WriterSchema] = {}
        self._refused: dict[int, _Refused] = {}
        self._targets: dict[str, Any] = {}

    def warm(self, *topics: str) -> None:
        """Looks up the ids of the topics' current schemas; raises RegistryError.

        Records of these schemas are read and written without the registry from then on.
        """
        for name in topics:
            self._own_schema(name)

    def must_ask(self, value: bytes | None) -> bool:
        """Whether reading a record needs the registry, because its schema is new to us."""
        if value is None or not HEADER.size <= len(value) <= MAX_RECORD_BYTES:
            return False
        magic, schema_id = HEADER.unpack_from(value)
        if magic != MAGIC or schema_id in self._writers:
            return False
        return self._why_refused(schema_id) is None

    def encode(self, topic_name: str, event: Event | AvroRecord) -> bytes:
        """The record value of an event; raises ValueError when the event is of another topic, and
        TooLarge."""
        header, schema = self._own_schema(topic_name)
        if isinstance(event, Event):
            if type(event) is not topic(topic_name).model:
                raise ValueError(f"{type(event).__name__} is no event of {topic_name}")
            event = event.model_dump()
        out = io.BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, schema, event)
        if out.tell() > MAX_RECORD_BYTES:
            raise TooLarge(
                f"{topic_name}: a record of {out.tell()} bytes is longer than {MAX_RECORD_BYTES}"
            )
        return out.getvalue()

    def kind_of(self, topic_name: str, value: bytes | None) -> str | None:
        """The kind of a record that has the topic's current schema, without decoding it; None where
        only decoding tells. Every event begins with its id, of 36 characters, and its kind."""
        own = self._own.get(topic_name)
        if own is None or value is None or not value.startswith(own[0]):
            return None
        if len(value) <= _KIND_AT or value[HEADER.size] != _LENGTH_OF_ID:
            return None
        length = value[_KIND_AT]
        if length & _MORE_OR_NEGATIVE:
            return None
        begin = _KIND_AT + 1
        return value[begin : begin + length // 2].decode("utf-8", "replace")

    def decode_record(self, topic_name: str, value: bytes | None) -> AvroRecord:
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
        writer = self.writer_schema(schema_id)
        model = topic(topic_name).model
        if writer.name not in (model.__name__, f"{NAMESPACE}.{model.__name__}"):
            raise Poison(f"schema {schema_id} is of {writer.name[:200]}, not of {topic_name}")
        body = io.BytesIO(value)
        body.seek(HEADER.size)
        try:
            record = fastavro.schemaless_reader(body, writer.parsed, self._target(topic_name))
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

    def validated(self, topic_name: str, record: AvroRecord) -> Event:
        """The event of a record as `decode_record` gave it; raises Poison."""
        try:
            return topic(topic_name).model.model_validate(record)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(p) for p in first["loc"])
            raise Poison(f"field {where}: {first['msg']}"[:500]) from None

    def writer_schema(self, schema_id: int) -> WriterSchema:
        """The schema of an id; raises Poison where no record can be read with it, RegistryError
        when the registry does not answer."""
        found = self._writers.get(schema_id)
        if found is not None:
            return found
        why = self._why_refused(schema_id)
        if why is None:
            until_s = float("inf")
            try:
                found = writer_schema(self._source.schema_of(schema_id))
            except KeyError:
                why = f"schema id {schema_id} is not in the registry"
                until_s = self._clock() + ABSENT_FOR_S
            except Unusable as error:
                why = f"schema {schema_id} {error}"
            else:
                self._writers[schema_id] = found
                return found
            self._refused.pop(schema_id, None)
            if len(self._refused) >= MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[schema_id] = _Refused(why, until_s)
        raise Poison(why)

    def _why_refused(self, schema_id: int) -> str | None:
        if not 0 < schema_id <= MAX_SCHEMA_ID:
            return f"schema id {schema_id} is none that a registry gives"
        refused = self._refused.get(schema_id)
        return refused.why if refused is not None and self._clock() < refused.until_s else None

    def _own_schema(self, topic_name: str) -> tuple[bytes, Any]:
        found = self._own.get(topic_name)
        if found is None:
            t = topic(topic_name)
            text = schema_text(t)
            schema_id = self._source.id_of(t.subject, text)
            found = HEADER.pack(MAGIC, schema_id), self._target(topic_name)
            self._own[topic_name] = found
            self._writers.setdefault(schema_id, writer_schema(text))
        return found

    def _target(self, topic_name: str) -> Any:
        found = self._targets.get(topic_name)
        if found is None:
            found = writer_schema(schema_text(topic(topic_name))).parsed
            self._targets[topic_name] = found
        return found


def schema_text(t: Topic) -> str:
    """A topic's value schema as canonical JSON text."""
    return json.dumps(record_schema(t.model), ensure_ascii=False, separators=(",", ":"))
