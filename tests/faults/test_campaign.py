"""Five minutes of faults under load, then proof."""

import subprocess
import sys

import pytest


@pytest.mark.heavy
@pytest.mark.timeout(1_200)
def test_five_minutes_of_faults_leave_no_trace() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--minutes", "5", "--seed", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6_000:] + ran.stderr[-2_000:]
