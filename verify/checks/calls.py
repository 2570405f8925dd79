"""Every call reaches exactly one terminal event, nothing re-opens it, and no robot speaks after
its end."""

from dataclasses import dataclass

from streams.robots.shard import LONGEST_CALL_MS
from verify.check import Check, Context, Result
from verify.record import LogRecord

REACTION_MS = 2_000
"""An edge reads a carrier's report of the end from the log; until this time after the end, it may
begin a prompt without knowing."""

SLACK_MS = 60_000
"""Time beyond the longest call after which a call will never get its end."""


@dataclass(slots=True)
class _Call:
    first: LogRecord
    ended: LogRecord | None = None


class Calls(Check):
    """Folds `calls.events`; the first `ended` of a call's partition counts."""

    name = "calls"
    title = "every call ends exactly once, and nothing follows"
    unit = "calls"
    topics = frozenset({"calls.events"})

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, _Call] = {}
        self._late = self._reactions = 0

    def feed(self, record: LogRecord) -> None:
        call_id = record.event["call_id"]
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = _Call(record)
        kind = record.event["kind"]
        if kind == "ended":
            if call.ended is None:
                call.ended = record
            elif record.event["event_id"] != call.ended.event["event_id"]:
                self.result.violate(
                    "ended_twice",
                    "a call has two terminal events of different ids",
                    call.ended.where,
                    record.where,
                    call_id=call_id,
                )
            else:
                self.result.repeats += record.first is False
        elif call.ended is not None and record.first:
            self._after(call_id, call.ended, record)

    def _after(self, call_id: str, ended: LogRecord, record: LogRecord) -> None:
        kind = record.event["kind"]
        if kind == "dialing":
            self.result.violate(
                "dialled_after_end",
                "a call was dialled after its end",
                ended.where,
                record.where,
                call_id=call_id,
            )
        elif kind == "playout_started":
            known_ms = max(ended.event["occurred_at"], ended.timestamp_ms)
            late_ms = record.event["occurred_at"] - known_ms
            if late_ms > REACTION_MS:
                self.result.violate(
                    "spoke_after_end",
                    f"the robot began a prompt {late_ms} ms after the call's end",
                    ended.where,
                    record.where,
                    call_id=call_id,
                    directive_id=record.event["directive_id"],
                )
            else:
                self._reactions += 1
        else:
            self._late += 1

    def finish(self, context: Context) -> Result:
        result = self.result
        for call_id, call in self._calls.items():
            if not call.first.judged:
                continue
            result.looked_at += 1
            if call.ended is not None:
                continue
            age_ms = context.read_ms - call.first.timestamp_ms
            if context.waited(call.first.timestamp_ms, LONGEST_CALL_MS + SLACK_MS):
                result.violate(
                    "no_end",
                    f"a call has no terminal event after {age_ms // 1_000} s",
                    call.first.where,
                    call_id=call_id,
                )
            else:
                result.open += 1
        if self._late:
            result.notes.append(f"{self._late} records came after their call's end; none counts")
        if self._reactions:
            result.notes.append(
                f"{self._reactions} prompts began before the edge could know of the end"
            )
        return result
