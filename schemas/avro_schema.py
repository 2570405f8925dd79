"""Avro record schemas from the event models (Avro 1.12 specification)."""

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemas.envelope import Logical

NAMESPACE = "ringlog"
_PRIMITIVES = {str: "string", int: "long", float: "double", bool: "boolean", bytes: "bytes"}

Schema = Any
"""An Avro schema as JSON data: a name, a list (union) or an object."""


def record_schema(model: type[BaseModel]) -> dict[str, Schema]:
    """The record schema of a model; raises TypeError on a field that cannot cross every tool."""
    doc = (model.__doc__ or "").strip().split("\n")[0]
    return {
        "type": "record",
        "name": model.__name__,
        "namespace": NAMESPACE,
        "doc": doc,
        "fields": [_field(name, info) for name, info in model.model_fields.items()],
    }


def _field(name: str, info: FieldInfo) -> dict[str, Schema]:
    logical = next((m.name for m in info.metadata if isinstance(m, Logical)), None)
    try:
        schema = _schema(info.annotation, logical)
    except TypeError as error:
        raise TypeError(f"field {name}: {error}") from None
    out: dict[str, Schema] = {"name": name, "type": schema}
    if info.description:
        out["doc"] = info.description
    default = info.get_default(call_default_factory=True)
    if default is not PydanticUndefined:
        out["default"] = default
    return out


def _schema(annotation: Any, logical: str | None) -> Schema:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _PRIMITIVES:
        base = _PRIMITIVES[annotation]
        return {"type": base, "logicalType": logical} if logical else base
    if origin is Literal:
        return "string"
    if origin in (types.UnionType, Union):
        inner = [a for a in args if a is not type(None)]
        if len(inner) != 1 or len(args) != 2:
            raise TypeError(f"only X | None unions cross every tool, not {annotation}")
        return ["null", _schema(inner[0], logical)]
    if hasattr(annotation, "__metadata__"):  # Annotated inside a union
        found = next((m.name for m in annotation.__metadata__ if isinstance(m, Logical)), logical)
        return _schema(args[0], found)
    if origin is list:
        return {"type": "array", "items": _schema(args[0], None)}
    if origin is dict and args[0] is str:
        return {"type": "map", "values": _schema(args[1], None)}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return record_schema(annotation)
    raise TypeError(f"no Avro type for {annotation}")


def strip_logical(schema: Schema) -> Schema:
    """The schema without logical types: same bytes, but times stay longs and UUIDs stay text."""
    if isinstance(schema, list):
        return [strip_logical(s) for s in schema]
    if isinstance(schema, dict):
        if "logicalType" in schema and schema.get("type") in _PRIMITIVES.values():
            if "name" not in schema:
                return schema["type"]
            schema = {k: v for k, v in schema.items() if k != "logicalType"}  # misplaced in a field
        return {k: strip_logical(v) for k, v in schema.items()}
    return schema
