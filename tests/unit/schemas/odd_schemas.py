"""Schemas that a registry takes and that no reader can read a record with (field report K1)."""

import json
from typing import Any


def record(*types: Any, name: str = "Turn", **more: Any) -> str:
    """A record of that name with fields of these types."""
    fields = [{"name": f"f{n}", "type": t} for n, t in enumerate(types)]
    schema = {"type": "record", "name": name, "namespace": "ringlog", "fields": fields}
    return json.dumps(schema | more)


def odd_schemas(name: str = "Turn") -> dict[str, tuple[str, str]]:
    """By kind: the text of a schema, of our record's name where it has one, and what the reason
    says."""
    empty = {"type": "record", "name": "Empty", "fields": [{"name": "x", "type": "null"}]}
    nested: Any = "string"
    for _ in range(60):
        nested = {"type": "array", "items": nested}
    wide = record(*[{"type": "record", "name": "W0", "fields": _two("null")}], name=name)
    doubled = json.loads(wide)
    for n in range(1, 20):
        doubled["fields"].append(
            {"name": f"g{n}", "type": {"type": "record", "name": f"W{n}",
                                       "fields": _two(f"ringlog.W{n - 1}")}}
        )  # fmt: skip
    return {
        "protobuf": ('syntax = "proto3"; message M { string a = 1; }', "is no JSON"),
        "cut off": (record("string", name=name)[:-2], "is no JSON"),
        "union": ('["null", "string"]', "is not a record"),
        "enum": ('{"type": "enum", "name": "E", "symbols": ["A"]}', "is not a record"),
        "array": ('{"type": "array", "items": "string"}', "is not a record"),
        "text": ('"string"', "is not a record"),
        "number": ("7", "is not a record"),
        "JSON schema": ('{"$schema": "x", "type": "object"}', "is not a record"),
        "reference": (record("p.Ref", name=name), "needs the type p.Ref"),
        "no fields": (json.dumps({"type": "record", "name": name}), "a record without fields"),
        "no name": ('{"type": "record", "fields": []}', "is no Avro schema"),
        "name is a number": ('{"type": "record", "name": 7, "fields": []}', "is no Avro schema"),
        "fields is a number": (record(name=name, fields=5), "is no Avro schema"),
        "type is a number": (record(5, name=name), "is no Avro schema"),
        "fixed without size": (record({"type": "fixed", "name": "F"}, name=name), "is no Avro"),
        "fixed below 0": (record({"type": "fixed", "name": "F", "size": -1}, name=name), "fixed"),
        "itself": (record(["null", name], name=name), "contains itself"),
        "itself in an array": (record({"type": "array", "items": name}, name=name), "itself"),
        "items without bytes": (record({"type": "array", "items": "null"}, name=name), "no bytes"),
        "records without bytes": (record({"type": "array", "items": empty}, name=name), "no bytes"),
        "deep": (record(nested, name=name), "nested deeper"),
        "very deep": ("[" * 100_000, "is no JSON"),
        "doubled again and again": (json.dumps(doubled), "more than 10000 values"),
        "long": (record(doc="x" * 300_000, name=name), "longer than"),
        "many values in an item": (
            record({"type": "map", "values": {"type": "record", "name": "I", "fields": [
                {"name": f"n{n}", "type": "null"} for n in range(300)]}}, name=name), "items of"),
    }  # fmt: skip


def _two(kind: str) -> list[dict[str, str]]:
    return [{"name": "a", "type": kind}, {"name": "b", "type": kind}]
