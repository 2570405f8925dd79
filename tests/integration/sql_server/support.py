"""Starting the embedded ClickHouse server as a process of its own, for tests."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import clickhouse_driver

READY_S = 60.0


class ServerProcess:
    """``python -m sql.server`` on free ports; ``native`` and ``http`` are the ports."""

    def __init__(
        self,
        path: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """``within`` is a command that becomes the one given to it."""
        self.path = path
        self._errors_path = path.parent / f"{path.name}.stderr"
        command = [*within, sys.executable, "-m", "sql.server", "--path", str(path)]
        command += ["--native-port", "0", "--http-port", "0", *options]
        with self._errors_path.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | dict(environment or {}),
            )
        # A test that fails half-way leaves no server behind.
        atexit.register(self._end)
        ports = self._ready()
        self.native: int = ports["native"]
        self.http: int = ports["http"]
        self.ports = ports

    def _ready(self) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(READY_S) else b""
        if not line:
            self.kill()
            raise RuntimeError(f"the server did not start: {self.errors()}")
        ports: dict[str, Any] = json.loads(line)
        return ports

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def errors(self) -> str:
        """What the server wrote to its standard error."""
        return self._errors_path.read_text(errors="replace")

    def resident_bytes(self) -> int:
        """The process's resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def client(self, **options: Any) -> clickhouse_driver.Client:
        """A clickhouse-driver client; close it with ``disconnect()``."""
        options = {"connect_timeout": 30, "send_receive_timeout": 60} | options
        return clickhouse_driver.Client("127.0.0.1", port=self.native, **options)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """Ask the server to end; its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout_s)
        atexit.unregister(self._end)
        self._close()
        return status

    def kill(self) -> None:
        """End it the hard way."""
        self.process.kill()
        self.process.wait(30)
        atexit.unregister(self._end)
        self._close()

    def _end(self) -> None:
        if self.process.poll() is None:
            self.kill()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_for(condition: Any, what: str, timeout_s: float = 60.0) -> None:
    """Wait until ``condition()`` is true."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        time.sleep(0.02)
