"""Tries: nobody is dialled twice at once, no trunk twice in a call, and the budget holds."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ingest.trunks.plan import RoutingPlan
from ingest.trunks.tries import HOUR_MS
from verify.check import Check, Context, Result
from verify.record import LogRecord

REACTION_MS = 2_000
"""An edge reads a carrier's report from the log; until this time after it, a try may begin without
knowing of it."""


@dataclass(slots=True)
class _Call:
    """`open` is the try that runs: no `refused` follows it yet."""

    tried: list[LogRecord] = field(default_factory=list)
    open: LogRecord | None = None
    word: LogRecord | None = None  # the first that says that it rings, is answered or is over


class CallTries(Check):
    """Folds `tried` and `refused` of `calls.events`, in the log's order within a call."""

    name = "tries"
    title = "one try of a call at a time, no trunk twice, within the budget"
    unit = "tries"
    topics = frozenset({"calls.events", "trunks"})

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, _Call] = {}
        self._budgets: list[int] = []
        self._of_contact: dict[str, list[LogRecord]] = defaultdict(list)

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if record.topic == "trunks":
            self._published(event)
        elif not record.first:
            self.result.repeats += event["kind"] in ("tried", "refused")
        elif event["kind"] == "tried":
            self._tried(record)
        elif event["kind"] == "refused":
            call = self._calls.get(event["call_id"])
            if call and call.open and call.open.event["try_no"] == event["try_no"]:
                call.open = None
        elif event["kind"] in ("ringing", "early_media", "answered", "ended"):
            call = self._calls.get(event["call_id"])
            if call is not None and call.word is None:
                call.word = record

    def _published(self, event: dict[str, Any]) -> None:
        """Any budget ever in force may count: records of two topics have no order."""
        if event["kind"] == "routing" and event["state"] == "active":
            try:
                self._budgets.append(RoutingPlan.model_validate_json(event["settings"]).tries)
            except ValueError:
                pass  # of another release; edges do not take it, either

    def _tried(self, record: LogRecord) -> None:
        event = record.event
        call = self._calls.setdefault(event["call_id"], _Call())
        ids = {"call_id": event["call_id"], "task_id": event["task_id"]}
        if call.open is not None:
            self.result.violate(
                "at_once", "a try began though the one before was not refused",
                call.open.where, record.where, **ids,
            )  # fmt: skip
        elif call.word is not None:
            late_ms = event["occurred_at"] - max(
                call.word.event["occurred_at"], call.word.timestamp_ms
            )
            if late_ms > REACTION_MS:
                self.result.violate(
                    "after_word", f"a try began {late_ms} ms after the call rang or was over",
                    call.word.where, record.where, **ids,
                )  # fmt: skip
        for before in call.tried:
            if before.event["trunk"] == event["trunk"]:
                self.result.violate(
                    "same_trunk", f"a call was tried twice over {event['trunk']}",
                    before.where, record.where, **ids,
                )  # fmt: skip
        if event["try_no"] is None or (
            call.tried and event["try_no"] <= (call.tried[-1].event["try_no"] or 0)
        ):
            self.result.violate(
                "order", "a try has no number above the one before", record.where, **ids
            )
        call.tried.append(record)
        call.open = record
        self._of_contact[event["task_id"] or event["call_id"]].append(record)

    def finish(self, context: Context) -> Result:
        budget = max(self._budgets, default=None)
        for contact, tries in self._of_contact.items():
            self.result.looked_at += sum(record.judged for record in tries)
            if budget is not None and context.whole("trunks"):
                self._within(budget, contact, tries)
        return self.result

    def _within(self, budget: int, contact: str, tries: list[LogRecord]) -> None:
        tries.sort(key=lambda record: int(record.event["occurred_at"]))
        for first, last in zip(tries, tries[budget:], strict=False):
            if last.event["occurred_at"] - first.event["occurred_at"] < HOUR_MS:
                self.result.violate(
                    "over_budget",
                    f"a contact was tried more than {budget} times within an hour",
                    first.where,
                    last.where,
                    task_id=contact,
                    call_id=last.event["call_id"],
                )
                return
