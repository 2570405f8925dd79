"""clickhouse-go, the native client of most programs in Go, against the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sql_server.support import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]  # a cold build takes minutes

GO = shutil.which("go")
MODULE = "github.com/ClickHouse/clickhouse-go/v2@v2.30.0"
PROGRAM = Path(__file__).with_name("go_client") / "main.go"


def go(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    """Run the go tool in a folder outside the repository."""
    assert GO is not None
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    command = [GO, *arguments]
    return subprocess.run(
        command, cwd=at, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client program, built; the test is skipped where Go or the module cannot be had."""
    if GO is None:
        pytest.skip("go is not on this machine")
    folder = tmp_path_factory.mktemp("go-client")
    shutil.copy(PROGRAM, folder)
    made = go("mod", "init", "check", at=folder)
    assert made.returncode == 0, made.stderr
    got = go("get", MODULE, at=folder)
    if got.returncode:
        pytest.skip(f"{MODULE} cannot be had here: {got.stderr.strip()[-300:]}")
    built = go("build", "-o", "check", ".", at=folder)
    assert built.returncode == 0, built.stderr
    return folder / "check"


def test_C1_C2_C3_C7_clickhouse_go(server: ServerProcess, program: Path) -> None:
    command = [str(program), f"127.0.0.1:{server.native}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    wanted: dict[str, Any] = {
        "parameters": [True] * 5,
        "rows": [[0, 3, 1792978200], [1, 2, 1792978200]],
        "totals": [0, 5],
        "external": [6, 3],
        "late": 395,
        "after": 1,
    }
    assert json.loads(done.stdout) == {"plain": wanted, "lz4": wanted}
