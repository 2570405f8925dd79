"""What could not be read goes to `dead_letters`: raw bytes, where from, and why."""

from schemas.events import DeadLetter
from schemas.ids import dead_letter_id

MAX_RAW_BYTES = 262_144

TOO_LARGE = "what follows from it is too large"
"""How the reason of a record begins that is legal, but leads to one that is too long to be read."""


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
