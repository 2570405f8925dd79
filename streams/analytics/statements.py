"""The job's SQL: files of `sql/flink`, with the names of topics and servers filled in."""

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings, root
from schemas.catalogue import KAFKA_MESSAGE_BYTES
from streams.analytics import records

GROUP = "ringlog-analytics"
"""Consumer group under which the job commits what its checkpoints cover."""

SIZES_S = (10, 60)
"""Window sizes, s."""

WATERMARK_DELAY_S = 4
"""How long after it occurred a turn may be appended and still count as on time, s."""

IDLE_S = 3
"""A partition without records for this long does not hold time back, s."""

_END_OF_STATEMENT = re.compile(r";[ \t]*(?:\n|$)")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@dataclass(frozen=True)
class Statements:
    """The SQL in the order of execution. Between `records` and `turns` the host makes the table
    `event_stream` of the view `flat_records`; `inserts` run together as one job."""

    records: tuple[str, ...]
    turns: tuple[str, ...]
    inserts: tuple[str, ...]


def statements(config: Settings) -> Statements:
    """The job's statements for these settings."""
    values = {
        "kafka": config.kafka_bootstrap,
        "group": GROUP,
        "source_topics": f"{records.SOURCE};{records.TICKS}",
        "turns_topic": records.SOURCE,
        "windows_topic": records.WINDOWS,
        "dead_letters_topic": records.DEAD_LETTERS,
        "job": records.JOB,
        "delay_s": str(WATERMARK_DELAY_S),
        "idle_s": str(IDLE_S),
        "isolation": ISOLATION,
        "message_bytes": str(KAFKA_MESSAGE_BYTES),
        "all_windows": " UNION ALL ".join(f"SELECT * FROM windows_{s}s" for s in SIZES_S),
    }
    turns = _read("20_turns.sql", values)
    for size_s in SIZES_S:
        size = {"size_s": str(size_s), "size_ms": str(size_s * 1_000)}
        turns += _read("30_windows.sql", values | size)
    turns += _read("40_outputs.sql", values)
    return Statements(_read("10_records.sql", values), turns, _read("50_run.sql", values))


def _read(name: str, values: dict[str, str]) -> tuple[str, ...]:
    text = (_folder() / name).read_text(encoding="utf-8")
    quoted = {key: value.replace("'", "''") for key, value in values.items()}
    filled = Template(_COMMENT.sub("", text)).substitute(quoted)
    return tuple(s for part in _END_OF_STATEMENT.split(filled) if (s := part.strip()))


def _folder() -> Path:
    return root() / "sql" / "flink"
