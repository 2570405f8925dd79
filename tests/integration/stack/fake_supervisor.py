"""The real supervisor over fake parts: `base` <- `middle` <- `top`, each a fake service."""

import os
import sys
from functools import partial
from pathlib import Path

from ringlog.settings import Settings
from stack import supervisor
from stack.services import Probe, Service

_PROGRAM = str(Path(__file__).with_name("fake_service.py"))


def _told(settings: Settings, name: str, pid: int) -> None:
    """Notes who ended; for `top` it fails afterwards, as a hook may."""
    with (settings.home / "exited").open("a") as file:
        file.write(f"{name} {pid}\n")
    if name == "top":
        raise RuntimeError("the hook is broken")


def build(settings: Settings) -> list[Service]:
    """Three services on the first ports of the stack; `RINGLOG_TEST_EXITS` names one that fails."""
    parts: list[Service] = []
    for name, port, needs in (
        ("base", settings.port(settings.kafka_port), ()),
        ("middle", settings.port(settings.registry_port), ("base",)),
        ("top", settings.port(settings.api_port), ("middle",)),
    ):
        command = [sys.executable, _PROGRAM, name, str(port), str(settings.home)]
        if os.environ.get("RINGLOG_TEST_EXITS") == name:
            command.append("exits")
        probe = Probe("http", f"http://127.0.0.1:{port}/readyz")
        told = partial(_told, settings, name)
        parts.append(
            Service(name, command, needs, probe, {port: "test"}, on_exit=told, silence_s=1.0)
        )
    return parts


if __name__ == "__main__":
    sys.exit(supervisor.main(sys.argv[1:], build))
