"""The folder with Debian's Asterisk in it: made once a machine by debootstrap, kept in the cache.

Debian's stable releases have no Asterisk, so it is taken from unstable (sid); its version is what
sid has on the day. The address of the mirror is the one that this machine's apt uses.
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.asterisk.packages import Report, Unobtainable, install, obstacle, run

SUITE = "sid"
PACKAGES = ("asterisk", "asterisk-modules")


def cache_dir() -> Path:
    """Folder of what the tests with real peers have brought; shared by every checkout."""
    base = os.environ.get("RINGLOG_CACHE") or Path.home() / ".cache" / "ringlog"
    return Path(base) / "peers"


def root_dir() -> Path:
    """Root folder of the system that Asterisk runs in, whether or not it exists."""
    return cache_dir() / "asterisk"


def reason_absent() -> str | None:
    """Why Asterisk cannot be started now; None when it can."""
    if os.geteuid() != 0:
        return "needs root (chroot)"
    if not root_dir().is_dir():
        return "not installed; `make test-peers` does it"
    return None


def version() -> str:
    """Version of the installed Debian package, such as `1:22.10.1~dfsg-1`."""
    status = (root_dir() / "var/lib/dpkg/status").read_text(encoding="utf-8")
    found = re.search(r"^Package: asterisk\n(?:.+\n)*?Version: (\S+)", status, re.MULTILINE)
    return found[1] if found else "unknown"


def provide(report: Report = print) -> Path:
    """Makes the folder unless it is there; raises Unobtainable with the reason.

    A half-made folder is never seen under the final name. A second process waits for the first.
    """
    if (why := obstacle()) is not None:
        raise Unobtainable(why)
    target = root_dir()
    with _alone():
        if target.is_dir():
            return target
        mirror = _mirror()
        if absent := install(["debootstrap"], report):
            raise Unobtainable(f"debootstrap: {absent['debootstrap']}")
        partial = target.with_name(f"{target.name}.part")
        remove(partial)
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
                   SUITE, str(partial), mirror]  # fmt: skip
        run(command, "bringing Asterisk from Debian unstable (once; 500 MB unpacked)", report)
        for archive in (partial / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        partial.rename(target)
    return target


def remove(folder: Path) -> None:
    """Deletes a folder; what debootstrap has mounted below it is unmounted first."""
    below = f"{folder.resolve()}/"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()[::-1]:
        if (mounted := line.split()[1]).startswith(below):
            subprocess.run(["umount", mounted], check=True)
    shutil.rmtree(folder, ignore_errors=True)


def _mirror() -> str:
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
             "Created-By: Packages"]  # fmt: skip
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        address, release, component = (*line.split(), "", "", "")[:3]
        if component == "main" and "-" not in release and address.rstrip("/").endswith("debian"):
            return address
    raise Unobtainable("apt names no mirror of Debian")


@contextmanager
def _alone() -> Iterator[None]:
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
