"""Writes the migration that raw tables need for the models as they are.

`python -m streams.history.generate_migration NAME` writes `sql/migrations/NNNN_NAME.sql` with a
table for each topic that has none and a column for each field that has none; `--check` only prints
what is missing and exits 1. A migration that exists is never changed.
"""

import argparse
import re
import sys
from pathlib import Path

from schemas.catalogue import Topic
from streams.history.columns import TOPICS_KEPT, Column, columns_of

MIGRATIONS = Path(__file__).parents[2] / "sql" / "migrations"

_HEADER = """\
-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.
"""

_TABLE = """
CREATE TABLE IF NOT EXISTS {table}
(
    `_topic` LowCardinality(String) DEFAULT '{topic}',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
{columns}{indexes}
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;
"""
# The same record always lands in the same month, so a repeat always meets its first copy in a
# merge; the window lets ClickHouse drop a repeated block before that, by its token.

_INDEXED = ("call_id", "task_id", "customer_id")


def present(folder: Path = MIGRATIONS) -> dict[str, set[str]]:
    """Columns by raw table that the migrations create, by the generated statements' own form."""
    out: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        for table, body in re.findall(
            r"^CREATE TABLE IF NOT EXISTS (raw_\w+)\n\((.*?)^\)$", text, re.M | re.S
        ):
            out.setdefault(table, set()).update(re.findall(r"^ {4}`(\w+)` ", body, re.M))
        for table, name in re.findall(
            r"^ALTER TABLE (raw_\w+) ADD COLUMN IF NOT EXISTS `(\w+)` ", text, re.M
        ):
            out.setdefault(table, set()).add(name)
    return out


def missing(have: dict[str, set[str]]) -> str:
    """SQL that brings the tables from `have` to the models; empty when nothing is missing."""
    out = []
    for topic in TOPICS_KEPT:
        columns = columns_of(topic)
        if topic.table not in have:
            out.append(_create(topic, columns))
            continue
        out += [
            f"\nALTER TABLE {topic.table} ADD COLUMN IF NOT EXISTS `{c.name}` {c.ddl};\n"
            for c in columns
            if c.name not in have[topic.table]
        ]
    return "".join(out)


def _create(topic: Topic, columns: list[Column]) -> str:
    names = {c.name for c in columns}
    indexes = [
        f",\n    INDEX {name}_index `{name}` TYPE bloom_filter GRANULARITY 1"
        for name in _INDEXED
        if name in names
    ]
    return _TABLE.format(
        table=topic.table,
        topic=topic.name,
        columns=",\n".join(f"    `{c.name}` {c.ddl}" for c in columns),
        indexes="".join(indexes),
    )


def main() -> int:
    """Exit code 0: written or nothing missing; 1: `--check` found something missing."""
    parser = argparse.ArgumentParser(description="Write the migration that the models need.")
    parser.add_argument("name", nargs="?", default="columns", help="name in the file's name")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if missing")
    args = parser.parse_args()
    text = missing(present())
    if not text:
        return 0
    if args.check:
        print(text, file=sys.stderr)
        return 1
    last = max((int(p.name[:4]) for p in MIGRATIONS.glob("[0-9]*.sql")), default=0)
    path = MIGRATIONS / f"{last + 1:04d}_{args.name}.sql"
    path.write_text(_HEADER + text, encoding="utf-8")
    print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
