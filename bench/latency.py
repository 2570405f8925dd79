"""Answers in time: `ringlog demo --calls 8` on a stack of its own, from its report.

Everything runs on this one machine: broker, registry, ClickHouse, Flink, the carrier that plays the
people, and the product.
"""

import subprocess
import sys

from bench.measure import Measure, Outcome
from bench.own_stack import settings_apart
from demo.report import Report
from ringlog.settings import root
from stack import environment

CALLS = 8
TURN_SILENCE_MS = 300  # of the demo's playbook
FINAL_MS = TURN_SILENCE_MS + 200
DIRECTIVE_MS = 50
_LONGEST_S = 900


def run(quick: bool) -> Outcome:
    """95th percentiles against their budgets; fewer calls when quick."""
    calls = 2 if quick else CALLS
    with settings_apart() as config:
        path = config.home / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "demo",
             "--calls", str(calls), "--report", str(path)],
            cwd=root(), env=environment.of_services(config), capture_output=True, text=True,
            check=False, timeout=_LONGEST_S,
        )  # fmt: skip
        if not path.is_file():
            raise RuntimeError(f"no report: {(done.stdout + done.stderr)[-1_000:]}")
        report = Report.model_validate_json(path.read_bytes())
    return outcome_of(report, calls)


def outcome_of(report: Report, calls: int) -> Outcome:
    """What a demo's report says of the budgets."""
    final, directive = report.final_ms, report.directive_ms
    return Outcome(
        measures=[
            Measure(
                what="speech end to final on Kafka, p95", unit="ms", ours=final["p95"],
                against=f"budget, S = {TURN_SILENCE_MS} ms and 200 ms", theirs=FINAL_MS,
                budget=1.0, bound="at most",
                note=f"median {final['p50']:.0f} ms, worst {final['max']:.0f} ms",
            ),
            Measure(
                what="final to directive on Kafka, p95", unit="ms", ours=directive["p95"],
                against="budget", theirs=DIRECTIVE_MS, budget=1.0, bound="at most",
                note=f"median {directive['p50']:.0f} ms, worst {directive['max']:.0f} ms",
            ),
        ],
        notes=[
            f"{calls} calls at once, character error rate {report.asr['cer']:.1%}, first "
            f"transcript {report.first_transcript_s:.0f} s after the start from nothing",
            *(f"the demo says: {failure}" for failure in report.failures),
        ],
    )  # fmt: skip
