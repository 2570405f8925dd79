"""Results for the CRM: what came of calls and tasks, and who must not be called. Pure."""

from dataclasses import dataclass
from typing import Any

import orjson

from schemas import ids
from schemas.envelope import Event
from schemas.events import CallEvent, CrmDelivery, OptOut, TaskEvent
from schemas.events.tasks import TASK_OVER
from schemas.text import iso_of_ms

TOPICS = ("calls.events", "tasks.events", "compliance.optouts")
"""What results are made from."""

PRODUCER = "crm"


@dataclass(frozen=True, slots=True)
class CrmResult:
    """One thing to tell. The id is derived: a repeat has the same. Of results with one `order` the
    earlier is told first."""

    result_id: str
    kind: str
    order: str
    event: Event
    body: bytes


def result_of(event: Event) -> CrmResult | None:
    """What an event is for the CRM; None for nothing. Numbers are never told."""
    match event:
        case CallEvent(kind="ended"):
            return _result("call.ended", event, {
                "disposition": event.disposition, "cause_q850": event.cause_q850,
                "direction": event.direction, "attempt": event.attempt,
                "profile_version": event.profile_version,
            })  # fmt: skip
        case TaskEvent() if event.kind in TASK_OVER:
            return _result(f"task.{event.kind}", event, {
                "reason": event.reason, "attempt": event.attempt,
            })  # fmt: skip
        case OptOut():
            return _result(f"customer.{event.kind}", event, {
                "phone_hash": event.phone_hash, "scope": event.scope, "reason": event.reason,
                "source": event.source, "actor": event.actor,
            })  # fmt: skip
    return None


def _result(kind: str, event: Event, data: dict[str, Any]) -> CrmResult:
    named = {
        "call_id": event.call_id, "task_id": event.task_id, "customer_id": event.customer_id,
        "campaign_id": event.campaign_id, "tenant_id": event.tenant_id, "pool": event.pool,
        "robot_id": event.robot_id,
    }  # fmt: skip
    result_id = ids.event_id(event.event_id, "result")
    content = {
        "type": kind,
        "id": result_id,
        "timestamp": iso_of_ms(event.occurred_at),
        "data": {name: value for name, value in (named | data).items() if value is not None},
    }
    order = event.phone_hash if isinstance(event, OptOut) else event.task_id or event.call_id
    return CrmResult(result_id, kind, order or result_id, event, orjson.dumps(content))


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try went."""

    kind: str
    status: int | None = None
    reason: str | None = None


def outcome_of_status(status: int) -> Tried:
    """What an answer's HTTP status says: only a client error that time does not mend is a refusal
    (RFC 9110 section 15.5; 408, 425 and 429 ask for another try)."""
    if 200 <= status < 300:
        return Tried("delivered", status)
    if 400 <= status < 500 and status not in (401, 403, 404, 408, 409, 425, 429):
        return Tried("refused", status, f"HTTP {status}")
    return Tried("failed", status, f"HTTP {status}")


def pause_s(failures: int) -> float:
    """Before the next try: 0.5 s, doubled up to a minute."""
    return min(60.0, 0.5 * 2.0 ** min(failures, 10))


def delivery_of(
    result: CrmResult, destination: str, outcome: Tried, attempt: int, at_ms: int, took_ms: int
) -> CrmDelivery:
    """The record of a try. A confirmed delivery is recorded once."""
    name = f"{destination}/{outcome.kind}"
    n = attempt if outcome.kind == "failed" else 0
    return CrmDelivery.model_validate({
        "event_id": ids.event_id(result.result_id, name, n), "kind": outcome.kind,
        "occurred_at": at_ms, "producer": PRODUCER, "causation_id": result.event.event_id,
        "tenant_id": result.event.tenant_id, "call_id": result.event.call_id,
        "task_id": result.event.task_id, "customer_id": result.event.customer_id,
        "campaign_id": result.event.campaign_id, "destination": destination,
        "result_id": result.result_id, "result": result.kind, "attempt": attempt,
        "status": outcome.status, "reason": outcome.reason, "took_ms": took_ms,
    })  # fmt: skip
