"""Writes `schemas/avro/*.avsc` from the models, and a new history version where one changed.

`python -m schemas.generate` writes; `--check` only prints what differs and exits 1. A change that
is not BACKWARD_TRANSITIVE compatible with every earlier version is refused.
"""

import json
import sys
from pathlib import Path

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.avro_schema import record_schema
from schemas.catalogue import TOPICS, Topic

AVRO_DIR = Path(__file__).parent / "avro"


def avsc(t: Topic) -> str:
    """The committed text of a topic's schema."""
    return json.dumps(record_schema(t.model), ensure_ascii=False, indent=2) + "\n"


def history(t: Topic) -> list[Path]:
    """Files of all versions of a topic's schema, oldest first."""
    folder = AVRO_DIR / "history" / t.name
    return sorted(folder.glob("v*.avsc"), key=lambda p: int(p.stem[1:]))


def incompatibilities(reader: str, writer: str) -> list[str]:
    """Why data of the writer's schema cannot be read with the reader's; empty when it can."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(
        reader=avro.schema.parse(reader), writer=avro.schema.parse(writer)
    )
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{m} at {loc}" for m, loc in zip(result.messages, result.locations, strict=False)] or [
        str(result.compatibility)
    ]


def plan(t: Topic) -> tuple[list[str], dict[Path, str]]:
    """(why the change is refused, files to write) for one topic."""
    text = avsc(t)
    versions = history(t)
    files = {AVRO_DIR / f"{t.name}.avsc": text}
    if not versions or versions[-1].read_text(encoding="utf-8") != text:
        n = int(versions[-1].stem[1:]) + 1 if versions else 1
        files[AVRO_DIR / "history" / t.name / f"v{n}.avsc"] = text
    refused = [
        f"{t.name}: not compatible with {path.stem}: {why}"
        for path in versions
        for why in incompatibilities(text, path.read_text(encoding="utf-8"))
    ]
    stale = {p: s for p, s in files.items() if not p.exists() or p.read_text("utf-8") != s}
    return refused, stale


def main() -> int:
    """Exit code 0: written or up to date; 1: refused, or `--check` found a difference."""
    check = "--check" in sys.argv[1:]
    failed = False
    for t in TOPICS.values():
        refused, files = plan(t)
        for why in refused:
            print(why, file=sys.stderr)
        failed = failed or bool(refused) or (check and bool(files))
        for path, text in files.items():
            print(("differs: " if check else "wrote: ") + str(path.relative_to(AVRO_DIR.parent)))
            if not check and not refused:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
