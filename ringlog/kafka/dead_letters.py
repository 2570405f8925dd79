"""Records for `dead_letters`: raw bytes, source and reason."""

from schemas.events import DeadLetter
from schemas.ids import dead_letter_id

MAX_RAW_BYTES = 262_144

TOO_LARGE = "its output is too large"
"""Prefix of the reason of a legal record whose output would be too long to read."""


def dead_letter(
    producer: str,
    topic: str,
    partition: int,
    offset: int,
    reason: str,
    raw: bytes | None,
    at_ms: int,
) -> DeadLetter:
    """The dead letter of one record; the same record always gives the same id."""
    return DeadLetter(
        event_id=dead_letter_id(topic, partition, offset),
        kind="dead_letter",
        occurred_at=at_ms,
        producer=producer,
        source_topic=topic,
        source_partition=partition,
        source_offset=offset,
        reason=reason[:2_000],
        raw=(raw or b"")[:MAX_RAW_BYTES],
    )
