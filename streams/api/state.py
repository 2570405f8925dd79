"""Call and task status, folded from the log. Pure: no clock, no I/O."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from ringlog.dispositions import CONNECTED, UNANSWERED
from schemas.events import CallEvent, TaskEvent, TaskRequested

CallState = Literal[
    "dialing", "ringing", "early_media", "answered", "bridged", "transferred", "ended",
]  # fmt: skip

CALL_STATES: tuple[str, ...] = get_args(CallState)
"""States in the order in which a call can only move forward."""

TaskState = Literal[
    "queued", "assigned", "dialing", "retry_scheduled", "completed", "failed", "cancelled",
    "refused", "expired",
]  # fmt: skip
"""What the newest record of a task says."""

_RANK = {state: n for n, state in enumerate(CALL_STATES)}


class CallStatus(BaseModel):
    """Where a call stands. Times are milliseconds since 1970 UTC.

    `version` counts the events that changed it.
    """

    model_config = ConfigDict(frozen=True)

    call_id: str
    state: CallState = "dialing"
    task_id: str | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    robot_id: str | None = None
    started_at: int | None = None
    answered_at: int | None = None
    ended_at: int | None = None
    cause_q850: int | None = None
    disposition: str | None = None
    version: int = 0
    connected: SkipJsonSchema[bool] = Field(False, exclude=True)
    """Whether any record says that somebody answered."""


def evolve_call(status: CallStatus | None, event: CallEvent) -> CallStatus:
    """Folds in one event; a late one never moves a call back, but fills in what no other told.

    `started_at` is the earliest time of all records, `answered_at` that of the first `answered`,
    wherever it lies; the first `ended` counts. Times never run backwards: an answer reported later
    than the end counts as at the end.
    """
    old = status or CallStatus(call_id=event.call_id or "", started_at=event.occurred_at)
    over = old.state == "ended"
    changes: dict[str, Any] = {}
    if not over:
        changes |= {
            name: getattr(event, name)
            for name in ("task_id", "customer_id", "campaign_id", "pool", "robot_id")
            if getattr(old, name) is None and getattr(event, name) is not None
        }
    rank = _RANK.get(event.kind)
    if rank is not None and (status is None or rank > _RANK[old.state]):
        changes["state"] = event.kind
    if old.started_at is None or event.occurred_at < old.started_at:
        changes["started_at"] = event.occurred_at
    if event.kind == "answered" and old.answered_at is None:
        changes["answered_at"] = event.occurred_at
    if event.kind in CONNECTED and not old.connected:
        changes["connected"] = True
    if event.kind == "ended" and not over:
        changes |= {
            "ended_at": event.occurred_at,
            "cause_q850": event.cause_q850,
            "disposition": event.disposition,
        }
    made = old.model_copy(update=changes)
    if made.ended_at is not None and (made.answered_at or 0) > made.ended_at:
        changes["answered_at"] = made.ended_at
    if made.connected and made.disposition in UNANSWERED:
        changes["disposition"] = "abandoned"
    if status is not None and not changes:
        return old
    return old.model_copy(update={**changes, "version": old.version + 1})


class TaskStatus(BaseModel):
    """Where a task stands. Times are milliseconds since 1970 UTC."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: TaskState = "queued"
    reason: str | None = None
    call_id: str | None = None
    robot_id: str | None = None
    attempt: int = 0
    profile_version: int | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    requested_at: int | None = None
    updated_at: int | None = None
    body_sha256: SkipJsonSchema[str | None] = None

    @property
    def settled(self) -> bool:
        """Whether this answers a waiting caller."""
        return self.status in ("assigned", "refused", "failed", "expired", "cancelled")


def evolve_task(status: TaskStatus | None, event: TaskRequested | TaskEvent) -> TaskStatus:
    """Folds in one event; requests and decisions of the two topics may come in any order."""
    old = status or TaskStatus(task_id=event.task_id or "")
    changes: dict[str, object] = {
        name: getattr(event, name)
        for name in ("customer_id", "campaign_id", "pool")
        if getattr(old, name) is None and getattr(event, name) is not None
    }
    if isinstance(event, TaskRequested):
        if event.kind == "requested" and old.body_sha256 is None:
            changes |= {"body_sha256": event.body_sha256, "requested_at": event.occurred_at}
        return old.model_copy(update=changes)
    changes |= {
        "status": event.kind,
        "reason": event.reason,
        "attempt": max(old.attempt, event.attempt),
        "updated_at": event.occurred_at,
    }
    for name in ("call_id", "robot_id", "profile_version"):
        if getattr(event, name) is not None:
            changes[name] = getattr(event, name)
    return old.model_copy(update=changes)


class Board:
    """All calls and tasks of the folded span; the first record of an id counts.

    Keeps at most `limit` calls and as many tasks, the newest; older ones are in ClickHouse.
    """

    def __init__(self, limit: int = 500_000) -> None:
        self.calls: OrderedDict[str, CallStatus] = OrderedDict()
        self.tasks: OrderedDict[str, TaskStatus] = OrderedDict()
        self._seen: dict[str, set[str]] = {}
        self._limit = limit

    def apply(self, event: CallEvent | TaskRequested | TaskEvent) -> bool:
        """Folds an event in; False when it has no effect (no id, or seen before)."""
        if isinstance(event, CallEvent):
            key = event.call_id
            if not key or not self._first(key, event.event_id):
                return False
            self.calls[key] = evolve_call(self.calls.get(key), event)
            self._trim(self.calls)
        else:
            key = event.task_id
            if not key or not self._first(key, event.event_id):
                return False
            self.tasks[key] = evolve_task(self.tasks.get(key), event)
            self._trim(self.tasks)
        return True

    def sort_calls(self) -> None:
        """Sorts calls by their beginning, since partitions are read in parallel."""
        self.calls = OrderedDict(sorted(self.calls.items(), key=lambda c: c[1].started_at or 0))

    def keep(self, older: "Board") -> None:
        """Takes over the calls and tasks that this board lacks, because the log no longer has their
        records."""
        for call_id in reversed(older.calls):
            if call_id not in self.calls:
                self.calls[call_id] = older.calls[call_id]
                self._seen[call_id] = older._seen.get(call_id, set())
                self.calls.move_to_end(call_id, last=False)
        for task_id in reversed(older.tasks):
            if task_id not in self.tasks:
                self.tasks[task_id] = older.tasks[task_id]
                self._seen[task_id] = older._seen.get(task_id, set())
                self.tasks.move_to_end(task_id, last=False)

    def newest_calls(
        self, state: str | None = None, before: str | None = None
    ) -> Iterator[CallStatus]:
        """Calls, the newest first, optionally of one state, from behind call `before`."""
        skipping = before is not None and before in self.calls
        for key in reversed(self.calls):
            if skipping:
                skipping = key != before
                continue
            call = self.calls[key]
            if state is None or call.state == state:
                yield call

    def _first(self, key: str, event_id: str) -> bool:
        seen = self._seen.setdefault(key, set())
        if event_id in seen:
            return False
        seen.add(event_id)
        return True

    def _trim(self, index: "OrderedDict[str, CallStatus] | OrderedDict[str, TaskStatus]") -> None:
        while len(index) > self._limit:
            key, _ = index.popitem(last=False)
            self._seen.pop(key, None)
