"""Live progress: a table on a terminal, a line every few seconds elsewhere."""

import asyncio
import time
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.observer import Observer
from schemas.events import CallEvent

_LINES = 8
_EVERY_S = 5.0

_STATES = ("dialing", "ringing", "answered", "transferred", "ended")


def call_states(seen: Observer) -> Counter[str]:
    """How many calls are in which state."""
    return Counter(_state(events) for events in seen.calls.values())


def _state(events: list[CallEvent]) -> str:
    kinds = {e.kind for e in events}
    return next((s for s in reversed(_STATES) if s in kinds), "dialing")


def _picture(seen: Observer, total: int) -> Group:
    states = call_states(seen)
    head = Text(
        f"calls {len(seen.calls)}/{total}: "
        + ", ".join(f"{states[s]} {s}" for s in _STATES if states[s])
        + f"   finals {len(seen.finals)}   windows {len(seen.windows)}"
    )
    table = Table(show_edge=False, header_style="dim", expand=False)
    for name in ("call", "what was heard", "intent", "the robot"):
        table.add_column(name)
    directives = {d.directive_id: d for d in seen.directives}
    finals = {f.event_id: f for f in seen.finals}
    for turn in [t for t in seen.turns if t.input_kind == "final"][-_LINES:]:
        final = finals.get(turn.input_event_id)
        does = [directives[d] for d in turn.directive_ids if d in directives]
        said = next((d.text for d in does if d.text), "")
        table.add_row(
            (turn.call_id or "")[:8],
            final.text if final else turn.text,
            turn.intent or "-",
            f"{'+'.join(d.kind for d in does)} {said or ''}"[:48],
        )
    intents = Counter(t.intent for t in seen.turns if t.intent)
    foot = Text("intents " + ", ".join(f"{k} {n}" for k, n in intents.most_common(8)), style="dim")
    return Group(head, table, foot)


async def show_progress(seen: Observer, total: int, console: Console) -> None:
    """Until cancelled."""
    if console.is_terminal:
        with Live(_picture(seen, total), console=console, refresh_per_second=4) as live:
            while True:
                await asyncio.sleep(0.25)
                live.update(_picture(seen, total))
    began = time.monotonic()
    shown = 0
    while True:
        await asyncio.sleep(_EVERY_S)
        states = ", ".join(f"{n} {s}" for s, n in sorted(call_states(seen).items()))
        newest = " ".join(f"«{f.text}»" for f in seen.finals[shown:][-3:])
        shown = len(seen.finals)
        intents = Counter(t.intent for t in seen.turns if t.intent).most_common(3)
        console.print(
            f"{time.monotonic() - began:5.0f} s  calls: {states or 'none yet'}; "
            f"{shown} finals {newest}; intents {dict(intents)}; {len(seen.windows)} windows",
            highlight=False,
            soft_wrap=True,
        )
