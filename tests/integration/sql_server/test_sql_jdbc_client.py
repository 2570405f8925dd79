"""ClickHouse's JDBC driver, the client of most programs in Java, against the server."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.sql_server.support import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]  # Maven may fetch 30 MB

HERE = Path(__file__).with_name("jdbc_client")
WANTED = [
    "parameters=8 of 8",
    "at=2026-10-25T10:00:00.123Z",
    "decimal=12.34",
    "array=[1, 2]",
    "null=true",
    "big=18446744073709551615",
    "inserted=1000 1000 1000",
    "late error=true",
    "after=1",
]


@pytest.fixture(scope="module")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The driver's jars; the test is skipped where Java, Maven or the driver cannot be had."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("mvn and javac are not on this machine")
    folder = tmp_path_factory.mktemp("jdbc-client")
    shutil.copy(HERE / "pom.xml", folder)
    got = subprocess.run(
        ["mvn", "-q", "-B", "dependency:build-classpath", "-Dmdep.outputFile=jars"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if got.returncode:
        pytest.skip(f"the JDBC driver cannot be had here: {got.stdout.strip()[-300:]}")
    return (folder / "jars").read_text()


def test_C1_C2_C3_C7_jdbc(server: ServerProcess, class_path: str) -> None:
    command = ["java", "-cp", class_path, str(HERE / "Check.java"), f"127.0.0.1:{server.http}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert done.stdout.splitlines() == ["compress=false", *WANTED, "compress=true", *WANTED]
