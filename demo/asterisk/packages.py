"""Debian packages: installed where this is root on Debian, else told by name with the reason."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Report = Callable[[str], None]

_TELL_EVERY_S = 10.0
_LAST_WORDS = 3


class Unobtainable(RuntimeError):
    """A peer cannot be had on this machine; the text says why."""


def missing(packages: Sequence[str]) -> list[str]:
    """The packages that are not installed; all of them where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return list(packages)
    asked = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in told.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in installed]


def obstacle() -> str | None:
    """Why no Debian package can be installed here; None when nothing is known to stand against."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("apt-get") is None:
        return "needs apt-get"
    return None


def install(packages: Sequence[str], report: Report = print) -> dict[str, str]:
    """Installs what is missing. Returns the packages that could not be had, each with its reason.

    When they cannot be installed together, each is tried by itself: one that is gone from the
    distribution takes no other along.
    """
    wanted = missing(packages)
    if not wanted:
        return {}
    if (why := obstacle()) is not None:
        return dict.fromkeys(wanted, why)
    try:
        run(["apt-get", "update", "-q"], "reading the package lists", report)
    except Unobtainable as error:
        return dict.fromkeys(wanted, str(error))
    try:
        _install(wanted, report)
        return {}
    except Unobtainable as error:
        if len(wanted) == 1:
            return {wanted[0]: str(error)}
    failed = {}
    for name in wanted:
        try:
            _install([name], report)
        except Unobtainable as error:
            failed[name] = str(error)
    return failed


def run(command: Sequence[str], what: str, report: Report) -> None:
    """Runs a long command and tells every 10 s how far it is.

    Raises Unobtainable with the command's last words when it fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    report(f"{what} …")
    begun_s = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, env=environment, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    process.wait(_TELL_EVERY_S)
                    break
                except subprocess.TimeoutExpired:
                    took_s = time.monotonic() - begun_s
                    step = next((x.strip() for x in reversed(lines) if "://" not in x), "")
                    report(f"  {took_s:.0f} s  {step[:70]}")
        except BaseException:
            process.terminate()  # what it leaves half done is mended by the next run
            raise
        reader.join()
    if process.returncode != 0:
        last = " / ".join(x.strip() for x in lines[-_LAST_WORDS:])
        raise Unobtainable(f"{Path(command[0]).name} failed: {last[:300]}")
    report(f"  done after {time.monotonic() - begun_s:.0f} s")


def _install(packages: Sequence[str], report: Report) -> None:
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends",
               "-o", "DPkg::Lock::Timeout=300", *packages]  # fmt: skip
    run(command, f"installing {', '.join(packages)}", report)
