"""Calls that somebody wants made, and the inboxes that decide about them."""

from typing import Final, Literal

from pydantic import Field

from schemas.envelope import Event, Millis

Priority = Literal["high", "medium", "low"]

TASK_OVER: Final = frozenset({"completed", "failed", "cancelled", "refused", "expired"})
"""Kinds of `TaskEvent` after which a task is over."""


class TaskRequested(Event):
    """`tasks.requested`: a call that somebody wants made, or its cancellation."""

    kind: Literal["requested", "cancel"]
    body_sha256: str = Field(description="Digest of the request's body")
    phone: str | None = Field(None, description="Number to call")
    priority: Priority = Field("medium", description="How urgent")
    skills: dict[str, int] = Field(default_factory=dict, description="Levels that the robot needs")
    tags: list[str] = Field(default_factory=list, description="Labels")
    playbook: str | None = Field(None, description="Script")
    not_before: Millis | None = Field(None, description="Not to be called earlier")
    deadline: Millis | None = Field(None, description="Not to be called later")
    idempotency_key: str | None = Field(None, description="Key of the request")
    dials: int = Field(
        0, description="Dials of the contact before it, which count to the budget", ge=0
    )
    reason: str | None = Field(None, description="cancel: why, in a word")


class TaskEvent(Event):
    """`tasks.events`: what became of a task. `assigned` carries all that the edge needs."""

    kind: Literal[
        "queued", "assigned", "dialing", "retry_scheduled", "completed", "failed", "cancelled",
        "refused", "expired",
    ]  # fmt: skip
    reason: str | None = Field(None, description="Why")
    attempt: int = Field(0, description="Which try")
    profile_version: int | None = Field(None, description="Version of the snapshot")
    permit_expires_at: Millis | None = Field(None, description="The edge must dial before it")
    edge_id: str | None = Field(None, description="Edge that dials")
    phone: str | None = Field(None, description="Number to dial")
    playbook: str | None = Field(None, description="Script")
    playbook_version: str | None = Field(None, description="Its version")
    asr_profile: str | None = Field(None, description="Recogniser")
    profile: str | None = Field(None, description="The profile snapshot, JSON text")
    retry_at: Millis | None = Field(None, description="When it is tried again")
    priority: Priority | None = Field(None, description="How urgent")
    caller_id: str | None = Field(None, description="Number that the customer is to see")
    variant: str | None = Field(None, description="Wordings that lead the call")
    terms: str | None = Field(
        None, description="Of assigned: the campaign's version by which the number may be called"
    )
    number_dials: list[Millis] = Field(
        default_factory=list, description="Of assigned: when the number was dialled lately"
    )


class ProfileInbox(Event):
    """`profiles.inbox`: all that a customer's profile is folded from, in one order.

    `body` is the source event as JSON text; `kind` is what it is. Of a customer who was merged into
    another, records go on to that one, and so does all that was known of them (`absorbed`).
    """

    kind: Literal["request", "change", "turn", "ended", "optout", "absorbed", "came_in"]
    source_topic: str = Field(description="Topic of the source event")
    body: str = Field(description="The source event, JSON text; absorbed: what was known")
    via: list[str] = Field(
        default_factory=list, description="Merged customers by whom the record came, in order"
    )


class DispatchInbox(Event):
    """`dispatch.inbox`: all that dispatch decides on, in one order per pool.

    `body` is the source event as JSON text where there is one. Its Kafka timestamp (LogAppendTime)
    is dispatch's clock.
    """

    kind: Literal[
        "request", "cancel", "profile", "opted_out", "opted_in", "call", "calls_alive", "robot",
        "edge", "worker", "timer", "settings", "campaign",
    ]  # fmt: skip
    source_topic: str | None = Field(None, description="Topic of the source event")
    body: str | None = Field(None, description="The source event, JSON text")
    call_ids: list[str] = Field(default_factory=list, description="calls_alive: calls in progress")
    edge_id: str | None = Field(None, description="calls_alive: the edge that reports")
    timer: str | None = Field(None, description="timer: its name")
    due_at: Millis | None = Field(None, description="timer: when it was due")
