"""Every request for a call is decided, a task takes only legal steps, and it ends once."""

from typing import Final

from schemas import ids
from schemas.events.tasks import TASK_OVER
from verify.check import Check, Context, Result
from verify.record import LogRecord

_NEXT: Final[dict[str, frozenset[str]]] = {
    "": frozenset({"queued", "refused", "expired"}),
    "queued": frozenset({"queued", "assigned", "cancelled", "refused", "failed", "expired"}),
    "assigned": frozenset(
        {"dialing", "queued", "retry_scheduled", "completed", "failed", "cancelled", "expired"}
    ),
    "dialing": frozenset({"retry_scheduled", "completed", "failed", "cancelled"}),
    "retry_scheduled": frozenset({"queued", "cancelled", "failed", "expired"}),
    **dict.fromkeys(TASK_OVER, frozenset()),
}
"""Legal next steps of a task; "" is a task without a record."""

PERMIT_SLACK_MS: Final = 60_000
"""Within this time after a permit's end dispatch notices that nobody dialled."""


class Tasks(Check):
    """Folds `tasks.requested`, `tasks.events`, and the ends of calls."""

    name = "tasks"
    title = "every request is decided, and every task ends once"
    unit = "tasks"
    topics = frozenset({"tasks.requested", "tasks.events", "calls.events"})

    def __init__(self) -> None:
        super().__init__()
        self._wishes: dict[str, LogRecord] = {}
        self._last: dict[str, LogRecord] = {}
        self._ended: dict[str, LogRecord] = {}

    def feed(self, record: LogRecord) -> None:
        if not record.first:
            return
        event = record.event
        match record.topic:
            case "calls.events":
                if event["kind"] == "ended" and event["task_id"]:
                    self._ended.setdefault(event["call_id"], record)
            case "tasks.requested":
                # The router sends a request without a customer to dead_letters.
                if event["kind"] == "requested" and event["task_id"] and event["customer_id"]:
                    self._wishes.setdefault(event["task_id"], record)
            case _ if event["task_id"]:
                self._step(event["task_id"], record)

    def _step(self, task_id: str, record: LogRecord) -> None:
        event, before = record.event, self._last.get(task_id)
        kind, last = event["kind"], "" if before is None else before.event["kind"]
        self._last[task_id] = record
        if kind not in _NEXT[last]:
            rule = "two_ends" if last in TASK_OVER and kind in TASK_OVER else "order"
            self.result.violate(
                rule,
                f"a task went from {last or 'nothing'} to {kind}",
                None if before is None else before.where,
                record.where,
                task_id=task_id,
            )
        if kind == "assigned" and event["call_id"] != ids.call_id(task_id, event["attempt"]):
            self.result.violate(
                "call_id",
                f"attempt {event['attempt']} has the call id of another",
                record.where,
                task_id=task_id,
                call_id=event["call_id"],
            )

    def finish(self, context: Context) -> Result:
        result = self.result
        result.looked_at = len(self._last.keys() | self._wishes.keys())
        due = context.due("dispatch")
        for task_id, wish in self._wishes.items():
            if task_id in self._last or not wish.judged:
                continue
            if due:
                result.violate(
                    "undecided", "a request for a call was not decided", wish.where, task_id=task_id
                )
            else:
                result.open += 1
        whole = context.whole("tasks.requested")
        over = 0
        for task_id, last in self._last.items():
            if whole and last.judged and task_id not in self._wishes:
                result.violate(
                    "unasked", "a task was made without a request", last.where, task_id=task_id
                )
            if last.event["kind"] in TASK_OVER:
                over += 1
            elif last.judged:
                self._unfinished(task_id, last, context, due)
        result.notes.append(f"{over} tasks are over")
        return result

    def _unfinished(self, task_id: str, last: LogRecord, context: Context, due: bool) -> None:
        event = last.event
        ended = self._ended.get(event["call_id"] or "")
        if event["kind"] in ("assigned", "dialing"):
            if ended is not None and ended.judged and due:
                self.result.violate(
                    "not_ended",
                    f"a task is still {event['kind']}, though its call has ended",
                    last.where,
                    ended.where,
                    task_id=task_id,
                    call_id=event["call_id"],
                )
                return
            expires = event["permit_expires_at"]
            if expires is not None and due and context.waited(expires, PERMIT_SLACK_MS):
                self.result.violate(
                    "permit_forgotten",
                    "a permit is over, nobody has dialled, and dispatch has not noticed",
                    last.where,
                    task_id=task_id,
                    call_id=event["call_id"],
                )
                return
        self.result.open += 1
