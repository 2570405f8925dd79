"""The windows that a set of turns must give: an independent recount, for tests and `verify`."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.events import IntentWindow, Turn
from schemas.ids import window_id
from streams.analytics.records import JOB
from streams.analytics.statements import SIZES_S


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Names one window. `campaign` is empty for turns that have none."""

    tenant_id: str
    campaign: str
    intent: str
    size_s: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class Count:
    """What a window holds."""

    turns: int
    calls: int


def recount(turns: Iterable[Turn], sizes_s: Iterable[int] = SIZES_S) -> dict[Window, Count]:
    """Final counts of all windows of the turns, given in the order of the log.

    Of turns with one id the first counts, and only finals with an intent do.
    """
    sizes = tuple(sizes_s)
    first: dict[str, Turn] = {}
    for turn in turns:
        first.setdefault(turn.event_id, turn)
    held: dict[Window, list[str | None]] = {}
    for turn in first.values():
        if turn.input_kind != "final" or not turn.intent:
            continue
        for size_s in sizes:
            start_ms = turn.occurred_at // (size_s * 1_000) * (size_s * 1_000)
            window = Window(turn.tenant_id, turn.campaign_id or "", turn.intent, size_s, start_ms)
            held.setdefault(window, []).append(turn.call_id)
    return {w: Count(len(calls), len(set(calls))) for w, calls in held.items()}


def window_of(event: IntentWindow) -> Window:
    """The window that an event of `analytics.intent_windows` speaks of."""
    return Window(
        event.tenant_id,
        event.campaign_id or "",
        event.intent,
        (event.window_end - event.window_start) // 1_000,
        event.window_start,
    )


def latest(events: Iterable[IntentWindow]) -> dict[Window, IntentWindow]:
    """The event that counts for each window: the first one of its highest revision."""
    out: dict[Window, IntentWindow] = {}
    for event in events:
        window = window_of(event)
        known = out.get(window)
        if known is None or event.revision > known.revision:
            out[window] = event
    return out


def event_id_of(window: Window, revision: int) -> str:
    """Id of a window's revision, as the job's SQL makes it."""
    return window_id(
        f"{window.tenant_id}/{JOB}",
        window.campaign,
        window.intent,
        window.size_s,
        window.start_ms,
        revision,
    )
