"""What the people on the phone noticed: answers that came late, words that were lost. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from demo.measure import SpokenLine, matched
from demo.observer import Observer
from demo.report import spoken_lines
from schemas.events import TaskEvent

NEAR_MS = 8_000
"""Words that end up to so long after a fault, and answers that had not come by then, are its."""

RECOVERY_MS = 3_000
"""So long after a broker is ready again its clients may still find their way back."""

LINE_MS = 3_000
"""No line of the simulated people is longer; a line that ends so long after it may have begun
before."""

WEIGHTS = {"high": 3, "medium": 2, "low": 1}
"""Shares of the priorities, by the site's settings."""

UNFAIR = 0.1
"""So far a share may be off: permits of one millisecond have no order, and neither have kills."""

ENOUGH = 36
"""Permits that make a share."""

OVERLAP_MS = 60
"""Playouts may touch: both times are rounded, and a prompt's last frame is on its way."""


@dataclass(frozen=True, slots=True)
class Done:
    """A fault as it was done, wall clock."""

    began_ms: int
    ended_ms: int
    what: str
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A line of a customer and the directive that answers it. None: it never came."""

    line: SpokenLine
    directive_ms: int | None


def answers(seen: Observer, log: list[dict[str, object]]) -> list[Answer]:
    """Every line that was said, with the first directive of a turn that understood it."""
    directives = {d.directive_id: d for d in seen.directives}
    turns = {t.input_event_id: t for t in seen.turns}
    found = []
    for line, finals in matched(spoken_lines(log), seen.finals):
        at = [
            seen.written_ms[directives[d].event_id]
            for final in finals
            if final.event_id in turns
            for d in turns[final.event_id].directive_ids
            if d in directives
        ]
        found.append(Answer(line, min(at, default=None)))
    return found


def late_ms(given: Iterable[Answer], fault: Done, outages: Iterable[Done] = ()) -> list[int]:
    """How long after the fault, or after the words when these came later, answers came that it
    could hold up; ms. What waited for a broker that was away as well is the outage's."""
    away = [(f.began_ms, f.ended_ms + RECOVERY_MS) for f in outages if f is not fault]
    late = []
    for answer in given:
        said = answer.line.end_wall_ms
        if answer.directive_ms is None or said > fault.began_ms + NEAR_MS:
            continue
        if any(begin <= answer.directive_ms and said <= end for begin, end in away):
            continue
        if answer.directive_ms >= fault.began_ms:
            late.append(answer.directive_ms - max(said, fault.began_ms))
    return late


def unanswered(given: Iterable[Answer], deaf: Iterable[Done]) -> list[Answer]:
    """Lines without an answer of which no part was said in a deaf fault: sound is lost while no
    edge serves."""
    spans = [(f.began_ms, f.ended_ms + LINE_MS) for f in deaf]
    return [
        a
        for a in given
        if a.directive_ms is None
        and not any(begin <= a.line.end_wall_ms <= end for begin, end in spans)
    ]


def overlaps(seen: Observer) -> list[str]:
    """Calls in which two prompts were played at once, by the edge's own records."""
    wrong = []
    for call_id, events in seen.calls.items():
        begun = {e.directive_id: e.occurred_at for e in events if e.kind == "playout_started"}
        ended = {e.directive_id: e.occurred_at for e in events if e.kind == "playout_ended"}
        spans = sorted((at, ended.get(d, at)) for d, at in begun.items())
        for (_, end), (begin, _) in zip(spans, spans[1:], strict=False):
            if begin < end - OVERLAP_MS:
                wrong.append(f"{call_id}: a prompt began {end - begin} ms before another's end")
    return wrong


def turns_taken(tasks: Iterable[list[TaskEvent]]) -> Counter[str]:
    """Permits by priority, of those that were given while tasks of every priority waited.

    Of what happened within one millisecond the order is not known: a task counts as waiting from
    the next one on.
    """
    waits: dict[str, list[tuple[int, float]]] = defaultdict(list)
    permits: list[tuple[int, str]] = []
    for events in tasks:
        since: int | None = None
        for event in events:
            priority = event.priority or ""
            if event.kind == "queued" and event.retry_at is None:
                since = event.occurred_at
            elif since is not None and event.kind != "queued":
                waits[priority].append((since, event.occurred_at))
                since = None
            if event.kind == "assigned":
                permits.append((event.occurred_at, priority))
        if since is not None:
            waits[priority].append((since, inf))
    return Counter(
        priority
        for at, priority in permits
        if all(any(begin < at <= end for begin, end in waits[name]) for name in WEIGHTS)
    )


def unfair(served: Mapping[str, int]) -> list[str]:
    """Shares that are not those of the weights."""
    total = sum(served.values())
    if total < ENOUGH:
        return [f"only {total} permits were given while all priorities waited"]
    whole = sum(WEIGHTS.values())
    return [
        f"{name} had {served.get(name, 0)} of {total} turns, not {weight} of {whole}"
        for name, weight in WEIGHTS.items()
        if abs(served.get(name, 0) / total - weight / whole) > UNFAIR
    ]
