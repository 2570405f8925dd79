"""Become a program in another root folder: `jail.py PARENT_PID ROOT USER PROGRAM ARG...`.

Changes the root, drops to the user, and asks Linux for SIGKILL when the parent's thread that
started it ends (prctl(2), PR_SET_PDEATHSIG): last, since a change of user forgets the request.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Never returns; exits 127 when the program cannot be started."""
    parent, root, user, command = int(arguments[0]), arguments[1], arguments[2], arguments[3:]
    libc = ctypes.CDLL(None, use_errno=True)
    os.chroot(root)
    os.chdir("/")
    uid, gid = _ids(user)
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; programs expect it
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


def _ids(user: str) -> tuple[int, int]:
    """User and group id in the new root, whose names the C library does not look up there."""
    with open("/etc/passwd", encoding="utf-8") as file:
        for line in file:
            name, _, uid, gid, *_ = line.split(":")
            if name == user:
                return int(uid), int(gid)
    sys.exit(f"no user {user}")


if __name__ == "__main__":
    main(sys.argv[1:])
