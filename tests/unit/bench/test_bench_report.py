"""The tables, and the generated part of the document."""

import io

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console

from bench import report
from bench.machine import cpu_model, this_machine
from bench.measure import Machine, Measure, Outcome, Result


def result(outcome: Outcome, state: str = "measured", reason: str = "") -> Result:
    return Result.model_validate(
        {
            "name": "asr", "title": "a title", "state": state, "reason": reason,
            "outcome": outcome, "quick": False, "command": "python -m bench", "at": "2026-01-01",
            "commit": "abc", "wall_s": 3.0, "load_before": 1.25, "load_after": 7.5,
            "machine": Machine(cpu="A CPU", cores=2, memory_bytes=8 << 30, system="Linux 6",
                               python="3.11"),
            "versions": {"fastavro": "1.13.1"},
        }
    )  # fmt: skip


MISSED = Measure(
    what="through|put", unit="x", ours=80, against="peer", theirs=100, budget=0.85,
    spread=(0.79, 0.81), note="a note",
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.861, "0.86"), (9.994, "9.99"), (48.33, "48.3"), (326.4, "326"),
        (999.4, "999"), (1_000, "1,000"), (12_449, "12,400"), (1_234_567, "1,230,000"),
        (-2_345, "-2,340"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


@given(st.floats(1e-2, 1e12))
@hypothesis_settings(max_examples=100, deadline=None)
def test_a_number_stays_within_its_last_digit(value: float) -> None:
    shown = float(report.number(value).replace(",", ""))
    assert abs(shown - value) <= max(0.00501, value * 0.0051)


def test_a_missed_budget_is_said_in_both_tables() -> None:
    one = result(Outcome(measures=[MISSED], notes=["on two cores"]))
    text = report.markdown([one])
    assert (
        "| `asr` | through\\|put, x | 80.0 | peer | 100 | 0.80 (0.79 to 0.81) | at least 0.85 "
        "| MISSED |" in text
    )
    for told in ("python -m bench", "A CPU, 2 cores, 8 GiB", "1.2 before, 7.5 after", "abc",
                 "fastavro 1.13.1", "a note", "on two cores", "2026-01-01"):  # fmt: skip
        assert told in text
    out = io.StringIO()
    report.show([one], Console(file=out, width=140))
    assert "MISSED" in out.getvalue() and "0.79 to 0.81" in out.getvalue()


def test_what_was_not_measured_is_named_with_the_reason() -> None:
    none = result(Outcome(), "skipped", "no model [bold]")
    assert "| `asr` | skipped |" in report.markdown([none])
    assert "asr: skipped: no model [bold]" in report.markdown([none])
    out = io.StringIO()
    report.show([none], Console(file=out, width=140))
    assert "skipped: no model [bold]" in out.getvalue()


def test_only_the_generated_part_changes() -> None:
    document = f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n"
    new = report.with_generated(document, "new")
    assert new == f"# Title\n\n{report.BEGIN}\n\nnew\n\n{report.END}\n\nafter\n"
    assert report.with_generated(new, "new") == new


@pytest.mark.parametrize("document", ["", report.BEGIN, report.END, report.END + report.BEGIN])
def test_a_document_without_markers_is_refused(document: str) -> None:
    with pytest.raises(report.NoMarkers):
        report.with_generated(document, "new")


def test_the_processor_has_a_name() -> None:
    assert cpu_model("processor : 0\nmodel name\t: Some CPU: 3 GHz\n") == "Some CPU: 3 GHz"
    assert cpu_model("")
    assert this_machine().cores > 0
