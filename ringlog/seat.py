"""A seat that only one process of a machine can hold: it serves, the others are ready.

The lock is the kernel's (flock(2)). It is free the moment its holder is dead and never before,
however long the holder is stopped, stalled or cut off: a spare cannot serve beside a holder that
merely sleeps, so nothing has to be fenced. (A timed lease needs fencing and costs its time-out;
only processes on different machines need one.)
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.02
"""How often a spare tries. Blocking in flock() would hold up a clean stop."""


class Seat:
    """A named role in a file, held until the process ends; one process may wait for it."""

    def __init__(self, path: Path, who: str) -> None:
        """`who` is written into the file by the holder, with its pid, for people who look."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._who = who
        self._seat = _opened(path)
        self._next = _opened(path.with_suffix(".next"))

    def take(self) -> bool:
        """Takes the seat if free, else the successor's place if free."""
        if not _lock(self._seat):
            _lock(self._next)
            return False
        fcntl.flock(self._next, fcntl.LOCK_UN)
        os.ftruncate(self._seat, 0)
        os.pwrite(self._seat, f"{self._who} {os.getpid()}\n".encode(), 0)
        return True

    def has_successor(self) -> bool:
        """Whether another process waits; for the holder."""
        if not _lock(self._next):
            return True
        fcntl.flock(self._next, fcntl.LOCK_UN)
        return False

    async def taken(self) -> None:
        """Waits until the seat is this process's."""
        while not self.take():  # noqa: ASYNC110 # the kernel tells no event loop of a lock
            await asyncio.sleep(POLL_S)

    def wait(self, stopping: Callable[[], bool]) -> bool:
        """The same without an event loop; False when told to stop meanwhile."""
        while not self.take():
            if stopping():
                return False
            time.sleep(POLL_S)
        return True


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
