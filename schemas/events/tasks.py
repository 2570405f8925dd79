"""Calls that somebody wants made, and the inboxes that decide about them."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event, Millis

Priority = Literal["high", "medium", "low"]


class TaskRequested(Event):
    """`tasks.requested`: a call that somebody wants made, or its cancellation."""

    kind: Literal["requested", "cancel"]
    body_sha256: str
    phone: str | None = None
    priority: Priority = "medium"
    skills: dict[str, int] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    playbook: str | None = None
    not_before: Millis | None = None
    deadline: Millis | None = None
    idempotency_key: str | None = None


class TaskEvent(Event):
    """`tasks.events`: what became of a task. `assigned` carries all that the edge needs."""

    kind: Literal[
        "queued", "assigned", "dialing", "retry_scheduled", "completed", "failed", "cancelled",
        "refused", "expired",
    ]  # fmt: skip
    reason: str | None = None
    attempt: int = 0
    profile_version: int | None = None
    permit_expires_at: Millis | None = None
    edge_id: str | None = None
    phone: str | None = None
    playbook: str | None = None
    playbook_version: str | None = None
    asr_profile: str | None = None
    profile: str | None = Field(None, description="The profile snapshot, JSON text")
    retry_at: Millis | None = None
    priority: Priority | None = None


class ProfileInbox(Event):
    """`profiles.inbox`: all that a customer's profile is folded from, in one order.

    `body` is the source event as JSON text; `kind` is what it is: request, change, turn, ended.
    """

    kind: Literal["request", "change", "turn", "ended"]
    source_topic: str
    body: str


class DispatchInbox(Event):
    """`dispatch.inbox`: all that dispatch decides on, in one order per pool.

    `body` is the source event as JSON text where there is one. Its Kafka timestamp (LogAppendTime)
    is dispatch's clock.
    """

    kind: Literal[
        "request", "cancel", "profile", "opted_out", "call", "calls_alive", "robot", "edge",
        "worker", "timer",
    ]  # fmt: skip
    source_topic: str | None = None
    body: str | None = None
    call_ids: list[str] = Field(default_factory=list, description="calls_alive: calls in progress")
    edge_id: str | None = None
    timer: str | None = Field(None, description="timer: its name")
    due_at: Millis | None = None
