"""Records in and out of the job, without Flink: bytes to the fields needed, results to bytes.

Nothing here raises on bad bytes: what cannot be read gives a reason for `dead_letters`. A registry
that does not answer does raise (RegistryError): good records must wait for it, not be given up.
"""

from dataclasses import dataclass

from ringlog.kafka import dead_letters
from ringlog.kafka.reader import check_partition
from schemas.events import IntentWindow, Turn
from schemas.wire import Codec, Poison

SOURCE = "dialogue.turns"
TICKS = "analytics.ticks"
WINDOWS = "analytics.intent_windows"
DEAD_LETTERS = "dead_letters"

JOB = "intent_windows"
"""Name of the job in window ids, behind the tenant and a slash."""

PRODUCER = "analytics"
"""Producer of what the job writes."""


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """The fields of a record that the job needs; poison has only a `reason`."""

    reason: str | None = None
    event_id: str | None = None
    occurred_ms: int | None = None
    tenant_id: str | None = None
    campaign_id: str | None = None
    call_id: str | None = None
    input_kind: str | None = None
    intent: str | None = None


def read_record(codec: Codec, partition: int, value: bytes | None) -> ReadRecord:
    """The fields of a turn, or the reason why the record is poison; raises RegistryError."""
    try:
        event = codec.decode(SOURCE, value)
        check_partition(SOURCE, event, partition)
    except Poison as poison:
        return ReadRecord(reason=str(poison))
    assert isinstance(event, Turn), "the codec gives the topic's model"
    return ReadRecord(
        event_id=event.event_id,
        occurred_ms=event.occurred_at,
        tenant_id=event.tenant_id,
        campaign_id=event.campaign_id,
        call_id=event.call_id,
        input_kind=event.input_kind,
        intent=event.intent,
    )


def intent_window(
    event_id: str,
    tenant_id: str,
    campaign: str,
    intent: str,
    size_s: int,
    start_ms: int,
    count: int,
    calls: int,
    revision: int,
) -> IntentWindow:
    """The event of a window's revision. It occurred when the window ended, so that processing the
    same turns twice gives the same bytes."""
    end_ms = start_ms + size_s * 1_000
    return IntentWindow(
        event_id=event_id,
        occurred_at=end_ms,
        producer=PRODUCER,
        tenant_id=tenant_id,
        campaign_id=campaign or None,
        window_start=start_ms,
        window_end=end_ms,
        intent=intent,
        count=count,
        calls=calls,
        revision=revision,
    )


def intent_window_value(codec: Codec, window: IntentWindow) -> bytes:
    """The record value of a window, framed with the id of our registered schema."""
    return codec.encode(WINDOWS, window)


def dead_letter_value(
    codec: Codec,
    topic: str,
    partition: int,
    offset: int,
    reason: str,
    value: bytes | None,
    at_ms: int,
) -> bytes:
    """The record value of a dead letter."""
    letter = dead_letters.dead_letter(
        PRODUCER, topic, partition, offset, reason, value, max(at_ms, 0)
    )
    return codec.encode(DEAD_LETTERS, letter)
