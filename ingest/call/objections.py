"""Why a call is not dialled after all, and for how long nobody spoke in one that was. Pure."""

from dataclasses import replace

from ingest.call.types import (
    Q850_NO_CIRCUIT,
    Q850_REJECTED,
    Q850_TEMPORARY_FAILURE,
    Q850_USER_BUSY,
    Call,
    NumberChecked,
)
from ringlog.dispositions import (
    EDGE_FULL,
    EDGE_STOPPING,
    NUMBER_IN_CALL,
    PROMPT_MISSING,
    UNLAWFUL,
)
from schemas.events import CallEvent


def objection(number: NumberChecked) -> tuple[str, int] | None:
    """(disposition, Q.850 cause) of what speaks against dialling; None: nothing does. What is not
    known speaks against it."""
    for speaks_against, disposition, cause in (
        (number.opted_out is None, "failed", Q850_TEMPORARY_FAILURE),
        (number.opted_out, "opted_out", Q850_REJECTED),
        (number.unlawful is not None, UNLAWFUL, Q850_REJECTED),
        (number.in_call, NUMBER_IN_CALL, Q850_USER_BUSY),
        (number.stopping, EDGE_STOPPING, Q850_TEMPORARY_FAILURE),
        (number.full, EDGE_FULL, Q850_NO_CIRCUIT),
        (number.mute, PROMPT_MISSING, Q850_TEMPORARY_FAILURE),
    ):
        if speaks_against:
            return disposition, cause
    return None


def heard(call: Call, event: CallEvent) -> Call:
    """The call after a record of what its parties heard, before anybody spoke to the customer."""
    if event.kind == "amd":
        return replace(call, greeted_at_ms=event.occurred_at)
    return replace(call, spoke_at_ms=event.occurred_at)


def silent_ms(call: Call, now_ms: int) -> int | None:
    """For how long nobody spoke to the customer, after their greeting where that was heard, else
    after the answer. None where nobody answered, or where another edge may have spoken."""
    if call.answered_at_ms is None or (call.spoke_at_ms is None and call.moves):
        return None
    since = max(call.answered_at_ms, call.greeted_at_ms or 0)
    return max(0, (call.spoke_at_ms or now_ms) - since)
