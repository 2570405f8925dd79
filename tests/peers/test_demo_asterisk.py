"""`make demo-asterisk`, with few calls: a whole campaign, a carrier that dies, and the proof."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.report import Report
from ringlog.settings import root

pytestmark = [pytest.mark.needs("asterisk"), pytest.mark.stack, pytest.mark.timeout(420)]

CALLS = 8


def test_the_demo_through_asterisk_is_as_it_should_be(tmp_path: Path, port_shift: int) -> None:
    """Its exit code says so: nobody was called twice, later calls took the other carrier, the
    outcome of each call is the expected one, `ringlog verify` found nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "demo.asterisk", "--calls", str(CALLS), "--port-shift",
         str(port_shift)],
        cwd=root(), capture_output=True, text=True, check=False,
        env=os.environ | {"RINGLOG_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    text = (tmp_path / "demo-asterisk" / "demo-report.json").read_text(encoding="utf-8")
    report = Report.model_validate_json(text)
    assert report.ok
    assert any(note.startswith("carrier-a was killed with") for note in report.notes)
