"""`ringlog analytics`: what can be known without a cluster."""

import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner

from cli.analytics import analytics, packed_code
from cli.errors import NOT_RUNNING, WRONG_USAGE
from ringlog.settings import settings


@pytest.mark.parametrize("address", ["nowhere", ":8081", "host:", "host:x", "host:0", "host:70000"])
def test_a_wrong_address_is_wrong_usage(address: str) -> None:
    result = CliRunner().invoke(analytics, ["submit", "--jobmanager", address])

    assert result.exit_code == WRONG_USAGE
    assert "HOST:PORT" in result.output


def test_a_broker_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_KAFKA", "127.0.0.1:1")
    settings.cache_clear()
    try:
        result = CliRunner().invoke(analytics, ["submit", "--jobmanager", "127.0.0.1:1"])
    finally:
        settings.cache_clear()

    assert result.exit_code == NOT_RUNNING
    assert "the broker does not answer at 127.0.0.1:1" in result.output


def test_the_packed_code_is_enough_for_the_functions() -> None:
    with packed_code() as path:
        names = set(zipfile.ZipFile(path).namelist())
        found = subprocess.run(
            [
                sys.executable,
                "-I",
                "-c",
                f"import sys; sys.path.insert(0, {str(path)!r}); "
                "import streams.analytics.functions as f; print(f.__file__)",
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=path.parent,
        )

    assert found.stdout.startswith(str(path)), "imported from the zip"
    assert "schemas/wire.py" in names
    assert not any(name.startswith(("tests/", "ingest/")) for name in names)
    assert not path.exists()
