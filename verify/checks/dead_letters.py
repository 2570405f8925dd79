"""Lists unreadable records by reason; no record was dropped without a dead letter."""

import re
from collections import Counter

from ringlog.log import mask_phones
from schemas.catalogue import DAY_MS, TOPICS
from verify.check import Check, Context, Result
from verify.record import LogRecord, Unreadable

OURS = "not decided"
"""Prefix of a dead letter's reason that is a fault of our own code."""

KEPT_MS = 29 * DAY_MS
"""Older dead letters may be gone."""

_NUMBER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+")


class DeadLetters(Check):
    """Folds `dead_letters`, and the records that the reader refuses."""

    name = "dead_letters"
    title = "every unreadable record has a dead letter"
    unit = "dead letters"
    topics = frozenset(TOPICS) - {"media.audio"}

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, int, int], LogRecord] = {}
        self._refused: list[Unreadable] = []

    def feed(self, record: LogRecord) -> None:
        if record.topic != "dead_letters":
            return
        event = record.event
        place = event["source_topic"], event["source_partition"], event["source_offset"]
        if self._told.setdefault(place, record) is not record:
            self.result.repeats += 1

    def refused(self, record: Unreadable) -> None:
        if record.judged:
            self._refused.append(record)

    def finish(self, context: Context) -> Result:
        result = self.result
        result.looked_at = len(self._told)
        reasons: Counter[tuple[str, str]] = Counter()
        for (topic, partition, offset), letter in self._told.items():
            reason = letter.event["reason"]
            reasons[topic, _general(reason)] += 1
            if reason.startswith(OURS):
                result.violate(
                    "our_fault",
                    f"an input was not decided: {mask_phones(reason)[:200]}",
                    f"{topic}/{partition}@{offset}",
                    letter.where,
                )
        result.notes += [
            f"{count} of {topic}: {reason}" for (topic, reason), count in reasons.most_common()
        ]
        for record in self._refused:
            if (record.topic, record.partition, record.offset) in self._told:
                continue
            if context.read_ms - record.timestamp_ms > KEPT_MS:
                continue
            if not context.due("history"):
                result.open += 1
                continue
            result.violate(
                "untold",
                f"a record cannot be read and has no dead letter: {mask_phones(record.reason)}",
                record.where,
            )
        return result


def _general(reason: str) -> str:
    """A reason without the ids and numbers of its one record, so that equal ones count together."""
    return _NUMBER.sub("…", reason)[:120]
