"""The schema that a record was written with, parsed with limits.

Any client of the registry may write a schema, so its text is as untrusted as the records. A schema
that contains itself lets a record nest as deep as it is long, and fastavro then ends the process.
An array whose items take no bytes lets one number ask for any amount of work.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fastavro

from schemas.avro_schema import strip_logical

MAX_SCHEMA_CHARS = 262_144
"""Longest schema text that is parsed; ours take some thousand characters."""

MAX_NESTING = 40
"""Deepest nesting of JSON in a schema."""

MAX_PARTS = 10_000
"""Most values that a record without any array or map consists of, named types written out."""

MAX_ITEM_PARTS = 256
"""The same of one item of an array or map."""

_SIZES = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip
"""Fewest bytes of each primitive type (Avro 1.12 specification, "Binary Encoding")."""


class Unusable(Exception):
    """No record can be read with the schema; the text says why."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A record schema. `name` is as it was registered, `text` the schema as JSON data, `parsed`
    what fastavro wants, without logical types."""

    name: str
    text: dict[str, Any]
    parsed: Any


def writer_schema(text: str) -> WriterSchema:
    """Parses the text of a schema; raises Unusable."""
    if len(text) > MAX_SCHEMA_CHARS:
        raise Unusable(f"is longer than {MAX_SCHEMA_CHARS} characters")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        raise Unusable("is no JSON, so not Avro") from None
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise Unusable("is not a record")
    for part, depth in _parts(schema):
        if depth > MAX_NESTING:
            raise Unusable(f"is nested deeper than {MAX_NESTING}")
        if isinstance(part, dict) and part.get("type") == "record" and "fields" not in part:
            raise Unusable("has a record without fields")  # which fastavro takes for an empty one
    try:
        # Every schema is parsed for itself: fastavro's cache of named types mixes up versions.
        parsed = fastavro.parse_schema(strip_logical(schema), named_schemas={}, _force=True)
        _Measure().part(parsed)
    except Unusable:
        raise
    except fastavro.schema.UnknownType as error:
        raise Unusable(f"needs the type {error.name}, which it does not define") from None
    except Exception as error:  # fastavro raises whatever the text provokes
        raise Unusable(f"is no Avro schema: {type(error).__name__}: {error}"[:300]) from None
    return WriterSchema(str(schema.get("name", "")), schema, parsed)


def _parts(schema: Any) -> Iterator[tuple[Any, int]]:
    """Every value of a JSON document with its depth."""
    left = [(schema, 0)]
    while left:
        value, depth = left.pop()
        yield value, depth
        if depth <= MAX_NESTING and isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            left += [(part, depth + 1) for part in inner]


class _Measure:
    """Measures the parts of a parsed schema; raises Unusable for one without bounds."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[int, int]] = {}
        self._open: set[str] = set()

    def part(self, schema: Any) -> tuple[int, int]:
        """(fewest bytes of a value, most values that it consists of)."""
        if isinstance(schema, str):
            return self._name(schema)
        if isinstance(schema, list):
            branches = [self.part(branch) for branch in schema]
            return 1, 1 + max((parts for _, parts in branches), default=0)
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._definition(kind, schema)
        if kind in ("array", "map"):
            size, parts = self.part(schema["items" if kind == "array" else "values"])
            if kind == "array" and size == 0:
                raise Unusable("has an array whose items take no bytes")
            if parts > MAX_ITEM_PARTS:
                raise Unusable(f"has items of more than {MAX_ITEM_PARTS} values")
            return 1, 1
        return self.part(kind)

    def _name(self, name: str) -> tuple[int, int]:
        if name in _SIZES:
            return _SIZES[name], 1
        if name in self._open:
            raise Unusable(f"contains itself: {name}")
        return self._named[name]  # fastavro has found that it is defined

    def _definition(self, kind: str, schema: Any) -> tuple[int, int]:
        name = str(schema["name"])
        if kind == "enum":
            size, parts = 1, 1
        elif kind == "fixed":
            size, parts = schema["size"], 1
            if not isinstance(size, int) or size < 0:
                raise Unusable("has a fixed type without a size")
        else:
            self._open.add(name)
            fields = [self.part(field["type"]) for field in schema["fields"]]
            self._open.discard(name)
            size, parts = sum(s for s, _ in fields), 1 + sum(p for _, p in fields)
        if parts > MAX_PARTS:
            raise Unusable(f"makes records of more than {MAX_PARTS} values")
        self._named[name] = size, parts
        return size, parts
