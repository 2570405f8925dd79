"""Start, stop and inspect the stack from another process: for the command line and the tests."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ringlog.crm.addresses import MYSQL_PART, is_mysql
from ringlog.jvm import pins
from ringlog.settings import Settings, root
from stack import environment, guard, jvm, rabbitmq, services
from stack.output import tail_of
from stack.runner import ServiceStatus

_READY_WITHIN_S = 600.0
_STOP_WITHIN_S = 120.0
_POLL_S = 0.1
_ROLES = {
    "follow": "follows",
    "barrier": "takes over",
    "catch_up": "takes over",
    "speak": "speaks",
    "serves": "serves",
    "works": "works",
    "spare": "spare",
}
_IN_PAIRS = ("robots-", "edge", "asr")
_JVM_PARTS = {
    "kafka": "kafka",
    "registry": "registry",
    "analytics": "flink",
    "debezium": "debezium",
    "api": "docs",
}


class StackError(RuntimeError):
    """The stack could not be started or stopped; the message says why."""


class StackNotRunning(StackError):
    """No stack runs in this home (exit code 3)."""


class StackRunning(StackError):
    """A stack runs in this home already."""


def is_running(settings: Settings) -> bool:
    """Whether a supervisor (or its guard, still cleaning up) runs in this home."""
    try:
        descriptor = os.open(guard.lock_file(settings), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def up(
    settings: Settings,
    only: set[str] | None = None,
    detach: bool = False,
    report: Callable[[str], None] = print,
    tied: bool = False,
) -> int:
    """Start the stack, or some services with all that they need.

    Detached, returns 0 when all are ready; `tied` stops them when the calling thread ends, however
    that happens (tests). Otherwise shows the services' output, returns the
    supervisor's exit status after Ctrl-C or `down`. Downloads JVM parts that are missing.

    Raises StackRunning, StackError (with the reason), services.UnknownService, jvm.InstallError.
    """
    parts = services.select(services.build(settings), only)
    if is_running(settings):
        raise StackRunning(f"the stack in {settings.home} is already running (ringlog status)")
    names = {part.name for part in parts}
    jvm_parts = {part for service, part in _JVM_PARTS.items() if service in names}
    if "debezium" in names and is_mysql(settings):
        jvm_parts.add(MYSQL_PART)
    if jvm.missing(pin for pin in pins() if pin.part in jvm_parts):
        jvm.install(report, jvm_parts)
    if "rabbitmq" in names:
        try:
            rabbitmq.install(report)
        except rabbitmq.NoRabbitMQ as error:
            raise StackError(str(error)) from None
    if not detach:
        try:
            return guard.run(settings, only, console=True)
        except guard.AlreadyRunning as error:
            raise StackRunning(str(error)) from None
    _start_detached(settings, only, report, tied)
    return 0


def down(settings: Settings) -> None:
    """Stop the stack and wait until nothing of it is left. Raises StackNotRunning."""
    pid = _supervisor_pid(settings)
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN_S
    while is_running(settings):
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)  # its guard then kills the rest
            deadline = time.monotonic() + _STOP_WITHIN_S
        time.sleep(_POLL_S)


def status(settings: Settings) -> list[ServiceStatus]:
    """Every service of the running stack, in start order, those that run in pairs with their role.

    Raises StackNotRunning, StackError.
    """
    if not is_running(settings):
        raise StackNotRunning(f"no stack is running in {settings.home} (ringlog up -d)")
    answer = _ask(settings, "/status")
    if answer is None:
        raise StackError("the supervisor does not answer: it is starting or stopping")
    return [_with_role(settings, ServiceStatus(**item)) for item in answer]


def _with_role(settings: Settings, item: ServiceStatus) -> ServiceStatus:
    if item.pid is None or not item.service.startswith(_IN_PAIRS):
        return item
    port = settings.metrics_port_of(item.service)
    said = _get(f"http://127.0.0.1:{port}/healthz", timeout_s=1) or {}
    return replace(item, detail=_ROLES.get(str(said.get("role")), ""))


def _start_detached(
    settings: Settings, only: set[str] | None, report: Callable[[str], None], tied: bool
) -> None:
    command = [sys.executable, "-m", "stack.guard"]
    command += ["--only", ",".join(sorted(only))] if only is not None else []
    command += ["--tied-to", str(os.getpid())] if tied else []
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    printed = settings.logs_dir / "supervisor.out"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=root(),
            env=environment.of_services(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait_ready(settings, process, printed, report)
    except BaseException:  # Ctrl-C too: a half-started stack helps nobody
        process.terminate()
        process.wait()
        raise


def _wait_ready(
    settings: Settings,
    process: subprocess.Popen[bytes],
    printed: Path,
    report: Callable[[str], None],
) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    told: set[str] = set()
    while True:
        if (code := process.poll()) is not None:
            if code == guard.EXIT_ALREADY_RUNNING:
                raise StackRunning(tail_of(printed))
            raise StackError(tail_of(printed) or f"the supervisor exited with status {code}")
        for item in _ask(settings, "/status") or []:
            if item["ready"] and item["service"] not in told:
                told.add(item["service"])
                report(f"{item['service']} {'done' if item['state'] == 'done' else 'ready'}")
        if _ask(settings, "/readyz") is not None:
            return
        if time.monotonic() > deadline:
            raise StackError(f"the stack is not ready after {_READY_WITHIN_S:.0f} s")
        time.sleep(_POLL_S)


def _ask(settings: Settings, path: str) -> Any:
    """JSON from this home's supervisor; None when it does not answer 200.

    Only asked while `pids.json` exists, so that another home's stack on these ports never answers.
    """
    if not settings.pids_file.is_file():
        return None
    return _get(f"http://127.0.0.1:{settings.metrics_port_of('supervisor')}{path}", timeout_s=5)


def _get(address: str, timeout_s: float) -> Any:
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return None


def _supervisor_pid(settings: Settings) -> int:
    if not is_running(settings):
        raise StackNotRunning(f"no stack is running in {settings.home}")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        text = guard.lock_file(settings).read_text()
        if text.isdigit():
            return int(text)
        time.sleep(_POLL_S)  # the guard has the lock but not yet a supervisor
    raise StackError("the supervisor's pid is not known")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended meanwhile
