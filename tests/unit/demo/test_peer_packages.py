"""Debian packages are told by name when they cannot be had."""

import sys
from collections.abc import Sequence

import pytest

from demo.asterisk import packages
from demo.asterisk.packages import Unobtainable


def test_a_failing_command_ends_with_its_last_words() -> None:
    program = "print('first'); print('no such package'); raise SystemExit(3)"
    with pytest.raises(Unobtainable, match="no such package"):
        packages.run([sys.executable, "-c", program], "trying", lambda _: None)


def test_without_root_each_package_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", list)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert packages.install(["a", "b"]) == {"a": "needs root", "b": "needs root"}


def test_one_that_is_gone_takes_no_other_along(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []

    def run(command: Sequence[str], what: str, report: object) -> None:
        if "update" in command:
            return
        wanted = command[command.index("DPkg::Lock::Timeout=300") + 1 :]
        if "gone" in wanted:
            raise Unobtainable("apt-get failed: gone has no candidate")
        installed.extend(wanted)

    monkeypatch.setattr(packages, "missing", list)
    monkeypatch.setattr(packages, "obstacle", lambda: None)
    monkeypatch.setattr(packages, "run", run)
    assert packages.install(["a", "gone", "b"]) == {"gone": "apt-get failed: gone has no candidate"}
    assert installed == ["a", "b"]
