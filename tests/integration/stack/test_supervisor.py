"""The supervisor over fake services: deaths of every kind, order, conflicts, logs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ringlog.settings import Settings, root
from stack import control, environment
from stack.control import StackError, StackNotRunning, StackRunning
from stack.ports import is_free

_FAKE = str(Path(__file__).with_name("fake_supervisor.py"))
_GUARD = """
import sys
from ringlog.settings import Settings
from stack import guard
sys.exit(guard.run(Settings(), None, console=True, program=(sys.argv[1],)))
"""
_WITHIN_S = 60.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition on a machine that may be busy."""
    deadline = time.monotonic() + _WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen in {_WITHIN_S:.0f} s: {what}")
        time.sleep(0.05)


class Stack:
    """A stack of fake services, its guard a child of the test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.guard: subprocess.Popen[str] | None = None

    def start(self, **env: str) -> subprocess.Popen[str]:
        """Start the guard; does not wait."""
        self.guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, _FAKE],
            cwd=root(),
            env={**environment.of_services(self.settings), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self.guard

    def start_ready(self) -> subprocess.Popen[str]:
        """Start and wait until all services are ready."""
        process = self.start()
        eventually(self.all_ready, "all fake services ready")
        return process

    def all_ready(self) -> bool:
        try:
            return all(item.ready for item in control.status(self.settings))
        except StackError:
            return False

    def pids(self) -> dict[str, int]:
        """Content of pids.json."""
        content: dict[str, int] = json.loads(self.settings.pids_file.read_text())
        return content

    def family(self, name: str) -> list[psutil.Process]:
        """A service's process and its two grandchildren."""
        text = (self.settings.home / f"{name}.pids").read_text()
        return [psutil.Process(int(pid)) for pid in text.split()]

    def families(self) -> list[psutil.Process]:
        """All processes of all services."""
        return [p for name in ("base", "middle", "top") for p in self.family(name)]


@pytest.fixture
def fake(tmp_path: Path, port_shift: int) -> Iterator[Stack]:
    stack = Stack(Settings(home=tmp_path, port_shift=port_shift))
    yield stack
    if stack.guard is not None:
        if stack.guard.poll() is None:
            stack.guard.terminate()
        stack.guard.communicate(timeout=_WITHIN_S)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of these lives (psutil compares start times, so a reused pid is no life)."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_stops_in_reverse_order_and_leaves_nothing(fake: Stack) -> None:
    guard = fake.start_ready()
    everything = psutil.Process(guard.pid).children(recursive=True)
    assert {p.pid for p in fake.families()} <= {p.pid for p in everything}
    assert set(fake.pids()) == {"supervisor", "base", "middle", "top"}
    assert fake.settings.endpoints_file.is_file()
    control.down(fake.settings)
    assert guard.wait(_WITHIN_S) == 0
    assert gone(everything)
    assert (fake.settings.home / "stopped").read_text().split() == ["top", "middle", "base"]
    assert not fake.settings.pids_file.exists()
    assert not fake.settings.endpoints_file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guard_stops_in_order(fake: Stack, number: signal.Signals) -> None:
    guard = fake.start_ready()
    families = fake.families()
    guard.send_signal(number)
    assert guard.wait(_WITHIN_S) == 0
    assert gone(families)
    assert (fake.settings.home / "stopped").read_text().split() == ["top", "middle", "base"]


def test_killed_supervisor_leaves_no_process(fake: Stack) -> None:
    guard = fake.start_ready()
    everything = psutil.Process(guard.pid).children(recursive=True)
    os.kill(fake.pids()["supervisor"], signal.SIGKILL)
    assert guard.wait(_WITHIN_S) == 128 + signal.SIGKILL
    assert gone(everything)
    assert not fake.settings.pids_file.exists()
    with pytest.raises(StackNotRunning):
        control.status(fake.settings)


def test_killed_guard_leaves_no_process(fake: Stack) -> None:
    guard = fake.start_ready()
    everything = psutil.Process(guard.pid).children(recursive=True)
    guard.kill()
    guard.wait(_WITHIN_S)
    eventually(lambda: gone(everything), "everything ends after the guard's death")
    eventually(lambda: not control.is_running(fake.settings), "the lock is free")


