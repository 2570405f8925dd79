"""No dial without a valid permit, and none twice."""

from typing import NamedTuple

from verify.check import Check, Context, Result
from verify.record import LogRecord


class _Permit(NamedTuple):
    """An `assigned` record."""

    event_id: str
    edge_id: str | None
    phone: str | None
    expires_at: int | None
    where: str


def dialled_by_us(event: dict[str, object]) -> bool:
    """Whether a record of `calls.events` says that an edge of ours dials."""
    return event["kind"] == "dialing" and event["source"] == "edge"


class Permits(Check):
    """Folds `assigned` of `tasks.events`, and `dialing` of our edges."""

    name = "permits"
    title = "no dial without a valid permit, none twice"
    unit = "dials"
    topics = frozenset({"calls.events", "tasks.events"})

    def __init__(self) -> None:
        super().__init__()
        self._permits: dict[str, _Permit] = {}
        self._dials: dict[str, LogRecord] = {}
        self._attempts: dict[tuple[str, int], LogRecord] = {}

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if record.topic == "tasks.events":
            if event["kind"] == "assigned" and event["call_id"] and record.first:
                self._assigned(record)
        elif dialled_by_us(event):
            if record.first:
                self._dialled(record)
            else:
                self.result.repeats += 1

    def _assigned(self, record: LogRecord) -> None:
        event = record.event
        permit = _Permit(
            event["event_id"], event["edge_id"], event["phone"], event["permit_expires_at"],
            record.where,
        )  # fmt: skip
        before = self._permits.setdefault(event["call_id"], permit)
        if before is not permit:
            self.result.violate(
                "assigned_twice",
                "a call has two permits of different ids",
                before.where,
                permit.where,
                call_id=event["call_id"],
                task_id=event["task_id"],
            )

    def _dialled(self, record: LogRecord) -> None:
        event = record.event
        call_id = event["call_id"]
        before = self._dials.setdefault(call_id, record)
        if before is not record:
            self.result.violate(
                "dialled_twice",
                "a call was dialled twice",
                before.where,
                record.where,
                call_id=call_id,
                task_id=event["task_id"],
            )
            return
        if event["task_id"] is None or event["attempt"] is None:
            return
        attempt = (event["task_id"], event["attempt"])
        other = self._attempts.setdefault(attempt, record)
        if other is not record:
            self.result.violate(
                "attempt_twice",
                f"attempt {attempt[1]} of a task was dialled as two calls",
                other.where,
                record.where,
                call_id=call_id,
                task_id=attempt[0],
            )

    def finish(self, context: Context) -> Result:
        whole = context.whole("tasks.events")
        for call_id, dialling in self._dials.items():
            if dialling.judged:
                self.result.looked_at += 1
                self._judge(call_id, dialling, whole)
        return self.result

    def _judge(self, call_id: str, dialling: LogRecord, whole: bool) -> None:
        event, permit = dialling.event, self._permits.get(call_id)
        ids = {"call_id": call_id, "task_id": event["task_id"]}
        if permit is None:
            if whole:
                self.result.violate(
                    "no_permit", "a call was dialled without a permit", dialling.where, **ids
                )
            return
        late_ms = event["occurred_at"] - (permit.expires_at or 0)
        if late_ms > 0:
            self.result.violate(
                "permit_over",
                f"a call was dialled {late_ms} ms after its permit was over",
                permit.where,
                dialling.where,
                **ids,
            )
        if event["edge_id"] != permit.edge_id:
            self.result.violate(
                "other_edge",
                f"edge {event['edge_id']} dialled with a permit for {permit.edge_id}",
                permit.where,
                dialling.where,
                **ids,
            )
        if event["phone"] != permit.phone:
            self.result.violate(
                "other_number",
                "the number that was dialled is not the permit's",
                permit.where,
                dialling.where,
                **ids,
            )
