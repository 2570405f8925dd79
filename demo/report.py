"""The demo's report: the results of the run, and everything that went wrong."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, Field
from rich.console import Console
from rich.table import Table

from demo.measure import (
    SpokenLine,
    character_errors,
    count_windows,
    intents_hit,
    matched,
    percentiles,
)
from demo.observer import Observer
from demo.people import Person
from schemas import ids
from schemas.events.tasks import TASK_OVER

MAX_CER = 0.08
MIN_INTENTS = 0.95
WINDOW_MS = 10_000


class Report(BaseModel):
    """`.ringlog/demo-report.json`. Latencies in ms, times in s."""

    ok: bool
    failures: list[str]
    calls: dict[str, int]
    asr: dict[str, float]
    intents: dict[str, int]
    final_ms: dict[str, float]
    directive_ms: dict[str, float]
    clickhouse: dict[str, int]
    windows: int
    tasks: dict[str, int]
    profiles_updated: int
    first_transcript_s: float
    wall_s: float
    versions: dict[str, str]
    notes: list[str] = Field(default_factory=list)


def call_backs(seen: Observer) -> set[str]:
    """Ids of the tasks by which customers are called back: long after the demo, at the time that
    they asked for."""
    return {
        ids.task_id(events[0].tenant_id, "callbacks", call) for call, events in seen.calls.items()
    }


def heard_prompts(log: list[dict[str, Any]], call_id: str) -> list[str]:
    """Prompts that the caller recognised, `name.wording`, in order."""
    return [
        e["prompt"].partition("/")[0]
        for e in log
        if e["call_id"] == call_id
        and e["event"] == "heard"
        and e["what"] == "ended"
        and e["prompt"]
    ]


def spoken_lines(log: list[dict[str, Any]]) -> list[SpokenLine]:
    """All lines that the carrier sent."""
    names = ("call_id", "text", "intent", "end_wall_ms")
    return [SpokenLine(**{n: e[n] for n in names}) for e in log if e["event"] == "said"]


def window_differences(seen: Observer) -> tuple[int, list[str]]:
    """(windows of 10 s, how they differ from the turns counted independently)."""
    expected = count_windows(seen.turns, WINDOW_MS)
    got = {
        (intent, start): (w.count, w.calls)
        for (intent, start, end), w in seen.windows.items()
        if end - start == WINDOW_MS
    }
    wrong = [
        f"window {key}: Flink says {got.get(key)}, the turns say {expected.get(key)}"
        for key in sorted(expected.keys() | got.keys())
        if got.get(key) != expected.get(key)
    ]
    return len(got), wrong


def judge_people(
    seen: Observer, log: list[dict[str, Any]], people: Mapping[str, Person]
) -> list[str]:
    """People's calls whose outcome differs from the expected one."""
    failures = []
    by_phone = {e["phone"]: e["call_id"] for e in log}
    for phone, person in people.items():
        call_id = by_phone.get(phone)
        if call_id is None:
            failures.append(f"{person.name}: was never called")
            continue
        ended = next((e for e in seen.calls[call_id] if e.kind == "ended"), None)
        got = ended.disposition if ended else None
        if got != person.expects.disposition:
            failures.append(
                f"{person.name} ({call_id}): disposition {got}, not {person.expects.disposition}"
            )
        kinds = {d.kind for d in seen.directives if d.call_id == call_id}
        who, prompts = f"{person.name} ({call_id})", heard_prompts(log, call_id)
        failures += [
            f"{who}: no directive {kind}" for kind in person.expects.directives if kind not in kinds
        ]
        failures += [
            f"{who}: never heard {wanted}, but {prompts}"
            for wanted in person.expects.prompts
            if wanted not in prompts
        ]
    return failures