def test_killed_service_is_restarted_and_its_grandchildren_are_not_left(fake: Stack) -> None:
    fake.start_ready()
    old = fake.family("middle")
    os.kill(old[0].pid, signal.SIGKILL)
    eventually(lambda: gone(old), "the old service's grandchildren end")
    eventually(lambda: fake.all_ready() and fake.family("middle")[0].pid != old[0].pid, "a new one")
    by_name = {item.service: item for item in control.status(fake.settings)}
    assert by_name["middle"].restarts == 1
    assert by_name["top"].restarts == 0
    assert by_name["middle"].pid == fake.pids()["middle"] == fake.family("middle")[0].pid


def test_a_service_that_no_longer_answers_is_started_anew(fake: Stack) -> None:
    fake.start_ready()
    old = fake.family("middle")
    old[0].suspend()
    eventually(lambda: gone(old), "the stuck service is killed")
    eventually(lambda: fake.all_ready() and fake.family("middle")[0].pid != old[0].pid, "a new one")
    by_name = {item.service: item for item in control.status(fake.settings)}
    assert (by_name["middle"].restarts, by_name["top"].restarts) == (1, 0)
    assert "no answer for" in (fake.settings.logs_dir / "middle.jsonl").read_text()


def test_a_service_that_ended_unasked_is_told_of_and_a_broken_hook_harms_nobody(
    fake: Stack,
) -> None:
    fake.start_ready()
    told = fake.settings.home / "exited"
    for name in ("middle", "top"):
        pid = fake.pids()[name]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda n=name, p=pid: f"{n} {p}\n" in _text(told), "the hook is called")  # type: ignore[misc]
        eventually(lambda n=name, p=pid: fake.pids().get(n, p) != p, "a new one starts")  # type: ignore[misc]
        eventually(fake.all_ready, "it is ready")
    log = fake.settings.logs_dir / "top.jsonl"
    eventually(lambda: "the hook is broken" in _text(log), "the fault is logged")
    before = _text(told)
    control.down(fake.settings)
    assert _text(told) == before, "whoever is stopped says good-bye itself"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_taken_port_names_its_holder_and_starts_nothing(fake: Stack) -> None:
    port = fake.settings.port(fake.settings.registry_port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        printed, _ = fake.start().communicate(timeout=_WITHIN_S)
    assert fake.guard is not None and fake.guard.returncode == 1
    assert f"port {port} (middle: test) is held by" in printed
    assert f"pid {os.getpid()}" in printed
    assert not list(fake.settings.home.glob("*.pids"))


def test_a_service_that_cannot_start_fails_the_start_with_its_last_lines(fake: Stack) -> None:
    printed, _ = fake.start(RINGLOG_TEST_EXITS="middle").communicate(timeout=_WITHIN_S)
    assert fake.guard is not None and fake.guard.returncode == 1
    assert "middle does not start: exited with status 3" in printed
    assert "middle says hello" in printed
    base = (fake.settings.home / "base.pids").read_text().split()
    assert not any(psutil.pid_exists(int(pid)) for pid in base)
    assert not (fake.settings.home / "top.pids").exists()
    assert all(is_free("127.0.0.1", fake.settings.port(p)) for p in (19092, 18081, 18080))


def test_a_second_stack_in_the_same_home_is_refused(fake: Stack) -> None:
    fake.start_ready()
    with pytest.raises(StackRunning, match="already running"):
        control.up(fake.settings, only={"kafka"}, detach=True)
    assert fake.all_ready()


def test_output_is_prefixed_and_stored_as_json_lines(fake: Stack) -> None:
    guard = fake.start_ready()
    control.down(fake.settings)
    printed, _ = guard.communicate(timeout=_WITHIN_S)
    assert "base       | ERROR base says hello" in printed
    stored = (fake.settings.logs_dir / "base.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in stored]
    hello = next(r for r in records if r["event"] == "base says hello")
    assert (hello["service"], hello["level"]) == ("base", "error")


def test_commands_exit_with_3_when_no_stack_runs(tmp_path: Path) -> None:
    env = environment.of_services(Settings(home=tmp_path))
    for verb in ("down", "status"):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", verb],
            cwd=root(), env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 3
        assert "no stack is running" in done.stderr
