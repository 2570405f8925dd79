"""One server for the session, clients of both compressions, and a table name per test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import clickhouse_driver
import pytest

from tests.integration.sql_server.support import ServerProcess

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server that all tests of the session share."""
    running = ServerProcess(tmp_path_factory.mktemp("sql-server") / "data")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


@pytest.fixture(params=[False, "lz4"], ids=["plain", "lz4"])
def client(
    server: ServerProcess, request: pytest.FixtureRequest
) -> Iterator[clickhouse_driver.Client]:
    """A clickhouse-driver client, without and with compression."""
    connected = server.client(compression=request.param)
    yield connected
    connected.disconnect()


@pytest.fixture
def table() -> str:
    """A table name that no other test uses."""
    return f"t{next(_numbers)}"
