"""Records for tests of profiles, and the fold of some of them."""

from itertools import count
from typing import Any

from schemas import ids
from schemas.envelope import Event
from schemas.events import CallEvent, CustomerChange, OptOut, ProfileInbox, TaskRequested, Turn
from schemas.phone import Numbers
from streams.profiles.fold import Output, decide, evolve, parse
from streams.profiles.router import copies
from streams.profiles.state import Customer

NUMBERS = Numbers("CN", b"k" * 64)
PHONE = "+8613812345678"
_ids = count()

TOPIC = {
    CustomerChange: "customers.changes", TaskRequested: "tasks.requested",
    Turn: "dialogue.turns", CallEvent: "calls.events", OptOut: "compliance.optouts",
}  # fmt: skip


def envelope(**values: Any) -> dict[str, Any]:
    return {
        "event_id": ids.root_id("test", next(_ids)), "occurred_at": 1_000, "producer": "test",
        "customer_id": "c1", **values,
    }  # fmt: skip


def change(**values: Any) -> CustomerChange:
    return CustomerChange.model_validate(envelope(**{"kind": "upserted", "source": "crm"} | values))


def asked(**values: Any) -> TaskRequested:
    base = {"kind": "requested", "task_id": "t1", "pool": "sales", "body_sha256": ""}
    return TaskRequested.model_validate(envelope(**{**base, "phone": PHONE, **values}))


def turn(**values: Any) -> Turn:
    base = {"input_kind": "final", "input_event_id": ids.root_id("i"), "node": "n", "text": "好"}
    return Turn.model_validate(envelope(**{**base, "call_id": "call-1", "confidence": 1, **values}))


def ended(call_id: str = "call-1", **values: Any) -> CallEvent:
    return CallEvent.model_validate(
        envelope(**{"kind": "ended", "call_id": call_id, "disposition": "completed", **values})
    )


def inbox(event: Event) -> ProfileInbox:
    ((_, record),) = copies(TOPIC[type(event)], event)
    assert isinstance(record, ProfileInbox)
    return record


def live(*events: Event, customer: Customer | None = None) -> tuple[Customer, list[Output]]:
    """The customer after these events, and what followed from the last."""
    customer, out = customer or Customer(), list[Output]()
    for event in events:
        record = parse(inbox(event), NUMBERS)
        before, customer = customer, evolve(customer, record)
        out = decide(before, customer, record)
    return customer, out
