"""Process trees on Linux: adopt orphans, and leave none behind."""

import ctypes
import os
import signal

import psutil

TAG = "RINGLOG_SUPERVISED"
"""Environment variable that names the service a process belongs to."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphans below this process become its children (prctl(2)), however they detached."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def terminate_with(parent_pid: int) -> None:
    """SIGTERM this process when its parent dies; at once if it is dead already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGTERM)


def kill_group(leader_pid: int) -> None:
    """SIGKILL what is left of a process group."""
    try:
        os.killpg(leader_pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left


def kill_adopted(tag: str | None = None) -> int:
    """Kill this process's children with all below, and reap them. Returns how many were killed.

    With a tag, only those whose environment carries it: the grandchildren that a dead service of
    that tag left behind, wherever they detached to.
    """
    killed = 0
    while adopted := [c for c in psutil.Process().children() if tag is None or _tagged(c, tag)]:
        for child in adopted:
            for process in [*_below(child), child]:
                _kill(process)
                killed += 1
            try:
                child.wait(timeout=10)  # what it leaves is adopted in the next round
            except psutil.Error:
                return killed
    return killed


def _tagged(process: psutil.Process, tag: str) -> bool:
    try:
        return process.environ().get(TAG) == tag
    except psutil.Error:
        return False


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        pass


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl: {os.strerror(error)}")
