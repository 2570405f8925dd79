"""The records that an edge writes of a call, and the call that records tell of. Pure; ids are
derived, so that a record that is written again is the same.
"""

from ingest.call.types import Call, Identity
from schemas.events import CallEvent, TaskEvent
from schemas.events.calls import CallKind
from schemas.ids import call_once_id, root_id


def identity_of(task: TaskEvent, asr_profile: str) -> Identity | None:
    """The call that an `assigned` record asks for; None when it lacks what dialling needs.

    `asr_profile` is the site's default, for a task whose robot names none.
    """
    if task.call_id is None or task.edge_id is None or not task.phone:
        return None
    if task.permit_expires_at is None:
        return None
    return Identity(
        call_id=task.call_id,
        edge_id=task.edge_id,
        direction="outbound",
        tenant_id=task.tenant_id,
        task_id=task.task_id,
        customer_id=task.customer_id,
        campaign_id=task.campaign_id,
        pool=task.pool,
        robot_id=task.robot_id,
        attempt=task.attempt,
        phone=task.phone,
        playbook=task.playbook,
        playbook_version=task.playbook_version,
        asr_profile=task.asr_profile or asr_profile,
        profile=task.profile,
        profile_version=task.profile_version,
        permit_expires_at=task.permit_expires_at,
        cause_id=task.event_id,
        caller_id=task.caller_id,
        variant=task.variant,
        terms=task.terms,
        number_dials=tuple(task.number_dials),
    )


def identity_from(event: CallEvent, asr_profile: str) -> Identity | None:
    """The call that the first record of `calls.events` describes; None when it is not an edge's.

    `asr_profile` is the site's default, for a record that has none.
    """
    if event.call_id is None or event.edge_id is None or event.direction is None:
        return None
    return Identity(
        call_id=event.call_id,
        edge_id=event.edge_id,
        direction=event.direction,
        tenant_id=event.tenant_id,
        task_id=event.task_id,
        customer_id=event.customer_id,
        campaign_id=event.campaign_id,
        pool=event.pool,
        robot_id=event.robot_id,
        attempt=event.attempt or 0,
        phone=event.phone,
        playbook=event.playbook,
        playbook_version=event.playbook_version,
        asr_profile=event.asr_profile or asr_profile,
        profile=event.profile,
        profile_version=event.profile_version,
        cause_id=event.causation_id,
        caller_id=event.caller_id,
        variant=event.variant,
    )


def record(
    call: Call,
    kind: CallKind,
    event_id: str,
    now_ms: int,
    *,
    first: bool = False,
    causation_id: str | None = None,
    **fields: int | str | None,
) -> CallEvent:
    """A record of the call; the first one copies all that others need to know."""
    who = call.identity
    copied: dict[str, int | str | None] = {}
    if first:
        copied = {
            "phone": who.phone,
            "asr_profile": who.asr_profile,
            "playbook": who.playbook,
            "playbook_version": who.playbook_version,
            "profile": who.profile,
            "profile_version": who.profile_version,
            "caller_id": who.caller_id,
            "variant": who.variant,
        }
    return CallEvent.model_validate(
        {
            "event_id": event_id,
            "kind": kind,
            "occurred_at": now_ms,
            "producer": "edge",
            "causation_id": causation_id or who.cause_id,
            "tenant_id": who.tenant_id,
            "call_id": who.call_id,
            "task_id": who.task_id,
            "customer_id": who.customer_id,
            "campaign_id": who.campaign_id,
            "pool": who.pool,
            "robot_id": who.robot_id,
            "source": "edge",
            "trunk": call.trunk or None,
            "attempt": who.attempt,
            "edge_id": who.edge_id,
            "direction": who.direction,
            **copied,
            **fields,
        }
    )


def answered_by_us(call: Call, now_ms: int) -> CallEvent:
    """First record of an external call: it is answered when it reaches us."""
    event_id = call_once_id(call.identity.call_id, "answered")
    return record(call, "answered", event_id, now_ms, first=True)


def moved_to(call: Call, edge_id: str, now_ms: int) -> CallEvent:
    """The record by which an edge takes over a call of a lost one."""
    number = call.moves + 1
    event_id = root_id(call.identity.call_id, "moved", number)
    return record(call, "moved", event_id, now_ms, edge_id=edge_id, move_no=number)


def new_edge(call: Call, event: CallEvent) -> str | None:
    """The edge that goes on with the call, where a record moves it: the first of each number
    does."""
    return event.edge_id if event.kind == "moved" and event.move_no == call.moves + 1 else None
