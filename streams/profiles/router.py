"""Copies the inputs of profiles into `profiles.inbox`; stateless, with derived ids."""

from collections.abc import Iterable
from typing import Literal

from schemas.envelope import Event
from schemas.events import CallEvent, ProfileInbox
from schemas.ids import event_id
from schemas.text import to_line
from schemas.wire import Poison

PRODUCER = "profiles"
INBOX = "profiles.inbox"
Kind = Literal["request", "change", "turn", "ended", "optout", "came_in"]

MAX_REQUEST_BYTES = 7_000
"""Longest request, as JSON text: with a profile it must fit dispatch's limit."""

KINDS: dict[str, Kind] = {
    "tasks.requested": "request",
    "customers.changes": "change",
    "dialogue.turns": "turn",
    "calls.events": "ended",
    "compliance.optouts": "optout",
}
"""Inbox kind by source topic."""


def copies(source_topic: str, event: Event, _offset: int = 0) -> Iterable[tuple[str, Event]]:
    """The inbox record of an event, if it concerns a known customer's profile.

    Raises Poison for a request that names no customer or task, or is too long for dispatch.
    """
    if source_topic == "tasks.requested" and not (event.customer_id and event.task_id):
        raise Poison("a request needs customer_id and task_id")
    kind = KINDS[source_topic]
    if source_topic == "calls.events" and event.kind != "ended":
        if not _comes_in(event):
            return
        kind = "came_in"
    if not event.customer_id:
        return
    body = to_line(source_topic, event)
    if source_topic == "tasks.requested" and len(body.encode()) > MAX_REQUEST_BYTES:
        raise Poison(f"a request of {len(body.encode())} bytes; at most {MAX_REQUEST_BYTES}")
    record = ProfileInbox(
        event_id=event_id(event.event_id, "inbox"),
        kind=kind,
        occurred_at=event.occurred_at,
        producer=PRODUCER,
        causation_id=event.event_id,
        tenant_id=event.tenant_id,
        call_id=event.call_id,
        task_id=event.task_id,
        customer_id=event.customer_id,
        campaign_id=event.campaign_id,
        pool=event.pool,
        robot_id=event.robot_id,
        source_topic=source_topic,
        body=body,
    )
    yield INBOX, record


def _comes_in(event: Event) -> bool:
    """Whether a customer has called us, and is to be served with their profile."""
    return isinstance(event, CallEvent) and (event.kind, event.direction) == ("answered", "inbound")
