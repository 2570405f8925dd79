"""ClickHouse equals the log: every field of every record, by count and checksum per partition."""

from array import array
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from ringlog.kafka.sync import Place
from schemas.catalogue import TOPICS, Topic
from streams.history.columns import OFFSET, PARTITION
from verify.check import Check, Context, Result
from verify.checksum import Digest, digest_of, sql_digest_of
from verify.record import LogRecord

NAMED: Final = 5
"""Offsets that a violation names."""


class _Part:
    """A partition as read: offsets in order, and a digest for each."""

    __slots__ = ("digests", "offsets")

    def __init__(self) -> None:
        self.offsets, self.digests = array("q"), array("Q")

    def below(self, end: int) -> tuple[int, int]:
        """Count and XOR of the digests before an offset."""
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

    def feed(self, record: LogRecord) -> None:
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
        topics = [TOPICS[name] for name in sorted(self.topics)]
        if not any(name.startswith("history/") for name in context.answers):
            return {
                f"history/{topic.name}/sums": _sums(topic, context)
                for topic in topics
                if not topic.compacted
            } | {
                f"history/{topic.name}/rows": _rows(topic, range(topic.partitions), context)
                for topic in topics
                if topic.compacted
            }
        differing: dict[str, list[int]] = {}
        for name, partition in self._differing(context):
            differing.setdefault(name, []).append(partition)
        return {
            question: _rows(TOPICS[name], partitions, context)
            for name, partitions in differing.items()
            if (question := f"history/{name}/rows") not in context.answers
        }

    def _differing(self, context: Context) -> list[Place]:
        """Partitions whose count or checksum differs from the table's; of compacted topics all."""
        found = []
        for topic in map(TOPICS.__getitem__, sorted(self.topics)):
            sums: dict[int, tuple[int, int]] = {}
            if not topic.compacted:
                rows = context.answers[f"history/{topic.name}/sums"]
                sums = {int(row[0]): (int(row[1]), int(row[2])) for row in rows}
            for partition in range(topic.partitions):
                place = topic.name, partition
                here = self._part(*place).below(context.kept[place])
                if topic.compacted or sums.get(partition, (0, 0)) != here:
                    found.append(place)
        return found

    def _part(self, topic: str, partition: int) -> _Part:
        return self._parts.get((topic, partition)) or _Part()

    def finish(self, context: Context) -> Result:
        there: dict[Place, dict[int, int]] = {}
        for topic in self.topics:
            for row in context.answers.get(f"history/{topic}/rows", ()):
                there.setdefault((topic, int(row[0])), {})[int(row[1])] = int(row[2])
        for place in self._differing(context):
            self._compare(place, context.kept[place], there.get(place, {}))
        for place, end in context.kept.items():
            if place[0] in self.topics:
                self.result.looked_at += self._part(*place).below(end)[0]
                self.result.open += context.judged[place] - end
        return self.result

    def _compare(self, place: Place, end: int, there: Mapping[int, int]) -> None:
        topic, partition = place
        here = self._part(topic, partition).as_dict(end)
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


def _sums(topic: Topic, context: Context) -> str:
    return (
        f"SELECT {PARTITION}, count(), groupBitXor({sql_digest_of(topic)}) FROM {topic.table} "
        f"FINAL WHERE {_inside(topic, range(topic.partitions), context)} GROUP BY {PARTITION}"
    )


def _rows(topic: Topic, partitions: Iterable[int], context: Context) -> str:
    return (
        f"SELECT {PARTITION}, {OFFSET}, {sql_digest_of(topic)} FROM {topic.table} FINAL "
        f"WHERE {_inside(topic, partitions, context)}"
    )


def _inside(topic: Topic, partitions: Iterable[int], context: Context) -> str:
    parts = [
        f"({PARTITION} = {p} AND {OFFSET} >= {context.begins[topic.name, p]} "
        f"AND {OFFSET} < {context.kept[topic.name, p]})"
        for p in partitions
    ]
    return " OR ".join(parts)
