"""Measures of a demo run. Pure: from what was said to what was understood."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from schemas.events import Transcript, Turn

_PUNCTUATION = re.compile(r"[\s,.!?;:，。！？；：、]+")


@dataclass(frozen=True)
class SpokenLine:
    """A line as the carrier sent it; `end_wall_ms` is when its last sound left."""

    call_id: str
    text: str
    intent: str
    end_wall_ms: int


def characters(text: str) -> list[str]:
    """The text to compare: without blanks and punctuation."""
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
    """Each line with the finals that render it: in each call, in order, with the fewest errors.

    Not by time: on a busy machine the carrier's clock and the call's drift apart.
    """
    heard: dict[str, list[Transcript]] = defaultdict(list)
    for final in sorted(finals, key=lambda f: f.start_ms):
        heard[final.call_id or ""].append(final)
    by_call: dict[str, list[SpokenLine]] = defaultdict(list)
    for line in lines:
        by_call[line.call_id].append(line)
    return [
        pair
        for call_id, said in by_call.items()
        for pair in zip(said, _shared_out(said, heard[call_id]), strict=True)
    ]


_NEVER = 10**9


def _shared_out(lines: list[SpokenLine], finals: list[Transcript]) -> list[list[Transcript]]:
    """Splits finals into one run a line (it may be empty), with the fewest errors altogether."""
    nothing: list[list[Transcript]] = []
    best = [(0 if end == 0 else _NEVER, nothing) for end in range(len(finals) + 1)]
    for line in lines:
        wanted = characters(line.text)
        row = []
        for end in range(len(finals) + 1):
            options = (
                (
                    best[start][0]
                    + edit_distance(wanted, characters("".join(f.text for f in finals[start:end]))),
                    start,
                )
                for start in range(end + 1)
            )
            cost, start = min(options)
            row.append((cost, [*best[start][1], finals[start:end]]))
        best = row
    return best[-1][1]


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
        return round(ordered[max(0, ceil(q * len(ordered)) - 1)], 1)

    return {"p50": rank(0.5), "p95": rank(0.95), "max": round(ordered[-1], 1)}


def count_windows(turns: Iterable[Turn], size_ms: int) -> dict[tuple[str, int], tuple[int, int]]:
    """(intent, window start) -> (turns, calls), counted without Flink."""
    counted: dict[tuple[str, int], list[str]] = defaultdict(list)
    for turn in turns:
        if turn.input_kind == "final" and turn.intent:
            start = turn.occurred_at // size_ms * size_ms
            counted[turn.intent, start].append(turn.call_id or "")
    return {key: (len(calls), len(set(calls))) for key, calls in counted.items()}
