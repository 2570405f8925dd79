"""ClickHouse equals the log: every field of every record, by count and checksum per partition."""

from array import array
from collections.abc import Mapping
from typing import Final

import numpy as np

from schemas.catalogue import TOPICS, Topic
from streams.history.columns import OFFSET, PARTITION
from verify.check import Check, Context, Result
from verify.checksum import Digest, digest_of, sql_digest_of
from verify.record import Place, Record

NAMED: Final = 5
"""Offsets that a violation names."""


class _Part:
    """A partition as read: offsets in order, and a digest for each."""

    __slots__ = ("digests", "offsets")

    def __init__(self) -> None:
        self.offsets, self.digests = array("q"), array("Q")

    def below(self, end: int) -> tuple[int, int]:
        """Count and XOR of what lies before an offset."""
        n = int(np.searchsorted(np.frombuffer(self.offsets, np.int64), end)) if self.offsets else 0
        if n == 0:
            return 0, 0
        return n, int(np.bitwise_xor.reduce(np.frombuffer(self.digests, np.uint64)[:n]))

    def as_dict(self, end: int) -> dict[int, int]:
        """Digest by offset, before an offset."""
        pairs = zip(self.offsets, self.digests, strict=True)
        return {offset: digest for offset, digest in pairs if offset < end}


class History(Check):
    """Folds every topic that has a raw table. Rows of records that retention or compaction has
    taken from the log are left alone."""

    name = "history"
    title = "ClickHouse equals the log"
    unit = "rows"
    topics = frozenset(name for name, topic in TOPICS.items() if topic.in_clickhouse)
    takes_all = True

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[Place, _Part] = {}
        self._digests: dict[str, Digest] = {}

    def feed(self, record: Record) -> None:
        digest = self._digests.get(record.topic)
        if digest is None:
            digest = self._digests[record.topic] = digest_of(TOPICS[record.topic])
        place = record.topic, record.partition
        part = self._parts.get(place)
        if part is None:
            part = self._parts[place] = _Part()
        part.offsets.append(record.offset)
        part.digests.append(digest(record.partition, record.offset, record.event))

    def questions(self, context: Context) -> Mapping[str, str]:
        if not any(name.startswith("history/") for name in context.answers):
            return {
                f"history/{topic.name}": _summary(topic, context)
                for topic in map(TOPICS.__getitem__, sorted(self.topics))
                if not topic.compacted
            } | {
                f"history/{topic.name}/{partition}": _rows(topic, partition, context)
                for topic in map(TOPICS.__getitem__, sorted(self.topics))
                if topic.compacted
                for partition in range(topic.partitions)
            }
        return {
            name: _rows(TOPICS[topic], partition, context)
            for topic, partition in self._differing(context)
            if (name := f"history/{topic}/{partition}") not in context.answers
        }

    def _differing(self, context: Context) -> list[Place]:
        """Partitions whose count or checksum is not the table's."""
        found = []
        for (topic, partition), end in context.kept.items():
            if topic not in self.topics:
                continue
            if TOPICS[topic].compacted:
                found.append((topic, partition))
                continue
            there = {
                int(row[0]): (int(row[1]), int(row[2]))
                for row in context.answers[f"history/{topic}"]
            }
            if there.get(partition, (0, 0)) != self._part(topic, partition).below(end):
                found.append((topic, partition))
        return found

    def _part(self, topic: str, partition: int) -> _Part:
        return self._parts.get((topic, partition)) or _Part()

    def finish(self, context: Context) -> Result:
        result = self.result
        for place in self._differing(context):
            self._compare(place, context)
        for place, end in context.kept.items():
            if place[0] in self.topics:
                result.looked_at += self._part(*place).below(end)[0]
        behind = sum(
            context.judged[place] - end
            for place, end in context.kept.items()
            if place[0] in self.topics
        )
        result.open += behind
        return result

    def _compare(self, place: Place, context: Context) -> None:
        topic, partition = place
        end = context.kept[place]
        here = self._part(*place).as_dict(end)
        rows = context.answers[f"history/{topic}/{partition}"]
        there = {int(row[0]): int(row[1]) for row in rows}
        found = {
            ("missing", "records have no row"): here.keys() - there.keys(),
            ("differs", "rows differ from their records"): {
                o for o in here.keys() & there.keys() if here[o] != there[o]
            },
        }
        if not TOPICS[topic].compacted:  # the table keeps what compaction has taken from the log
            found["invented", "rows have no record"] = there.keys() - here.keys()
        for (rule, text), offsets in found.items():
            if offsets:
                named = [f"{topic}/{partition}@{o}" for o in sorted(offsets)[:NAMED]]
                self.result.violate(rule, f"{TOPICS[topic].table}: {len(offsets)} {text}", *named)


def _summary(topic: Topic, context: Context) -> str:
    return (
        f"SELECT {PARTITION}, count(), groupBitXor({sql_digest_of(topic)}) FROM {topic.table} "
        f"FINAL WHERE {_inside(topic, context)} GROUP BY {PARTITION}"
    )


def _inside(topic: Topic, context: Context) -> str:
    parts = [
        f"({PARTITION} = {p} AND {OFFSET} >= {context.begins[topic.name, p]} "
        f"AND {OFFSET} < {context.kept[topic.name, p]})"
        for p in range(topic.partitions)
    ]
    return " OR ".join(parts)


def _rows(topic: Topic, partition: int, context: Context) -> str:
    place = topic.name, partition
    return (
        f"SELECT {OFFSET}, {sql_digest_of(topic)} FROM {topic.table} FINAL "
        f"WHERE {PARTITION} = {partition} AND {OFFSET} >= {context.begins[place]} "
        f"AND {OFFSET} < {context.kept[place]}"
    )
