"""The seat: one holder, one successor, free with its holder's death and not before."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringlog.seat import Seat

HOLDER = """
import sys, time
from pathlib import Path
from ringlog.seat import Seat
seat = Seat(Path(sys.argv[1]), "holder")
print(seat.take(), flush=True)
if seat.wait(lambda: False):
    print("seated", flush=True)
time.sleep(600)
"""


@contextmanager
def process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that takes the seat, or waits for it; what it got is its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_a_spare_takes_over_from_the_dead_and_not_from_the_stopped(tmp_path: Path) -> None:
    path = tmp_path / "seat"
    ours = Seat(path, "ours")
    with process(path) as holder:
        assert line(holder) == "True" and line(holder) == "seated"
        assert path.read_text() == f"holder {holder.pid}\n"
        holder.send_signal(signal.SIGSTOP)
        assert not ours.take()
        holder.kill()
        holder.wait()
        assert ours.wait(lambda: False)
        assert path.read_text() == f"ours {os.getpid()}\n"


def test_a_holder_knows_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "seat"
    ours = Seat(path, "ours")
    assert ours.take() and not ours.has_successor()
    third = Seat(path, "third")
    with process(path) as spare:
        assert line(spare) == "False"
        assert ours.has_successor() and not third.take()
    assert not ours.has_successor()
    assert not third.take() and ours.has_successor()  # it has moved up


def test_a_spare_that_is_told_to_stop_stops(tmp_path: Path) -> None:
    path = tmp_path / "seat"
    assert Seat(path, "holder").take()
    assert not Seat(path, "spare").wait(lambda: True)
