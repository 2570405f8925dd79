"""Profiles and dispatch running for one module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringlog.settings import Settings
from tests.integration.dispatch.lab import Process, World

QUICK = {
    "RINGLOG_DISPATCH_RETRY_MS": "500",
    "RINGLOG_DISPATCH_LEASE_MS": "4000",
    "RINGLOG_DISPATCH_PERMIT_MS": "3000",
    "RINGLOG_DISPATCH_PERMIT_GRACE_MS": "500",
    "RINGLOG_FAUST_SESSION_TIMEOUT_S": "3",
}


@pytest.fixture(scope="module")
def world(stack: Settings) -> Iterator[World]:
    made = World(stack)
    yield made
    made.close()


@pytest.fixture(scope="module")
def services(
    stack: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Process]]:
    """Both services, started together; what they said stays in their logs."""
    folder: Path = tmp_path_factory.mktemp("services")
    running = {n: Process(stack, n, folder, QUICK).start() for n in ("profiles", "dispatch")}
    try:
        for process in running.values():
            process.ready()
        yield running
    finally:
        codes = {name: process.stop() for name, process in running.items()}
    assert codes == {"profiles": 0, "dispatch": 0}, {n: p.log()[-2000:] for n, p in running.items()}
