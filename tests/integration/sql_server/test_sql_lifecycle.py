"""Starting, stopping, being killed: nothing acknowledged is lost, and errors say what is wrong."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import clickhouse_driver
import pytest
from clickhouse_driver.errors import Error

from tests.integration.sql_server.support import ServerProcess, wait_for


def start_failing(path: Path, *options: str) -> tuple[int, str]:
    """Start a server that is expected to refuse; its exit status and message."""
    command = [sys.executable, "-m", "sql.server", "--path", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    server = ServerProcess(tmp_path / "data")
    idle, busy = server.client(), server.client()
    idle.execute("SELECT 1")
    busy.execute_iter("SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1")
    assert server.stop(number, timeout_s=60) == 0
    assert "Traceback" not in server.errors()
    for client in (idle, busy):
        client.disconnect()
    again = ServerProcess(tmp_path / "data")
    assert again.stop() == 0


def test_a_killed_server_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    client = server.client()
    client.execute("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    acknowledged: list[int] = []

    def write() -> None:
        writer = server.client()
        try:
            for batch in range(100_000):
                rows = [(batch * 100 + n, "x" * 50) for n in range(100)]
                writer.execute("INSERT INTO t VALUES", rows)
                acknowledged.append(batch)
        except (Error, OSError, EOFError):
            pass
        finally:
            writer.disconnect()

    thread = threading.Thread(target=write)
    thread.start()
    wait_for(lambda: len(acknowledged) >= 30, "thirty batches")
    server.kill()
    thread.join(60)
    client.disconnect()
    assert not thread.is_alive()

    again = ServerProcess(tmp_path / "data")
    reader = again.client()
    found = dict(reader.execute("SELECT intDiv(a, 100) AS batch, count() FROM t GROUP BY batch"))
    assert set(acknowledged) <= set(found)
    assert set(found.values()) == {100}, "a batch is there whole or not at all"
    assert len(found) - len(acknowledged) in (0, 1)  # the last one may lack its acknowledgement
    reader.disconnect()
    assert again.stop() == 0


def test_a_second_server_on_the_path_is_told_who_holds_it(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    status, message = start_failing(tmp_path / "data", "--native-port", "0", "--http-port", "0")
    assert status == 1
    assert f"held by process {server.process.pid} (" in message
    assert server.stop() == 0


@pytest.mark.parametrize("option", ["--native-port", "--http-port", "--metrics-port"])
def test_a_port_in_use_is_named(tmp_path: Path, option: str) -> None:
    ports = {"--native-port": "0", "--http-port": "0"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports[option] = str(taken.getsockname()[1])
        options = [part for pair in ports.items() for part in pair]
        status, message = start_failing(tmp_path / "data", *options)
        assert status == 1
        assert f"Port {ports[option]} on 127.0.0.1 is in use" in message
    server = ServerProcess(tmp_path / "data")  # the path was given back
    assert server.stop() == 0


def test_user_and_password_are_asked_for(tmp_path: Path) -> None:
    server = ServerProcess(
        tmp_path / "data",
        "--user",
        "operator",
        "--password-env",
        "TEST_SQL_PASSWORD",
        environment={"TEST_SQL_PASSWORD": "correct horse"},
    )

    def code(**options: str) -> int:
        client = server.client(**options)
        try:
            client.execute("SELECT 1")
        except Error as error:
            number: int = error.code
            return number
        finally:
            client.disconnect()
        return 0

    assert code(user="operator", password="correct horse") == 0
    assert code(user="operator", password="wrong") == 516
    assert code(user="operator") == 516
    assert code() == 516
    assert server.stop() == 0


def test_a_missing_password_variable_is_wrong_usage(tmp_path: Path) -> None:
    status, message = start_failing(tmp_path / "data", "--password-env", "NO_SUCH_VARIABLE")
    assert status == 2
    assert "NO_SUCH_VARIABLE" in message


def test_tables_of_all_databases_outlive_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        server = ServerProcess(tmp_path / "data")
        client = server.client()
        for database in ("default", "ringlog", "other"):
            client.execute(f"CREATE DATABASE IF NOT EXISTS {database}")
            client.execute(
                f"CREATE TABLE IF NOT EXISTS {database}.t (a UInt8) ENGINE = MergeTree ORDER BY a"
            )
            client.execute(f"INSERT INTO {database}.t VALUES", [(number,)])
            rows = client.execute(f"SELECT a FROM {database}.t ORDER BY a")
            assert rows == [(earlier,) for earlier in range(number + 1)]
        engines = client.execute("SELECT DISTINCT engine FROM system.databases WHERE name IN "
                                 "('default', 'ringlog', 'other')")  # fmt: skip
        assert engines == [("Atomic",)]
        client.disconnect()
        assert server.stop() == 0


def test_connections_are_bounded(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--max-connections", "3")
    clients = [server.client() for _ in range(3)]
    assert [client.execute("SELECT 1") for client in clients] == [[(1,)]] * 3
    extra = server.client()
    with pytest.raises(Error) as caught:
        extra.execute("SELECT 1")
    assert caught.value.code == 202
    clients.pop().disconnect()

    def admitted() -> bool:
        fresh: clickhouse_driver.Client = server.client()
        try:
            return bool(fresh.execute("SELECT 1") == [(1,)])
        except (Error, EOFError, OSError):
            return False
        finally:
            fresh.disconnect()

    wait_for(admitted, "a place to be free")
    for client in clients:
        client.disconnect()
    assert server.stop() == 0
