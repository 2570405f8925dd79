"""Who asked to be called again is called, at the time they named, once."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ringlog.campaigns.callbacks import LONGEST, callback_of
from ringlog.law.places import NoPlace, place_of
from schemas.events.dialogue import REPROMPT
from schemas.ids import task_id
from streams.campaigns.callbacks import OUTCOME, TAG
from streams.campaigns.release import PRODUCER
from verify.check import Check, Context, Result
from verify.record import LogRecord

GRACE_MS: Final = 60_000
"""How long the service `campaigns` may take: it has no committed offset."""

_LONGEST_MS: Final = int(LONGEST.total_seconds() * 1_000)

Words = tuple[int, str, dict[str, str]]
"""When something was said (ms), the text, and the slots of its turn."""


@dataclass(slots=True)
class _Call:
    """What is known of a call. `outcome` is its last one; what was not understood is none."""

    began: dict[str, Any] | None = None
    ended: LogRecord | None = None
    outcome: str | None = None
    words: list[Words] = field(default_factory=list)
    last_turn: LogRecord | None = None


class CallbackWishes(Check):
    """Folds calls, turns and requests. The time must be one that the customer named; which of
    several is the service's to choose."""

    name = "callbacks"
    title = "who asked for a call gets it, once"
    unit = "wishes"
    topics = frozenset(
        {"calls.events", "dialogue.turns", "tasks.requested", "tasks.events", "campaigns"}
    )

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, _Call] = defaultdict(_Call)
        self._requests: dict[str, list[LogRecord]] = defaultdict(list)
        self._first: dict[str, LogRecord] = {}
        self._assigned: dict[str, LogRecord] = {}
        self._stopped: dict[str, int] = {}

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if not record.first:
            return
        match record.topic:
            case "calls.events":
                self._call(record)
            case "dialogue.turns":
                call = self._calls[event["call_id"]]
                if event["outcome"] != REPROMPT:
                    call.outcome = event["outcome"] or call.outcome
                call.last_turn = record
                if event["text"]:
                    call.words.append((event["occurred_at"], event["text"], event["slots"]))
            case "tasks.requested":
                ours = TAG in event["tags"] and event["producer"] == PRODUCER
                if ours and event["kind"] == "requested":
                    self._requests[event["idempotency_key"] or ""].append(record)
            case "campaigns":
                if event["state"] == "ended":
                    self._stopped.setdefault(event["campaign_id"], record.timestamp_ms)
            case _ if event["task_id"]:
                self._first.setdefault(event["task_id"], record)
                if event["kind"] == "assigned":
                    self._assigned.setdefault(event["task_id"], record)

    def _call(self, record: LogRecord) -> None:
        event = record.event
        if event["kind"] == "ended":
            call = self._calls[event["call_id"]]
            call.ended = call.ended or record
        elif event["kind"] == "dialing" and event["phone"]:
            call = self._calls[event["call_id"]]
            if event["direction"] in (None, "outbound"):
                call.began = call.began or event

    def finish(self, context: Context) -> Result:
        for call_id, call in self._calls.items():
            if call.outcome == OUTCOME and call.began is not None and call.ended is not None:
                self._wish(call_id, call, call.began, call.ended, context)
        for call_id, requests in self._requests.items():
            self._made(call_id, requests, context)
        return self.result

    def _wish(
        self,
        call_id: str,
        call: _Call,
        began: dict[str, Any],
        ended: LogRecord,
        context: Context,
    ) -> None:
        if call_id in self._requests or not ended.judged:
            self.result.looked_at += ended.judged
            return
        stopped = self._stopped.get(began["campaign_id"] or "")
        if stopped is not None and stopped <= ended.timestamp_ms + GRACE_MS:
            return
        if context.read_ms - ended.timestamp_ms <= GRACE_MS:
            self.result.open += 1
            return
        self.result.looked_at += 1
        self.result.violate(
            "forgotten", "a customer asked to be called again, and nothing came of it",
            call.last_turn.where if call.last_turn else None, ended.where, call_id=call_id,
        )  # fmt: skip

    def _made(self, call_id: str, requests: list[LogRecord], context: Context) -> None:
        request = requests[0]
        event = request.event
        this = event["task_id"]
        call = self._calls.get(call_id)
        ids = {"call_id": call_id, "task_id": this}
        if len({one.event["task_id"] for one in requests}) > 1:
            self.result.violate(
                "twice", "a call was followed by two callbacks",
                *(one.where for one in requests), **ids,
            )  # fmt: skip
        if call is None or call.began is None or call.outcome != OUTCOME:
            if request.judged and all(map(context.whole, ("calls.events", "dialogue.turns"))):
                self.result.violate(
                    "unasked", "a callback that no customer asked for", request.where, **ids
                )
            return
        if this != task_id(event["tenant_id"], "callbacks", call_id):
            self.result.violate(
                "task_id", "a callback's task has the id of another", request.where, **ids
            )
        if not _is_theirs(call, call.began, event["not_before"]):
            self.result.violate(
                "other_time", "a callback is for a time that the customer did not name",
                call.last_turn.where if call.last_turn else None, request.where, **ids,
            )  # fmt: skip
        self._kept(this, event["not_before"], request)

    def _kept(self, this: str, not_before: int | None, request: LogRecord) -> None:
        """A promise is kept not earlier than asked for, or broken with a reason."""
        assigned = self._assigned.get(this)
        if assigned is not None and assigned.event["occurred_at"] < (not_before or 0):
            self.result.violate(
                "early", "a customer was called back before the time that they named",
                request.where, assigned.where, task_id=this,
            )  # fmt: skip
        first = self._first.get(this)
        if first is not None and first.event["kind"] == "refused" and not first.event["reason"]:
            self.result.violate(
                "no_reason", "a callback was refused without a reason", first.where, task_id=this
            )


def _is_theirs(call: _Call, began: dict[str, Any], at_ms: int | None) -> bool:
    """Whether somebody who said these words may mean that time. Slots count or do not: the robot
    may have read days in another zone."""
    zone = _zone(began)
    named = {
        wish.at_ms
        for said_ms, text, slots in call.words
        for given in (slots, {})
        if zone is not None and (wish := callback_of(text, given, said_ms, zone)) is not None
    }
    if named:
        return at_ms in named
    last = max((said_ms for said_ms, _, _ in call.words), default=began["occurred_at"])
    return at_ms is not None and last < at_ms <= last + _LONGEST_MS


def _zone(began: dict[str, Any]) -> tzinfo | None:
    try:
        return ZoneInfo(json.loads(began["profile"] or "{}")["attributes"]["zone"])
    except (ValueError, KeyError, TypeError, OSError, RecursionError, ZoneInfoNotFoundError):
        place = place_of(began["phone"] or "")
        return None if isinstance(place, NoPlace) else place.zones[0]