def build(
    seen: Observer,
    log: list[dict[str, Any]],
    people: dict[str, Person],
    clickhouse: dict[str, int],
    clickhouse_failures: list[str],
    times: tuple[float, float],
    versions: dict[str, str],
    cut_off: Collection[str] = (),
) -> Report:
    """The report; `ok` is false when any failure was found. `times`: first transcript, wall, s.

    `cut_off` are numbers of people whose line was cut on purpose: their calls must end, however.
    """
    failures = list(clickhouse_failures)
    placed = seen.placed
    terminal = [c for c in placed if seen.terminals[c]]
    failures += [f"call {c} has no terminal event" for c in placed if not seen.terminals[c]]
    failures += [f"call {c}: {n} terminal events" for c, n in seen.terminals.items() if n > 1]
    assigned = [t for t, e in seen.tasks.items() if any(x.kind == "assigned" for x in e)]
    completed = [t for t, e in seen.tasks.items() if any(x.kind == "completed" for x in e)]
    if len(placed) < len(people):
        failures.append(f"{len(placed)} of {len(people)} calls were placed")
    cut_calls = {e["call_id"] for e in log if e["phone"] in cut_off}
    passed_over = call_backs(seen)
    for task, events in seen.tasks.items():
        if cut_calls & {e.call_id for e in events} or task in passed_over:
            continue
        last = next((e for e in reversed(events) if e.kind in TASK_OVER), None)
        if last is None or last.kind != "completed":
            state = f"{last.kind}: {last.reason}" if last else "not finished"
            failures.append(f"task {task} {state}")
    failures += judge_people(seen, log, {p: x for p, x in people.items() if p not in cut_off})

    lines = spoken_lines(log)
    chars, errors, wrong_text = character_errors(lines, seen.finals)
    cer = errors / chars if chars else 1.0
    if cer > MAX_CER:
        failures.append(f"character error rate {cer:.1%} is over {MAX_CER:.0%}")
    pairs = matched(lines, seen.finals)
    hit, wrong_intents = intents_hit(pairs, seen.turns)
    if not lines or hit / len(lines) < MIN_INTENTS:
        failures.append(f"{hit} of {len(lines)} intents understood, under {MIN_INTENTS:.0%}")

    windows, differences = window_differences(seen)
    failures += differences[:10]
    if not windows:
        failures.append("no analytics window came")
    updated = sum(len(versions_) > 1 for versions_ in seen.profiles.values())
    if not updated:
        failures.append("no profile was updated")
    failures += [f"dead letter of {d.source_topic}: {d.reason}" for d in seen.dead[:5]]

    written = seen.written_ms
    final_ms = [
        float(written[max(finals, key=lambda f: f.end_ms).event_id] - line.end_wall_ms)
        for line, finals in pairs
        if finals
    ]
    by_id = {d.directive_id: d for d in seen.directives}
    directive_ms = [
        float(written[by_id[d].event_id] - written[turn.input_event_id])
        for turn in seen.turns
        if turn.input_kind == "final" and turn.input_event_id in written
        for d in turn.directive_ids[:1]
        if d in by_id
    ]
    return Report(
        ok=not failures,
        failures=failures,
        calls={"placed": len(placed), "completed": len(completed), "terminal": len(terminal)},
        asr={"chars": chars, "errors": errors, "cer": round(cer, 4)},
        intents={"expected": len(lines), "hit": hit},
        final_ms=percentiles(final_ms),
        directive_ms=percentiles(directive_ms),
        clickhouse=clickhouse,
        windows=windows,
        tasks={"assigned": len(assigned), "completed": len(completed)},
        profiles_updated=updated,
        first_transcript_s=round(times[0], 1),
        wall_s=round(times[1], 1),
        versions=versions,
        notes=[f"said «{a}», heard «{b}»" for a, b in wrong_text.values()] + wrong_intents,
    )


def show(report: Report, console: Console) -> None:
    """Prints the summary table and every failure."""
    table = Table(title="Ringlog demo", show_header=False, title_justify="left")
    c, a, i = report.calls, report.asr, report.intents
    rows = [
        ("calls", f"{c['placed']} placed, {c['completed']} completed, {c['terminal']} ended"),
        ("recognition", f"{a['cer']:.1%} character errors ({a['errors']:.0f} of {a['chars']:.0f})"),
        ("intents", f"{i['hit']} of {i['expected']} understood"),
        ("speech end to final", _spread(report.final_ms)),
        ("final to directive", _spread(report.directive_ms)),
        ("Flink windows of 10 s", str(report.windows)),
        ("profiles updated", str(report.profiles_updated)),
        ("first transcript", f"{report.first_transcript_s} s after the start"),
        ("all in all", f"{report.wall_s} s"),
    ]
    rows += [(f"ClickHouse {name}", f"{n} rows") for name, n in report.clickhouse.items()]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", style="dim", highlight=False)
    for failure in report.failures:
        console.print(f"failed: {failure}", style="bold red", highlight=False)
    console.print("everything as it should be" if report.ok else "NOT as it should be")


def _spread(ms: dict[str, float]) -> str:
    return f"{ms['p50']:.0f} ms median, {ms['p95']:.0f} ms p95, {ms['max']:.0f} ms worst"
