"""`make demo-asterisk`, with few calls: a whole campaign, a carrier that dies, and the proof."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.report import Report
from ringlog.settings import root

pytestmark = [pytest.mark.needs("asterisk"), pytest.mark.stack, pytest.mark.timeout(420)]

CALLS = 8
HEARD = re.compile(r"(?!verify: ).*(\([0-9a-f-]{36}\): |character error rate|intents understood)")
"""What the robot made of somebody's words. On a busy machine the far ends' own sound is torn, and
what a conversation came to says nothing of the lines; the demo itself judges it all."""


def test_the_demo_through_asterisk_is_as_it_should_be(tmp_path: Path, port_shift: int) -> None:
    """Nobody was called twice, later calls took the other carrier, every call has its end and its
    rows, `ringlog verify` found nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "demo.asterisk", "--calls", str(CALLS), "--port-shift",
         str(port_shift)],
        cwd=root(), capture_output=True, text=True, check=False,
        env=os.environ | {"RINGLOG_HOME": str(tmp_path)},
    )  # fmt: skip
    file = tmp_path / "demo-asterisk" / "demo-report.json"
    assert file.exists(), done.stdout[-6_000:] + done.stderr[-2_000:]
    report = Report.model_validate_json(file.read_text(encoding="utf-8"))
    assert [failure for failure in report.failures if not HEARD.match(failure)] == []
    assert report.calls["placed"] == report.calls["terminal"] == CALLS
    assert report.asr["cer"] < 0.5, "they talked"
    assert any(note.startswith("carrier-a was killed with") for note in report.notes)
    assert any("all over the other carrier" in note for note in report.notes)
