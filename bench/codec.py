"""Avro on the wire: `schemas.wire.Codec` against bare fastavro and Apache avro, on transcripts.

The codec also frames, checks the schema's id and name and, where it gives events, validates them.
All three do the same finals; CPU time of one thread, median of the rounds.
"""

import io
import json
from typing import Any

import avro.io
import avro.schema
import fastavro

from bench import timing, transcripts
from bench.measure import Measure, Outcome
from schemas.catalogue import topic
from schemas.events import Transcript
from schemas.registry import MemoryRegistry
from schemas.wire import HEADER, Codec, schema_text

TOPIC = "asr.transcripts"


class Bare:
    """fastavro and Apache avro on the body alone, with the schema that is on the wire."""

    def __init__(self) -> None:
        text = schema_text(topic(TOPIC))
        plain = _without_logical(json.loads(text))
        self._fast = fastavro.parse_schema(plain, named_schemas={}, _force=True)
        apache = avro.schema.parse(json.dumps(plain))
        self._writer = avro.io.DatumWriter(apache)
        self._reader = avro.io.DatumReader(apache)

    def fast_encode(self, record: dict[str, Any]) -> bytes:
        """fastavro's schemaless writer."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._fast, record)
        return out.getvalue()

    def fast_decode(self, body: bytes) -> Any:
        """fastavro's schemaless reader, same schema for writer and reader."""
        return fastavro.schemaless_reader(io.BytesIO(body), self._fast, self._fast)

    def apache_encode(self, record: dict[str, Any]) -> bytes:
        """Apache avro's writer."""
        out = io.BytesIO()
        self._writer.write(record, avro.io.BinaryEncoder(out))
        return out.getvalue()

    def apache_decode(self, body: bytes) -> Any:
        """Apache avro's reader."""
        return self._reader.read(avro.io.BinaryDecoder(io.BytesIO(body)))


def _without_logical(schema: Any) -> Any:
    """Times as integers and ids as text for all, as the product keeps them."""
    if isinstance(schema, dict):
        return {k: _without_logical(v) for k, v in schema.items() if k != "logicalType"}
    return [_without_logical(v) for v in schema] if isinstance(schema, list) else schema


def run(quick: bool) -> Outcome:
    """Events per second, encoding and decoding."""
    count, rounds = (200, 2) if quick else (3_000, 5)
    finals = [r for r in transcripts.records(count * 3) if r["kind"] == "final"]
    events = [Transcript.model_validate(record) for record in finals]
    codec, bare = Codec(MemoryRegistry()), Bare()
    values = [codec.encode(TOPIC, event) for event in events]
    bodies = [value[HEADER.size :] for value in values]
    if not all(bare.fast_encode(r) == bare.apache_encode(r) == b for r, b in zip(finals, bodies)):  # noqa: B905 # same length
        raise ValueError("the three do not write the same bytes")
    if [bare.apache_decode(b) for b in bodies] != finals:
        raise ValueError("Apache avro reads something else")

    def each(function: Any, items: list[Any]) -> Any:
        def work() -> int:
            for item in items:
                function(item)
            return len(items)

        return work

    rates = timing.alternate(
        {
            "encode": each(lambda e: codec.encode(TOPIC, e), events),
            "fast encode": each(bare.fast_encode, finals),
            "apache encode": each(bare.apache_encode, finals),
            "decode": each(lambda v: codec.decode(TOPIC, v), values),
            "record": each(lambda v: codec.decode_record(TOPIC, v), values),
            "fast decode": each(bare.fast_decode, bodies),
            "apache decode": each(bare.apache_decode, bodies),
        },
        rounds,
    )

    def measure(what: str, ours: str, against: str, theirs: str) -> Measure:
        return Measure(
            what=what, unit="events/s", ours=timing.middle(rates, ours), against=against,
            theirs=timing.middle(rates, theirs), spread=timing.spread(rates, ours, theirs),
        )  # fmt: skip

    size = sum(map(len, bodies)) / len(bodies)
    return Outcome(
        measures=[
            measure("encode an event", "encode", "bare fastavro", "fast encode"),
            measure("encode an event", "encode", "Apache avro", "apache encode"),
            measure("decode to a dict", "record", "bare fastavro", "fast decode"),
            measure("decode and validate", "decode", "bare fastavro", "fast decode"),
            measure("decode and validate", "decode", "Apache avro", "apache decode"),
        ],
        notes=[f"{len(finals)} finals of {size:.0f} bytes on average, {rounds} rounds; no budget"],
    )
