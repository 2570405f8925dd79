"""A stack for one benchmark: its own home and ports, gone with the benchmark's process."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringlog.settings import METRICS_SERVICES, Settings, settings
from stack import control, ports

_STEP, _STEPS = 200, 40


def free_shift(first: int) -> int:
    """The first shift from `first` on at which all ports of a stack are free."""
    base = Settings(port_shift=0)
    wanted = [
        base.kafka_port, base.kafka_controller_port, base.registry_port,
        base.registry_management_port, base.clickhouse_native_port, base.clickhouse_http_port,
        base.api_port, base.media_ws_port, base.sim_port, base.flink_ui_port,
        *(base.metrics_port_of(name) for name in METRICS_SERVICES),
    ]  # fmt: skip
    for shift in range(first, first + _STEP * _STEPS, _STEP):
        if all(ports.is_free("127.0.0.1", port + shift) for port in wanted):
            return shift
    raise RuntimeError(f"no free ports for a stack from shift {first} on")


@contextmanager
def settings_apart() -> Iterator[Settings]:
    """Settings of a stack in a temporary home, on ports that a running one does not use."""
    with tempfile.TemporaryDirectory(prefix="ringlog-bench-") as home:
        shift = free_shift(settings().port_shift + _STEP)
        yield Settings(
            home=Path(home), port_shift=shift, kafka="", registry="", clickhouse_host="",
            law="off",  # nobody is called who is not simulated
        )  # fmt: skip


@contextmanager
def own_stack(only: set[str]) -> Iterator[Settings]:
    """Some services with all that they need, running; call from the main thread."""
    with settings_apart() as config:
        control.up(config, only=only, detach=True, tied=True, report=lambda line: None)
        try:
            yield config
        finally:
            control.down(config)
