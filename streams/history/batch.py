"""Rows read but not written yet, and their grouping into batches. Pure.

A batch is a contiguous range of offsets of each of some partitions. Before it is written its ends
are kept with the committed offsets; after a crash the same batch is read and written again, so
ClickHouse sees the same blocks and drops those that it has.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ringlog.kafka.sync import Place
from streams.history.container import Row

FLUSH_ROWS = 10_000
FLUSH_S = 0.5
MAX_ROWS = 50_000
MAX_BYTES = 32 << 20

_INTENT = re.compile(r"to (\d{1,19})")


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows by place, in order. `begins` and `ends` are offsets, the end exclusive.

    A range may hold fewer rows than offsets: compaction and tombstones leave holes.
    """

    rows: Mapping[Place, list[Row]]
    begins: Mapping[Place, int]
    ends: Mapping[Place, int]


class RowBuffer:
    """Rows read and not yet taken."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._parts: dict[Place, list[Row]] = {}
        self._begins: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._since_s: float | None = None

    def add(self, place: Place, begin: int, end: int, rows: Iterable[Row], now_s: float) -> None:
        """Adds what a read gave: the offsets from `begin` to before `end`."""
        self._begins.setdefault(place, begin)
        self._ends[place] = end
        part = self._parts.setdefault(place, [])
        old = len(part)
        part.extend(rows)
        self.rows += len(part) - old
        self.bytes += sum(len(row.value) for row in part[old:])
        if self._since_s is None:
            self._since_s = now_s

    @property
    def full(self) -> bool:
        """Whether to stop reading until something was taken."""
        return self.rows >= MAX_ROWS or self.bytes >= MAX_BYTES

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until it is time to write, 0 when it is; None when there is nothing."""
        if self._since_s is None:
            return None
        if self.rows >= FLUSH_ROWS or self.bytes >= MAX_BYTES // 2:
            return 0.0
        return max(0.0, self._since_s + FLUSH_S - now_s)

    def end_of(self, place: Place) -> int:
        """Offset after the last one read; 0 before any."""
        return self._ends.get(place, 0)

    def take(self) -> RowBatch:
        """Everything."""
        batch = RowBatch(self._parts, self._begins, self._ends)
        self._parts, self._begins, self._ends = {}, {}, {}
        self.rows = self.bytes = 0
        self._since_s = None
        return batch

    def take_to(self, ends: Mapping[Place, int], now_s: float) -> RowBatch:
        """Takes only rows before these ends; the rest stays."""
        whole = self.take()
        rows, begins, taken = {}, {}, {}
        for place, part in whole.rows.items():
            end = min(ends.get(place, 0), whole.ends[place])
            before = [row for row in part if row.offset < end]
            if whole.begins[place] < end:
                rows[place], begins[place], taken[place] = before, whole.begins[place], end
            if end < whole.ends[place]:
                begin = max(whole.begins[place], end)
                self.add(place, begin, whole.ends[place], part[len(before) :], now_s)
        return RowBatch(rows, begins, taken)


def intent(end: int) -> str:
    """The text committed with an offset while the range up to `end` is being written."""
    return f"to {end}"


def intended_end(metadata: str | None) -> int | None:
    """The end of a range that may have been written; None when there is none."""
    found = _INTENT.fullmatch(metadata or "")
    return int(found[1]) if found else None


def token(topic: str, rows: list[Row]) -> str:
    """Names a block by its ranges, `topic:0=10-19,3=7-7`: the same block, the same name."""
    ranges: list[list[int]] = []
    for row in rows:
        if not ranges or ranges[-1][0] != row.partition:
            ranges.append([row.partition, row.offset, row.offset])
        ranges[-1][2] = row.offset
    return f"{topic}:" + ",".join(f"{p}={first}-{last}" for p, first, last in ranges)
