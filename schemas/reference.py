"""Writes `docs/reference/events.md` from the models: `python -m schemas.reference [--check]`."""

import json
import sys
from pathlib import Path
from typing import Any

from schemas.avro_schema import record_schema
from schemas.catalogue import TOPICS, Topic
from schemas.envelope import Event

PATH = Path(__file__).parent.parent / "docs" / "reference" / "events.md"

_HEAD = """# Events

Generated from the models in `schemas/events/` by `python -m schemas.reference`; change those.

Every record value is framed as Confluent's clients do: byte 0, the schema's 4-byte id in the
registry, then the Avro record. The subject is `<topic>-value`, the key is UTF-8 text. Times are
`timestamp-millis`; names ending in `_ms` or `_us` are durations or call time in that unit. `?`
marks a field that may be null.

## Envelope

Every event begins with these fields.

"""


def _type(schema: Any) -> str:
    if isinstance(schema, list):
        return _type(schema[1]) + "?"
    if isinstance(schema, dict):
        match schema["type"]:
            case "array":
                return f"list of {_type(schema['items'])}"
            case "map":
                return f"map of {_type(schema['values'])}"
            case "record":
                inner = ", ".join(f"{f['name']}: {_type(f['type'])}" for f in schema["fields"])
                return f"{{{inner}}}"
        return str(schema.get("logicalType", schema["type"]))
    return str(schema)


def _rows(model: type[Event], skip: set[str]) -> list[str]:
    kinds = model.model_fields["kind"].annotation
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for field in record_schema(model)["fields"]:
        if field["name"] in skip:
            continue
        meaning = field.get("doc", "")
        default = field.get("default")
        if default not in (None, "", [], {}):
            meaning = f"{meaning} (default `{json.dumps(default, ensure_ascii=False)}`)".strip()
        rows.append(f"| `{field['name']}` | {_type(field['type'])} | {meaning} |")
    names = getattr(kinds, "__args__", ())
    if skip and names:
        rows.insert(0, "Kinds: " + ", ".join(f"`{n}`" for n in names) + ".\n")
    return rows


def _kept(t: Topic) -> str:
    if t.compacted:
        return "compacted"
    return "for ever" if t.retention_ms < 0 else f"{t.retention_ms // 86_400_000} days"


def document() -> str:
    """The whole page."""
    envelope = set(Event.model_fields)
    parts = [_HEAD + "\n".join(_rows(Event, set()))]
    for t in TOPICS.values():
        doc = " ".join((t.model.__doc__ or "").split("`:", 1)[-1].split())
        where = f"; in ClickHouse `{t.table}`" if t.in_clickhouse else ""
        parts.append(
            f"## `{t.name}`\n\n{doc[:1].upper()}{doc[1:]}\n\n"
            f"{t.partitions} partitions, {_kept(t)}{where}.\n\n"
            + "\n".join(_rows(t.model, envelope))
        )
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Exit code 1: `--check` found the page out of date."""
    text = document()
    if "--check" in sys.argv[1:]:
        return int(not PATH.exists() or PATH.read_text("utf-8") != text)
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
