"""The data path belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from types import TracebackType

_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")
_LOCK_NAME = ".server.lock"


class PathInUseError(RuntimeError):
    """Another process holds the data path; the message says which."""


class PathLock:
    """An exclusive lock on a data path, released when closed or when this process dies.

    The engine refuses a second process too, but without giving a reason.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises PathInUseError, or OSError when the path cannot be written."""
        path.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise PathInUseError(
                f"The data path {path} is held by {describe_process(holder)}"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Give the path back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> PathLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def forget_empty_default(path: Path) -> None:
    """Remove the definition of an empty ``default`` database, so that it can be made anew.

    Without tables a database leaves its definition but no directory, and the engine can then
    neither attach the database (no UUID mapping) nor create it (the definition exists).
    """
    definition = path / "metadata" / "default.sql"
    if not definition.exists() or os.path.lexists(path / "metadata" / "default"):
        return
    found = _UUID.search(definition.read_text(errors="replace"))
    if found is not None:
        tables = path / "store" / found.group(1)[:3] / found.group(1)
        if any(tables.glob("*.sql")):
            return
    definition.unlink()
    definition.with_name("default.sql.tmp").unlink(missing_ok=True)


def describe_process(pid: str) -> str:
    """``process 12 (python -m …)`` as far as the system tells it."""
    if not pid.isdigit():
        return "another process"
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return f"process {pid}"
    command = raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return f"process {pid} ({command[:200]})" if command else f"process {pid}"


def holder_of(path: Path) -> str | None:
    """Describe a process, not this one, that has a file under ``path`` open; None if none is seen.

    Looks through /proc, so it sees this user's processes only.
    """
    inside = str(path.resolve()) + os.sep
    own = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == own:
            continue
        try:
            for descriptor in (entry / "fd").iterdir():
                if os.readlink(descriptor).startswith(inside):
                    return describe_process(entry.name)
        except OSError:
            continue  # not ours, or gone meanwhile
    return None
