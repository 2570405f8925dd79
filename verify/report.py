"""The outcome for people and for programs. Phone numbers are masked in both."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ringlog.log import mask_phones
from schemas.text import iso_of_ms
from verify.check import Result, Violation
from verify.run import VerifyReport

SHOWN = 10
"""Violations of one check that people are shown; `--json` has more."""

IN_JSON = 1_000
"""Violations of one check that programs are given."""


def as_json(report: VerifyReport) -> dict[str, Any]:
    """The report as JSON data; its shape is documented in docs/reference/verify.md."""
    cut = report.cut
    return {
        "ok": report.ok,
        "idle": report.idle,
        "judged_at": iso_of_ms(cut.judged_ms),
        "read_at": iso_of_ms(cut.read_ms),
        "settle_s": report.settle_s,
        "records": report.records,
        "refused": report.refused,
        "seconds": round(report.seconds, 3),
        "reached": sorted(cut.reached),
        "behind": dict(report.late),
        "checks": [_result(result) for result in report.results],
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "check": result.check,
        "title": result.title,
        "unit": result.unit,
        "looked_at": result.looked_at,
        "repeats": result.repeats,
        "open": result.open,
        "violations": result.total,
        "found": [_violation(violation) for violation in result.violations[:IN_JSON]],
        "notes": [mask_phones(note) for note in result.notes],
    }


def _violation(violation: Violation) -> dict[str, Any]:
    return {
        "rule": violation.rule,
        "text": mask_phones(violation.text),
        "where": list(violation.where),
        "ids": {name: mask_phones(value) for name, value in violation.ids.items()},
    }


def show(report: VerifyReport, console: Console) -> None:
    """A table, then each violation with the records to look at, then what was not judged."""
    table = Table(show_edge=False, header_style="dim", pad_edge=False)
    table.add_column("")
    table.add_column("check")
    table.add_column("what must hold")
    for name in ("looked at", "repeats", "open", "violations"):
        table.add_column(name, justify="right")
    for result in report.results:
        good = not result.total
        table.add_row(
            Text("ok", "green") if good else Text("NO", "bold red"),
            result.check,
            result.title,
            f"{result.looked_at:,} {result.unit}",
            f"{result.repeats:,}",
            f"{result.open:,}",
            Text(f"{result.total:,}", "" if good else "bold red"),
        )
    console.print(table)
    for result in report.results:
        _show_violations(result, console)
        for note in result.notes:
            _line(console, f"{result.check}: {mask_phones(note)}", "dim")
    for stage, records in report.late.items():
        text = f"{stage}: {records} records behind after {report.settle_s:g} s"
        _line(console, text, "bold red" if report.idle else "yellow")
    if not any(result.looked_at for result in report.results):
        _line(console, "there was nothing to look at", "yellow")
    speed = report.records / report.seconds if report.seconds else 0
    outcome = "everything holds" if report.ok else "NOT everything holds"
    _line(
        console,
        f"{outcome}: {report.records:,} records up to "
        f"{iso_of_ms(report.cut.judged_ms)} in {report.seconds:.1f} s ({speed:,.0f} a second)",
        "bold green" if report.ok else "bold red",
    )


def _show_violations(result: Result, console: Console) -> None:
    for violation in result.violations[:SHOWN]:
        ids = " ".join(f"{name}={mask_phones(value)}" for name, value in violation.ids.items())
        _line(console, f"{violation.rule}: {mask_phones(violation.text)}", "red")
        if violation.where or ids:
            _line(console, f"    {' '.join(violation.where)}  {ids}", "dim")
    if (more := result.total - SHOWN) > 0:
        _line(console, f"{result.check}: and {more:,} more; see --json", "red")


def _line(console: Console, text: str, style: str) -> None:
    console.print(Text(text, style), soft_wrap=True)
