"""Flink's windows equal an independent count of the turns, each once."""

from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.catalogue import DAY_MS
from streams.analytics.statements import IDLE_S, SIZES_S, WATERMARK_DELAY_S
from verify.check import Check, Context, Result
from verify.record import LogRecord

LAG_MS = (WATERMARK_DELAY_S + IDLE_S + 1) * 1_000
"""Largest lag of event time behind the newest tick: the watermark's delay, and a partition that
held it back until it counted as idle."""

HORIZON_MS = 89 * DAY_MS
"""Older windows may be gone from the log."""


class _Window(NamedTuple):
    """Names a window."""

    tenant_id: str
    campaign: str
    intent: str
    start_ms: int
    end_ms: int

    @property
    def text(self) -> str:
        """The window's name in the report."""
        size_s = (self.end_ms - self.start_ms) // 1_000
        return f"{size_s} s of «{self.intent}» at {self.start_ms}"


@dataclass(slots=True)
class _Counted:
    """Turns of a window below the cut, all that were read, and their calls."""

    judged: int = 0
    all: int = 0
    judged_calls: set[str | None] = field(default_factory=set)
    calls: set[str | None] = field(default_factory=set)


class Windows(Check):
    """Folds turns, ticks and `analytics.intent_windows`. Windows that event time has not passed
    are open."""

    name = "windows"
    title = "windows of intents equal a count of the turns"
    unit = "windows"
    topics = frozenset({"dialogue.turns", "analytics.ticks", "analytics.intent_windows"})

    def __init__(self) -> None:
        super().__init__()
        self._counted: dict[_Window, _Counted] = {}
        self._newest: dict[_Window, LogRecord] = {}
        self._ticks: dict[int, int] = {}

    def feed(self, record: LogRecord) -> None:
        match record.topic:
            case "analytics.ticks":
                if record.judged:
                    self._ticks[record.partition] = record.timestamp_ms
            case "dialogue.turns":
                if record.first:
                    self._turn(record)
            case _:
                self._window(record)

    def _turn(self, record: LogRecord) -> None:
        event = record.event
        if event["input_kind"] != "final" or not event["intent"]:
            return
        at_ms, call_id = event["occurred_at"], event["call_id"]
        for size_s in SIZES_S:
            size_ms = size_s * 1_000
            start_ms = at_ms - at_ms % size_ms
            window = _Window(
                event["tenant_id"], event["campaign_id"] or "", event["intent"], start_ms,
                start_ms + size_ms,
            )  # fmt: skip
            counted = self._counted.setdefault(window, _Counted())
            counted.all += 1
            counted.calls.add(call_id)
            if record.judged:
                counted.judged += 1
                counted.judged_calls.add(call_id)

    def _window(self, record: LogRecord) -> None:
        """The first record of the highest revision counts."""
        event = record.event
        window = _Window(
            event["tenant_id"], event["campaign_id"] or "", event["intent"],
            event["window_start"], event["window_end"],
        )  # fmt: skip
        known = self._newest.get(window)
        if known is None or event["revision"] > known.event["revision"]:
            self._newest[window] = record
        else:
            self.result.repeats += 1

    def finish(self, context: Context) -> Result:
        result = self.result
        if not context.whole("dialogue.turns"):
            result.notes.append("not judged: the log no longer holds all turns")
            return result
        closed_ms = min(self._ticks.values(), default=0) - LAG_MS
        for window, counted in self._counted.items():
            if not counted.judged or context.read_ms - window.end_ms > HORIZON_MS:
                continue
            result.looked_at += 1
            if window.end_ms > closed_ms or not context.due("analytics"):
                result.open += 1
            else:
                self._compare(window, counted)
        for window, record in self._newest.items():
            if record.judged and window not in self._counted:
                result.violate("invented", f"{window.text} has no turn", record.where)
        return result

    def _compare(self, window: _Window, counted: _Counted) -> None:
        newest = self._newest.get(window)
        expected = f"{counted.judged} turns of {len(counted.judged_calls)} calls"
        if newest is None:
            self.result.violate(
                "no_window", f"{window.text} is missing: {expected}", campaign_id=window.campaign
            )
            return
        count, calls = newest.event["count"], newest.event["calls"]
        right = counted.judged <= count <= counted.all and len(
            counted.judged_calls
        ) <= calls <= len(counted.calls)
        if not right:
            self.result.violate(
                "miscounted",
                f"{window.text} says {count} turns of {calls} calls; counted: {expected}",
                newest.where,
                campaign_id=window.campaign,
            )
