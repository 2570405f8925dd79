"""`ringlog demo` from outside, on the running product: the report and the stores agree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clickhouse_driver import Client

from ringlog.settings import Settings
from stack import environment


@pytest.mark.timeout(600)
def test_the_demo_call_centre(product: Settings, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    run = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--calls", "20", "--report", str(out)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment.of_services(product),
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6_000:] + run.stderr[-2_000:]
    report = json.loads(out.read_text())
    assert report["ok"]
    assert report["failures"] == []
    assert report["calls"] == {"placed": 20, "completed": 20, "terminal": 20}
    assert report["asr"]["cer"] <= 0.08
    assert report["intents"]["hit"] >= 0.95 * report["intents"]["expected"] > 0
    assert report["windows"] > 0
    assert report["profiles_updated"] > 0
    assert report["tasks"] == {"assigned": 20, "completed": 20}

    host, port = product.clickhouse_native
    client = Client(host, port=port, database="ringlog")
    finals, ids = client.execute(
        "select count(), uniqExact(event_id) from transcripts where campaign_id like 'demo-%'"
    )[0]
    assert finals == ids > 0
    ended, calls = client.execute(
        "select countIf(state = 'ended'), count() from calls where campaign_id like 'demo-%'"
    )[0]
    assert ended == calls == 20
