"""The status of finished calls and tasks in ClickHouse equals an independent fold of the log."""

from collections.abc import Mapping
from hashlib import md5
from typing import Any, Final

from schemas.events.tasks import TASK_OVER
from verify.check import Check, Context, Result
from verify.checksum import number, sql_number
from verify.record import LogRecord

_CALL_RANKS: Final = {
    kind: rank
    for rank, kind in enumerate(
        ("dialing", "ringing", "early_media", "answered", "bridged", "transferred", "ended")
    )
}
_CONNECTED: Final = frozenset({"answered", "bridged", "transferred"})
_UNANSWERED: Final = frozenset({"no_answer", "busy", "rejected"})
_OF_CALL: Final = (
    "task_id", "customer_id", "campaign_id", "pool", "robot_id", "edge_id", "playbook",
)  # fmt: skip
"""Fields of which the first value counts."""

_CALL: Final = (
    "call_id", "state", "started_at", "answered_at", "ended_at", "cause_q850", "cause_sip",
    "disposition", *_OF_CALL,
)  # fmt: skip
_TASK: Final = (
    "task_id", "status", "reason", "attempt", "call_id", "robot_id", "profile_version",
    "customer_id", "campaign_id", "pool", "requested_at", "updated_at", "body_sha256",
)  # fmt: skip
_TIMES: Final = frozenset({"started_at", "answered_at", "ended_at", "requested_at", "updated_at"})

Fields = dict[str, Any]


class Status(Check):
    """Folds calls and tasks; those that are over below the cut cannot change any more."""

    name = "status"
    title = "call and task status in ClickHouse equal a fold"
    unit = "calls and tasks"
    topics = frozenset({"calls.events", "tasks.requested", "tasks.events"})

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, Fields] = {}
        self._connected: set[str] = set()
        self._tasks: dict[str, Fields] = {}
        self._requests: dict[str, Fields] = {}
        self._over: dict[str, tuple[int, int]] = {}
        """Place of the record that ended a call or task, if below the cut."""

    def feed(self, record: LogRecord) -> None:
        if not record.first:
            return
        match record.topic:
            case "calls.events":
                self._call(record)
            case "tasks.events":
                self._task(record)
            case _ if record.event["kind"] == "requested" and record.event["task_id"]:
                self._requests.setdefault(record.event["task_id"], record.event)

    def _call(self, record: LogRecord) -> None:
        event = record.event
        call_id, kind = event["call_id"], event["kind"]
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = dict.fromkeys(_CALL)
            call |= {"call_id": call_id, "state": "dialing", "started_at": event["occurred_at"]}
        call["started_at"] = min(call["started_at"], event["occurred_at"])
        if kind == "answered" and call["answered_at"] is None:
            call["answered_at"] = event["occurred_at"]
        if kind in _CONNECTED:
            self._connected.add(call_id)
        if call["state"] != "ended":
            for name in _OF_CALL:
                if call[name] is None:
                    call[name] = event[name]
            rank = _CALL_RANKS.get(kind)
            if rank is not None and rank > _CALL_RANKS[call["state"]]:
                call["state"] = kind
            if kind == "ended":
                for name in ("cause_q850", "cause_sip", "disposition"):
                    call[name] = event[name]
                call["ended_at"] = event["occurred_at"]
                if record.judged:
                    self._over[call_id] = record.partition, record.offset
        elif not record.judged and (kind in _CONNECTED or event["occurred_at"] < call["ended_at"]):
            self._over.pop(call_id, None)  # ClickHouse may not have this record yet

    def _task(self, record: LogRecord) -> None:
        event = record.event
        task_id = event["task_id"]
        if not task_id:
            return
        task = self._tasks.get(task_id)
        if task is None:
            task = self._tasks[task_id] = dict.fromkeys(_TASK)
            task |= {"task_id": task_id, "attempt": 0}
        task |= {
            "status": event["kind"],
            "reason": event["reason"],
            "attempt": max(task["attempt"], event["attempt"]),
            "updated_at": event["occurred_at"],
        }
        for name in ("call_id", "robot_id", "profile_version"):
            if event[name] is not None:
                task[name] = event[name]
        for name in ("customer_id", "campaign_id", "pool"):
            if task[name] is None:
                task[name] = event[name]
        if record.judged and event["kind"] in TASK_OVER:
            self._over[task_id] = record.partition, record.offset

    def questions(self, context: Context) -> Mapping[str, str]:
        if "status/calls" in context.answers:
            return {}
        over = ", ".join(f"'{status}'" for status in sorted(TASK_OVER))
        return {
            "status/calls": _query("calls", _CALL, "state = 'ended'"),
            "status/tasks": _query("tasks", _TASK, f"status IN ({over})"),
        }

    def finish(self, context: Context) -> Result:
        for task_id, request in self._requests.items():
            task = self._tasks.get(task_id)
            if task is not None:
                # The request is older than every decision.
                for name in ("customer_id", "campaign_id", "pool"):
                    task[name] = request[name] if request[name] is not None else task[name]
                task |= {
                    "requested_at": request["occurred_at"], "body_sha256": request["body_sha256"],
                }  # fmt: skip
        for call_id, call in self._calls.items():
            if call["answered_at"] is not None and call["ended_at"] is not None:
                call["answered_at"] = min(call["answered_at"], call["ended_at"])
            if call_id in self._connected and call["disposition"] in _UNANSWERED:
                call["disposition"] = "abandoned"
        self._compare("calls.events", "calls", _CALL, self._calls, context)
        self._compare("tasks.events", "tasks", _TASK, self._tasks, context)
        return self.result

    def _compare(
        self,
        topic: str,
        view: str,
        names: tuple[str, ...],
        folded: Mapping[str, Fields],
        context: Context,
    ) -> None:
        if not context.whole(topic):
            self.result.notes.append(f"{view} not judged: the log no longer holds all of {topic}")
            return
        there = {row[0]: int(row[1]) for row in context.answers.get(f"status/{view}", ())}
        one = names[0].removesuffix("_id")
        for this, fields in folded.items():
            at = self._over.get(this)
            if at is None or at[1] >= context.kept.get((topic, at[0]), 0):
                self.result.open += 1
                continue
            self.result.looked_at += 1
            found = there.get(md5(this.encode(), usedforsecurity=False).hexdigest())
            where, named = f"{topic}/{at[0]}@{at[1]}", {names[0]: this}
            if found is None:
                self.result.violate(
                    "missing",
                    f"a {one} that has ended is still open in view {view}",
                    where,
                    **named,
                )
            elif found != number("|".join(str(fields[name]) for name in names)):
                self.result.violate(
                    "differs", f"a {one} in view {view} differs from its fold", where, **named
                )


def _query(view: str, names: tuple[str, ...], where: str) -> str:
    text = ", '|', ".join(
        f"ifNull(toString(toUnixTimestamp64Milli({name})), 'None')"
        if name in _TIMES
        else f"ifNull(toString({name}), 'None')"
        for name in names
    )
    key = f"lower(hex(MD5({names[0]})))"
    return f"SELECT {key}, {sql_number(f'concat({text})')} FROM {view} WHERE {where}"
