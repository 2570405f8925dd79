"""Which ClickHouse column keeps which Avro field, for every topic.

The types are those that ClickHouse's `FORMAT Avro` fills from the field's Avro type without loss.
"""

from dataclasses import dataclass
from typing import Any

from schemas.avro_schema import record_schema
from schemas.catalogue import TOPICS, Topic

PARTITION = "_partition"
OFFSET = "_offset"

TOPICS_KEPT: tuple[Topic, ...] = tuple(t for t in TOPICS.values() if t.in_clickhouse)
"""Topics that have a raw table."""

_FEW_VALUES = frozenset({
    "kind", "producer", "tenant_id", "campaign_id", "pool", "robot_id", "source", "trunk",
    "edge_id", "direction", "asr_profile", "playbook", "playbook_version", "disposition",
    "prompt_id", "leg", "model", "input_kind", "intent", "meaning", "asked", "emotion", "node",
    "variant", "outcome",
    "barge_in", "reason", "worker", "level", "table", "last_intent", "last_emotion", "channel",
    "template", "priority", "source_topic", "timer", "state", "voice", "shard", "logger", "actor",
    "action", "name", "version",
})  # fmt: skip
"""Text fields with few different values: a dictionary makes them small and fast to group by."""

_MANY_VALUES = {("customers.changes", "name"), ("customers.profiles", "name"),
                ("campaigns.contacts", "name"),
                ("dead_letters", "reason")}  # fmt: skip
_LONG_TEXT = frozenset({"profile", "body", "settings", "fields", "detail", "message", "raw"})
_SCALARS = {"long": "Int64", "int": "Int32", "double": "Float64", "float": "Float32",
            "boolean": "Bool", "string": "String", "bytes": "String"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `ddl` is what follows the name in CREATE TABLE."""

    name: str
    type: str
    ddl: str


def columns_of(topic: Topic) -> list[Column]:
    """The columns of a topic's raw table that come from the record, in the record's order."""
    schema = record_schema(topic.model)
    return [_column(topic, field) for field in schema["fields"]]


def _column(topic: Topic, field: dict[str, Any]) -> Column:
    name = field["name"]
    kind = column_type(field["type"])
    few = name in _FEW_VALUES and (topic.name, name) not in _MANY_VALUES
    if few and kind in ("String", "Nullable(String)"):
        kind = f"LowCardinality({kind})"
    ddl = kind
    if (default := _default(field)) is not None:
        ddl += f" DEFAULT {default}"
    if "DateTime64" in kind:
        ddl += " CODEC(Delta, ZSTD)"
    elif name in _LONG_TEXT:
        ddl += " CODEC(ZSTD(3))"
    return Column(name, kind, ddl)


def column_type(schema: Any) -> str:
    """The ClickHouse type of an Avro schema; raises ValueError where there is none."""
    if isinstance(schema, list):
        inner = [s for s in schema if s != "null"]
        if len(inner) != 1:
            raise ValueError(f"no column for the union {schema}")
        return f"Nullable({column_type(inner[0])})"
    if isinstance(schema, str):
        return _SCALARS[schema]
    kind, logical = schema["type"], schema.get("logicalType")
    if logical == "timestamp-millis":
        return "DateTime64(3, 'UTC')"
    if logical == "uuid":
        return "UUID"
    if kind == "array":
        return f"Array({column_type(schema['items'])})"
    if kind == "map":
        return f"Map(String, {column_type(schema['values'])})"
    if kind == "record":
        parts = ", ".join(f"{f['name']} {column_type(f['type'])}" for f in schema["fields"])
        return f"Tuple({parts})"
    return column_type(kind)


def _default(field: dict[str, Any]) -> str | None:
    """SQL of a field's default where it is not ClickHouse's own: a record of an earlier schema
    that lacks the field gets the same value as every Avro reader gives it."""
    value = field.get("default")
    if value is None or value in ("", 0, [], {}):  # also 0.0 and False
        return None
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    raise ValueError(f"no SQL for the default {value!r}")
