"""Measures of a demo run. Pure: from what was said to what was understood."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.events import Transcript, Turn

_PUNCTUATION = re.compile(r"[\s,.!?;:，。！？；：、]+")


@dataclass(frozen=True)
class SpokenLine:
    """A line as the carrier sent it. Times are call time and wall time, ms."""

    call_id: str
    text: str
    intent: str
    start_ms: int
    end_ms: int
    end_wall_ms: int


def characters(text: str) -> list[str]:
    """What is compared: characters without blanks and punctuation."""
    return list(_PUNCTUATION.sub("", text))


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        left, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (x != y))
    return row[-1]


def character_errors(
    lines: Iterable[SpokenLine], finals: Iterable[Transcript]
) -> tuple[int, int, dict[str, tuple[str, str]]]:
    """(characters, errors, what was said and heard of each call with errors), whole calls."""
    said: dict[str, str] = defaultdict(str)
    heard: dict[str, str] = defaultdict(str)
    for line in lines:
        said[line.call_id] += line.text
    for final in sorted(finals, key=lambda f: (f.call_id or "", f.start_ms)):
        heard[final.call_id or ""] += final.text
    chars = errors = 0
    wrong = {}
    for call_id, text in said.items():
        reference, found = characters(text), characters(heard.get(call_id, ""))
        chars += len(reference)
        if distance := edit_distance(reference, found):
            errors += distance
            wrong[call_id] = text, heard.get(call_id, "")
    return chars, errors, wrong


def matched(
    lines: Iterable[SpokenLine], finals: Iterable[Transcript]
) -> list[tuple[SpokenLine, list[Transcript]]]:
    """Each line with the finals that overlap it most in call time."""
    lines = list(lines)
    found: dict[int, list[Transcript]] = defaultdict(list)
    by_call: dict[str, list[tuple[int, SpokenLine]]] = defaultdict(list)
    for n, line in enumerate(lines):
        by_call[line.call_id].append((n, line))
    for final in finals:
        best, most = None, 0
        for n, line in by_call.get(final.call_id or "", ()):
            overlap = min(final.end_ms, line.end_ms) - max(final.start_ms, line.start_ms)
            if overlap > most:
                best, most = n, overlap
        if best is not None:
            found[best].append(final)
    return [(line, found[n]) for n, line in enumerate(lines)]


def intents_hit(
    pairs: Iterable[tuple[SpokenLine, list[Transcript]]], turns: Iterable[Turn]
) -> tuple[int, list[str]]:
    """(lines whose intent was understood by a turn, what went wrong)."""
    by_input = {t.input_event_id: t for t in turns}
    hit, wrong = 0, []
    for line, finals in pairs:
        got = [by_input[f.event_id].intent for f in finals if f.event_id in by_input]
        if line.intent in got:
            hit += 1
        else:
            heard = "/".join(f.text for f in finals)
            wrong.append(f"«{line.text}» heard as «{heard}»: {got or 'no turn'}, not {line.intent}")
    return hit, wrong


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and maximum (nearest rank), rounded; zeros when there are none."""
    if not values:
        return {"p50": 0, "p95": 0, "max": 0}
    ordered = sorted(values)

    def rank(q: float) -> float:
        return round(ordered[min(len(ordered) - 1, max(0, round(q * len(ordered) + 0.5) - 1))], 1)

    return {"p50": rank(0.5), "p95": rank(0.95), "max": round(ordered[-1], 1)}


def count_windows(turns: Iterable[Turn], size_ms: int) -> dict[tuple[str, int], tuple[int, int]]:
    """(intent, window start) -> (turns, calls), counted without Flink."""
    counted: dict[tuple[str, int], list[str]] = defaultdict(list)
    for turn in turns:
        if turn.input_kind == "final" and turn.intent:
            start = turn.occurred_at // size_ms * size_ms
            counted[turn.intent, start].append(turn.call_id or "")
    return {key: (len(calls), len(set(calls))) for key, calls in counted.items()}
