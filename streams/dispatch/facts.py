"""The events that dispatch writes.

A task event's id derives from the record that concerned just this task. If something else caused
the event (a robot became idle, a number opted out), the id derives from the task's own last event.
So a record that is processed again, or is in the inbox twice, never gives one id to two facts.
"""

from typing import Literal

from schemas.envelope import Event
from schemas.events import CallEvent, TaskEvent, TaskRequested
from schemas.ids import call_once_id, event_id
from streams.dispatch.task import Task

PRODUCER = "dispatch"
TASKS = "tasks.events"
CALLS = "calls.events"

Output = tuple[str, Event]
"""(topic, event)."""


def task_event(
    task: Task, pool: str, kind: str, at_ms: int, cause: str | None = None, **fields: object
) -> Output:
    """One step of a task; it becomes the task's last event."""
    cause = cause or task.last_event_id
    event = TaskEvent.model_validate(
        {
            "event_id": event_id(cause, kind),
            "kind": kind,
            "occurred_at": at_ms,
            "producer": PRODUCER,
            "causation_id": cause,
            "tenant_id": task.tenant_id,
            "call_id": task.call_id,
            "task_id": task.task_id,
            "customer_id": task.customer_id,
            "campaign_id": task.campaign_id,
            "pool": pool,
            "robot_id": task.robot_id,
            "attempt": task.attempt,
            "priority": task.priority,
            "profile_version": task.profile_version,
            **fields,
        }
    )
    task.last_event_id = event.event_id
    return TASKS, event


def refusal(
    request: TaskRequested, pool: str, kind: str, reason: str, at_ms: int, cause: str
) -> Output:
    """A request that does not become a task: `refused`, or `expired` on arrival."""
    event = TaskEvent.model_validate(
        {
            "event_id": event_id(cause, kind),
            "kind": kind,
            "occurred_at": at_ms,
            "producer": PRODUCER,
            "causation_id": cause,
            "tenant_id": request.tenant_id,
            "task_id": request.task_id,
            "customer_id": request.customer_id,
            "campaign_id": request.campaign_id,
            "pool": pool,
            "reason": reason,
            "priority": request.priority,
        }
    )
    return TASKS, event


def call_ended(task: Task, pool: str, at_ms: int, cause: str) -> Output:
    """The end of a call without a sign of life; it counts unless another `ended` was first."""
    event_id = call_once_id(task.call_id or "", "ended")
    return _of_call(task, pool, "ended", event_id, at_ms, cause, "failed")


def call_withdrawn(task: Task, pool: str, at_ms: int, cause: str) -> Output:
    """The task of a call is cancelled: whoever has the call ends it."""
    return _of_call(task, pool, "withdrawn", event_id(cause, "withdrawn"), at_ms, cause)


def _of_call(
    task: Task,
    pool: str,
    kind: Literal["ended", "withdrawn"],
    event_id: str,
    at_ms: int,
    cause: str,
    disposition: str | None = None,
) -> Output:
    event = CallEvent(
        event_id=event_id,
        kind=kind,
        occurred_at=at_ms,
        producer=PRODUCER,
        causation_id=cause,
        tenant_id=task.tenant_id,
        call_id=task.call_id,
        task_id=task.task_id,
        customer_id=task.customer_id,
        campaign_id=task.campaign_id,
        pool=pool,
        robot_id=task.robot_id,
        source=PRODUCER,
        attempt=task.attempt,
        edge_id=task.edge_id,
        disposition=disposition,
    )
    return CALLS, event
