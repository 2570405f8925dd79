"""A real CRM around the bridge: PostgreSQL with the sample schema, Debezium, RabbitMQ."""

import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import requests
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import consumer_of, read
from ringlog.settings import Settings, root
from ringlog.webhooks import keys_of, verified_id
from schemas.catalogue import topic
from schemas.events import CrmDelivery, CustomerChange, Profile
from stack import postgres, rabbitmq

PATIENCE_S = 60.0
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
"""Of the endpoint for results; good for tests only."""

_MARK = "<done>"


def until(what: str, look: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What `look` finds; raises AssertionError when it finds nothing in time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


class Sql:
    """A session of `psql` that stays open: a statement is committed when `run` returns."""

    def __init__(self, config: Settings) -> None:
        self._psql = subprocess.Popen(
            postgres.psql(config, "-At"), env=postgres.psql_environment(config), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1,
        )  # fmt: skip

    def run(self, statement: str) -> list[str]:
        """Its rows; raises AssertionError if psql gave up."""
        assert self._psql.stdin is not None and self._psql.stdout is not None
        try:
            self._psql.stdin.write(f"{statement};\n\\echo {_MARK}\n")
        except BrokenPipeError:
            raise AssertionError("psql gave up") from None
        rows = []
        while (line := self._psql.stdout.readline().rstrip("\n")) != _MARK:
            assert line or self._psql.poll() is None, "psql gave up"
            rows.append(line)
        return rows

    def close(self) -> None:
        """Ends the session."""
        assert self._psql.stdin is not None
        self._psql.stdin.close()
        self._psql.wait(10)


class Part:
    """One of our processes, tied to the test's."""

    def __init__(
        self, config: Settings, service: str, module: str, folder: Path, **env: str
    ) -> None:
        self._command = [sys.executable, "-m", module]
        self._env = {**os.environ, **env}
        self._ready = f"http://127.0.0.1:{config.metrics_port_of(service)}/readyz"
        self._log = folder / f"{service}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts it, at once."""
        shim = [sys.executable, "-I", "-S", str(root() / "stack" / "exec_shim.py"),
                str(os.getpid())]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*shim, *self._command], cwd=root(), stdout=log, stderr=log, env=self._env
            )
        return self

    def ready(self) -> Self:
        """Waits until it says so."""

        def look() -> bool:
            assert self._process is not None and self._process.poll() is None, self.log
            try:
                return requests.get(self._ready, timeout=2).ok
            except requests.RequestException:
                return False

        until(" ".join(self._command[1:]), look)
        return self

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Its exit status, asked to stop."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    @property
    def log(self) -> str:
        """Its last words."""
        return self._log.read_text(errors="replace")[-3000:]


def kill_postgres(config: Settings) -> None:
    """Ends the server at once; the stack starts it again."""
    file = postgres.home(config) / "data" / "postmaster.pid"
    os.kill(int(file.read_text().splitlines()[0]), signal.SIGKILL)


def kill_rabbitmq(config: Settings) -> None:
    """Ends the broker at once; the stack starts it again."""
    os.kill(int((rabbitmq.home(config) / "pid").read_text()), signal.SIGKILL)


def rabbitmqctl(config: Settings, *arguments: str) -> str:
    """What the broker's own tool says."""
    done = subprocess.run(
        ["rabbitmqctl", "--quiet", *arguments], env=rabbitmq.environment(config), text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


class Tail:
    """What comes on some topics, from now on."""

    def __init__(self, config: Settings, *topics: str) -> None:
        self._codec = codec_of(config)
        self._consumer = consumer_of(config, "crm-test")
        places = [TopicPartition(t, p) for t in topics for p in range(topic(t).partitions)]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=10)[1]
        self._consumer.assign(places)

    def first(
        self, wanted: Callable[[CustomerChange | Profile], bool], patience_s: float = PATIENCE_S
    ) -> CustomerChange | Profile:
        """The first event like that; raises AssertionError when none comes in time."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            message = self._consumer.poll(0.05)
            if message is None or message.error() is not None:
                continue
            event = self._codec.decode(message.topic() or "", message.value())
            assert isinstance(event, CustomerChange | Profile)
            if wanted(event):
                return event
        raise AssertionError("it did not come")

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close()


class Changes:
    """Changes on the log by customer, in order; of records with one id the first counts."""

    def __init__(self, config: Settings) -> None:
        self._codec = codec_of(config)
        self._consumer = consumer_of(config, "crm-test")
        name = "customers.changes"
        self._consumer.assign(
            [TopicPartition(name, p, OFFSET_BEGINNING) for p in range(topic(name).partitions)]
        )
        self._seen: set[str] = set()
        self._found: dict[str, list[CustomerChange]] = defaultdict(list)

    def look(self) -> dict[str, list[CustomerChange]]:
        """All so far."""
        while messages := self._consumer.consume(1_000, 0.5):
            for message in messages:
                assert message.error() is None, message.error()
                event = self._codec.decode("customers.changes", message.value())
                assert isinstance(event, CustomerChange) and event.customer_id is not None
                if event.event_id not in self._seen:
                    self._seen.add(event.event_id)
                    self._found[event.customer_id].append(event)
        return self._found

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close()


def deliveries(config: Settings) -> list[CrmDelivery]:
    """Everything in the delivery log."""
    codec = codec_of(config)
    found = []
    for record in read(config, "crm.deliveries", client_id="crm-test"):
        event = codec.decode("crm.deliveries", record.value)
        assert isinstance(event, CrmDelivery)
        found.append(event)
    return found


class Webhook(AbstractContextManager["Webhook"]):
    """A CRM's endpoint that refuses every fifth request for now, and checks signatures."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        requests_seen = itertools.count(1)
        keys, got = keys_of(SECRET), self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802 # the library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                verified_id(keys, headers, body, time.time())
                away = next(requests_seen) % 5 == 0
                if not away:
                    got.append(json.loads(body))
                self.send_response(503 if away else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass  # not on the test's output

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/results"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
