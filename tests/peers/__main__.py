"""Sets up the real peers, then runs the tests against them: `python -m tests.peers [OPTIONS]`.

Options are pytest's. Without any, all tests run, and a few that fail run once more (tests.suite).
What cannot be had here is skipped, and named at the end with the reason.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringlog.settings import root
from tests.peers.peers import PEERS, set_up
from tests.suite import Job, again, forget


def main(options: list[str]) -> int:
    """Exit status of pytest."""
    begun_s = time.monotonic()
    absent = set_up(lambda line: print(line, flush=True))
    print(f"real peers set up after {time.monotonic() - begun_s:.0f} s", flush=True)
    cache = Path(".pytest_cache") / "peers"
    command = (sys.executable, "-m", "pytest", "-q", f"-o=cache_dir={cache}")
    job = Job("peers", (*command, *(options or ["tests/peers"])), cache)
    # Tied to this process: what tests start is tied to pytest, so a kill leaves nothing behind.
    tie = [sys.executable, "-I", "-S", str(root() / "stack" / "exec_shim.py"), str(os.getpid())]
    forget(job)
    status = subprocess.call([*tie, *job.command])
    if status == pytest.ExitCode.TESTS_FAILED and not options and (repeated := again(job)):
        print("once more: what failed", flush=True)
        status = subprocess.call([*tie, *repeated.command])
    for name, why in absent.items():
        print(f"skipped: everything that needs {name}: {why}")
    print(f"real peers here: {', '.join(p for p in PEERS if p not in absent) or 'none'}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
