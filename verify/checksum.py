"""One canonical text of a record, made here from its fields and in ClickHouse from the columns.

Both sides take the first 8 bytes of the text's MD5 as a number. Their XOR over a partition tells in
one figure whether every field of every row is the same. `streams.history.compare` compares in the
same way, with a text that takes three times as long; verify makes a million of them.
"""

import struct
from collections.abc import Callable
from hashlib import md5
from typing import Any

from schemas.avro_schema import record_schema, strip_logical
from schemas.catalogue import Topic
from streams.history.columns import OFFSET, PARTITION

_DOUBLE = struct.Struct("<d")
_LONG = struct.Struct("<Q")

Digest = Callable[[int, int, dict[str, Any]], int]
"""(partition, offset, record) to a number of 64 bits."""


def digest_of(topic: Topic) -> Digest:
    """The digest of a topic's records."""
    fields = strip_logical(record_schema(topic.model))["fields"]
    template = "|".join("{" + field["name"] + "}" for field in fields)
    special = {
        field["name"]: write for field in fields if (write := _writer(field["type"])) is not None
    }

    def digest(partition: int, offset: int, record: dict[str, Any]) -> int:
        if special:
            record = record.copy()
            for name, write in special.items():
                value = record[name]
                if value is not None:
                    record[name] = write(value)
        return number(f"{partition}|{offset}|{template.format_map(record)}")

    return digest


def number(text: str) -> int:
    """The first 8 bytes of a text's MD5, as a number."""
    digest = md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    found: int = _LONG.unpack_from(digest)[0]
    return found


def sql_number(text: str) -> str:
    """The same of an SQL text."""
    return f"reinterpretAsUInt64(substring(MD5({text}), 1, 8))"


def sql_digest_of(topic: Topic) -> str:
    """The digest as SQL over the columns of the topic's table."""
    parts = [f"toString({PARTITION})", f"toString({OFFSET})"]
    parts += [_sql(f["type"], f"`{f['name']}`") for f in record_schema(topic.model)["fields"]]
    return sql_number("concat(" + ", '|', ".join(parts) + ")")


Write = Callable[[Any], str]


def _writer(schema: Any) -> Write | None:
    """Text of a value that is not None; None: as Python writes it."""
    if isinstance(schema, list):
        return _writer(schema[1])
    if schema == "bytes":
        return bytes.hex
    if schema == "double":
        return _bits
    if not isinstance(schema, dict):
        return None
    match schema["type"]:
        case "array":
            item = _writer(schema["items"]) or str
            return lambda values: " ".join(map(item, values))
        case "map":
            of = _writer(schema["values"]) or str
            return lambda values: " ".join(f"{key}:{of(value)}" for key, value in values.items())
        case "record":
            parts = [(f["name"], _writer(f["type"]) or str) for f in schema["fields"]]
            return lambda value: ",".join(write(value[name]) for name, write in parts)
        case plain:
            return _writer(plain)


def _bits(value: float) -> str:
    return str(_LONG.unpack(_DOUBLE.pack(value))[0])


def _sql(schema: Any, column: str) -> str:
    if isinstance(schema, list):
        return f"ifNull({_sql(schema[1], column)}, 'None')"
    if isinstance(schema, dict):
        match schema["type"], schema.get("logicalType"):
            case _, "timestamp-millis":
                return f"toString(toUnixTimestamp64Milli({column}))"
            case "array", _:
                return _sql_list(_sql(schema["items"], "x"), "x", column)
            case "map", _:
                pair = f"concat(k, ':', {_sql(schema['values'], 'v')})"
                return _sql_list(pair, "k, v", f"mapKeys({column}), mapValues({column})")
            case "record", _:
                items = [
                    _sql(f["type"], f"tupleElement({column}, '{f['name']}')")
                    for f in schema["fields"]
                ]
                return "concat('', " + ", ',', ".join(items) + ")"
            case plain, _:
                return _sql(plain, column)
    match schema:
        case "bytes":
            return f"lower(hex({column}))"
        case "double":
            return f"toString(reinterpretAsUInt64({column}))"
        case "boolean":
            return f"if({column}, 'True', 'False')"
        case _:
            return f"toString({column})"


def _sql_list(item: str, names: str, columns: str) -> str:
    return f"arrayStringConcat(arrayMap(({names}) -> {item}, {columns}), ' ')"
