"""The running stack that integration tests share: broker, registry, ClickHouse, contract."""

import os
import random
from collections.abc import Iterator

import pytest

from ringlog.settings import METRICS_SERVICES, Settings, settings
from stack import control, ports

_SHIFTS = range(100, 11_700, 20)  # every port stays below those that the kernel hands out


def free_port_shift() -> int:
    """A shift at which every port of the stack is free now."""
    base = Settings(port_shift=0)
    fixed = [
        base.kafka_port, base.kafka_controller_port, base.registry_port,
        base.registry_management_port, base.clickhouse_native_port, base.clickhouse_http_port,
        base.api_port, base.media_ws_port, base.sim_port, base.flink_ui_port,
        *(base.metrics_port_of(name) for name in METRICS_SERVICES),
    ]  # fmt: skip
    # Rooms that start at the same moment choose among different shifts.
    mine = _SHIFTS[int(os.environ.get("RINGLOG_TEST_LANE", "0")) % 2 :: 2]
    for shift in random.sample(mine, len(mine)):
        if all(ports.is_free("127.0.0.1", port + shift) for port in fixed):
            return shift
    raise RuntimeError("no port shift is free")


@pytest.fixture
def port_shift() -> int:
    """A free shift for a test that starts a stack of its own."""
    return free_port_shift()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a stack started once for the session, with topics, schemas and tables in place.

    The process's environment names it too, for subprocesses and `ringlog.settings.settings()`.
    """
    home = tmp_path_factory.mktemp("stack")
    config = Settings(home=home, port_shift=free_port_shift())
    environment = pytest.MonkeyPatch()
    environment.setenv("RINGLOG_HOME", str(home))
    environment.setenv("RINGLOG_PORT_SHIFT", str(config.port_shift))
    settings.cache_clear()
    control.up(config, only={"contract", "migrate"}, detach=True, tied=True)
    try:
        yield config
    finally:
        control.down(config)
        environment.undo()
        settings.cache_clear()
