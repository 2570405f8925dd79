"""Records for every topic, made from the schema: full of values, different for every n."""

import random
import types
import uuid
from typing import Any, Literal, Union, get_args, get_origin

from schemas.avro_schema import record_schema
from schemas.catalogue import Topic

_TEXTS = (
    "我想了解一下这个产品",
    "plain",
    "",
    "with|bar and \\ 'quotes' \"two\"\n\t",
    "😀",
    "嗯" * 40,
)


def record(topic: Topic, n: int, **fields: Any) -> dict[str, Any]:
    """The n-th record of a topic, with some fields set."""
    rng = random.Random(f"{topic.name}/{n}")
    schema = record_schema(topic.model)
    out = {f["name"]: _value(f["type"], rng) for f in schema["fields"]}
    for name, info in topic.model.model_fields.items():
        if choices := _choices(info.annotation):
            out[name] = rng.choice(choices)
    out |= {
        "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{topic.name}/{n}")),
        "occurred_at": 1_760_000_000_000 + n * 250,
        "call_id": f"call-{n % 37}",
        "task_id": f"task-{n % 41}",
        "customer_id": f"customer-{n % 29}",
    }
    return out | fields


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (types.UnionType, Union):
        return next((c for a in get_args(annotation) if (c := _choices(a))), ())
    return ()


def _value(schema: Any, rng: random.Random) -> Any:
    if isinstance(schema, list):
        return None if rng.random() < 0.3 else _value(schema[1], rng)
    if isinstance(schema, dict):
        if schema.get("logicalType") == "timestamp-millis":
            return rng.choice((0, 1_760_000_000_123, 253_402_300_799_999))
        if schema.get("logicalType") == "uuid":
            return str(uuid.UUID(int=rng.getrandbits(128)))
        kind = schema["type"]
        if kind == "array":
            return [_value(schema["items"], rng) for _ in range(rng.randrange(4))]
        if kind == "map":
            return {f"k{i}": _value(schema["values"], rng) for i in range(rng.randrange(3))}
        return {f["name"]: _value(f["type"], rng) for f in schema["fields"]}
    if schema == "string":
        return rng.choice(_TEXTS)
    if schema == "bytes":
        return rng.randbytes(rng.randrange(20))
    if schema == "double":
        return rng.choice((0.0, -1.5, 1e300, rng.random()))
    if schema == "boolean":
        return rng.random() < 0.5
    return rng.choice((0, -1, 63, 64, 300, 2**31, -(2**63), 2**63 - 1))
