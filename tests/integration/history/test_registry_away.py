"""The registry away: services that start wait and say so, those that run go on, nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from clickhouse_driver import Client

from ringlog.settings import Settings, root
from schemas.catalogue import TOPICS
from schemas.wire import HEADER
from streams.history.compare import compare
from tests.integration.history.support import Log, Offsets, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SERVICES = {
    "edge": ("ingest",),
    "edge-b": ("ingest", "--spare"),
    "robots-a": ("streams.robots", "--name", "a"),
    "profiles": ("streams.profiles",),
    "api": ("streams.api",),
    "history": ("streams.history",),
}


class Door:
    """The way to the registry; services know its address only."""

    def __init__(self, registry_url: str) -> None:
        self._inside = registry_url
        self._server: ThreadingHTTPServer | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """From now on it answers."""
        inside = self._inside

        class Pass(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                asked = urllib.request.Request(
                    inside + self.path,
                    self.rfile.read(length) if length else None,
                    {"Content-Type": self.headers.get("Content-Type", "")},
                )
                try:
                    with urllib.request.urlopen(asked, timeout=30) as found:
                        status, body = found.status, found.read()
                except urllib.error.HTTPError as error:
                    status, body = error.code, error.read()
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Pass)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """From now on nobody answers."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Services:
    """Processes by the names of their services."""

    def __init__(self, config: Settings, registry_url: str) -> None:
        self._config = config
        self._environment = {**os.environ, "RINGLOG_REGISTRY": registry_url}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.all: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", *SERVICES[name]], cwd=root(), env=self._environment
        )
        self.all.append(self.processes[name])

    def ask(self, name: str, what: str) -> dict[str, Any]:
        """The answer of `/readyz` or `/healthz`; empty when there is none."""
        url = f"http://127.0.0.1:{self._config.metrics_port_of(name)}/{what}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        except OSError:
            return {}
        found: dict[str, Any] = json.loads(body)
        return found

    def ready(self, name: str) -> bool:
        return bool(self.ask(name, "readyz").get("ready"))

    def waits_for_registry(self, name: str) -> bool:
        return "no answer from the schema registry" in self.ask(name, "readyz").get(
            "waiting_for", ""
        )

    def assert_alive(self) -> None:
        assert [n for n, p in self.processes.items() if p.poll() is not None] == []

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; exit codes."""
        for process in self.processes.values():
            process.terminate()
        return {name: process.wait(60) for name, process in self.processes.items()}


@pytest.fixture
def door(stack: Settings) -> Iterator[Door]:
    made = Door(stack.registry_url)
    yield made
    made.close()


@pytest.fixture
def services(stack: Settings, door: Door) -> Iterator[Services]:
    made = Services(stack, door.url)
    yield made
    for process in made.all:
        process.kill()
        process.wait()


def test_services_wait_for_the_registry_and_then_need_it_no_more(
    stack: Settings, log: Log, offsets: Offsets, door: Door, services: Services
) -> None:
    calm = [TOPICS[name] for name in ("calls.events", "audit", "profiles.inbox")]  # no heartbeats
    ours = Offsets(stack, calm)
    for topic in calm[:2]:
        log.good(topic, 5)
    log.flush()
    for name in SERVICES:
        services.start(name)
    for name in SERVICES:
        wait_for(f"{name}'s reason", lambda n=name: services.waits_for_registry(n))  # type: ignore[misc]
    services.assert_alive()

    # One that waits is told to stop.
    waiting = services.processes.pop("robots-a")
    waiting.terminate()
    assert waiting.wait(30) == 0
    services.start("robots-a")

    door.open()
    for name in SERVICES:
        wait_for(f"{name} ready", lambda n=name: services.ready(n))  # type: ignore[misc]
    services.assert_alive()
    wait_for("the end of the log", ours.caught_up)

    # It goes away again: what runs goes on, and whoever stands by takes over.
    door.close()
    for topic in calm[:2]:
        log.good(topic, 50)
    log.flush()
    wait_for("the end of the log", ours.caught_up)
    seated = next(n for n in ("edge", "edge-b") if services.ask(n, "healthz")["role"] == "serves")
    other = "edge-b" if seated == "edge" else "edge"
    dead = services.processes.pop(seated)
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    wait_for("the other edge", lambda: services.ask(other, "healthz").get("role") == "serves")
    wait_for("the other edge is ready", lambda: services.ready(other))

    # A schema that nobody has met: it may be poison or not, so its record waits, and only that.
    partition, offset = log.raw(TOPICS["profiles.inbox"], HEADER.pack(0, 2**31 - 1) + b"x")
    log.raw(TOPICS["calls.events"], HEADER.pack(0, 2**31 - 1) + b"x")
    wait_for("history's reason", lambda: services.waits_for_registry("history"))
    services.assert_alive()
    for name in ("profiles", "robots-a", "api", other):  # K2: whoever has met one says so
        wait_for(f"{name}'s reason", lambda n=name: services.waits_for_registry(n))  # type: ignore[misc]
    assert not ours.caught_up()
    door.open()
    wait_for("the end of the log", ours.caught_up)
    host, port = stack.clickhouse_native
    client = Client(host, port, stack.clickhouse_database)

    def buried_by_profiles() -> bool:
        ((found,),) = client.execute(
            "SELECT count() FROM raw_dead_letters FINAL WHERE source_topic = 'profiles.inbox' "
            "AND source_partition = %(p)s AND source_offset = %(o)s AND producer = 'profiles'",
            {"p": partition, "o": offset},
        )
        return bool(found == 1)

    wait_for("its dead letter", buried_by_profiles)
    client.disconnect()
    ours.close()
    services.assert_alive()
    history = services.processes.pop("history")
    assert set(services.stop().values()) == {0}
    wait_for("the end of the log", offsets.caught_up)
    found = compare(stack)
    assert found.rows > 0 and not found.differences
    services.processes = {"history": history}
    assert services.stop() == {"history": 0}
