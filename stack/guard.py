"""The guard: parent of the supervisor, adopter of every process below it, last to leave.

However the supervisor ends, SIGKILL included, the guard kills every process left below, including
grandchildren that detached themselves: they are re-parented to it (PR_SET_CHILD_SUBREAPER). When
the guard itself is killed, the supervisor gets SIGTERM and stops the stack in order.

It holds a lock on `supervisor.lock` for its life; a process that cannot take the lock knows that
this home's stack is running.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from ringlog.settings import Settings, root
from stack import environment
from stack.processes import become_subreaper, kill_adopted, terminate_with

EXIT_ALREADY_RUNNING = 4
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class AlreadyRunning(RuntimeError):
    """A stack runs in this home."""


def lock_file(settings: Settings) -> Path:
    """File whose lock means: running. Its text is the supervisor's pid."""
    return settings.home / "supervisor.lock"


def take_lock(settings: Settings) -> int:
    """Descriptor that holds the lock; raises AlreadyRunning."""
    path = lock_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"the stack in {settings.home} is already running") from None
    return descriptor


def run(
    settings: Settings,
    only: Iterable[str] | None,
    console: bool,
    program: Sequence[str] = ("-m", "stack.supervisor"),
) -> int:
    """Run a supervisor to its end and leave nothing behind; returns its exit status.

    Raises AlreadyRunning. Signals that ask for an end are passed on. `program` is what Python runs
    as the supervisor (a test brings its own parts).
    """
    descriptor = take_lock(settings)
    become_subreaper()
    command = [sys.executable, *program, "--guard-pid", str(os.getpid())]
    command += ["--only", ",".join(sorted(only))] if only is not None else []
    command += ["--console"] if console else []
    variables = environment.of_services(settings)
    # The supervisor inherits the lock: it is free only when both are gone.
    supervisor = subprocess.Popen(command, cwd=root(), env=variables, pass_fds=[descriptor])
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(supervisor.pid).encode(), 0)

    def pass_on(number: int, _: FrameType | None) -> None:
        supervisor.send_signal(number)

    for number in STOP_SIGNALS:
        signal.signal(number, pass_on)
    status = supervisor.wait()
    kill_adopted()
    for path in (settings.pids_file, settings.endpoints_file):
        path.unlink(missing_ok=True)
    os.close(descriptor)
    return status if status >= 0 else 128 - status


def main(arguments: list[str]) -> int:
    """Exit status of the detached form; settings come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m stack.guard")
    parser.add_argument("--only", default="")
    parser.add_argument("--tied-to", type=int, help="Stop when this parent process ends")
    options = parser.parse_args(arguments)
    if options.tied_to is not None:
        terminate_with(options.tied_to)
    only = options.only.split(",") if options.only else None
    try:
        return run(Settings(), only, console=False)
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return EXIT_ALREADY_RUNNING


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
