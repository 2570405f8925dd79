"""`make test` leaves no check out."""

import re
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from ringlog.settings import root
from tests import suite
from tests.suite import Job, jobs, rooms_of


def test_every_test_is_in_a_job() -> None:
    todo = jobs(False, rooms_of(root(), False))
    folders = [root() / part for job in todo for part in job.command if part.startswith("tests/")]
    elsewhere = {root() / "tests" / name for name in ("faults", "peers")}  # commands of their own
    for path in (root() / "tests").rglob("test_*.py"):
        if not elsewhere & set(path.parents):
            assert any(folder in path.parents for folder in folders), path
    names = [job.name for job in jobs(True, rooms_of(root(), True))]
    assert "faults" in names and len(names) == len(set(names))


def test_types_are_checked_of_all_that_the_makefile_names() -> None:
    makefile = (root() / "Makefile").read_text(encoding="utf-8")
    named = re.search(r"^CHECKED := (.*)$", makefile, re.MULTILINE)
    assert named and tuple(named[1].split()) == suite.CHECKED
    packages = {p.parent.name for p in root().glob("*/__init__.py")}
    assert packages <= set(suite.CHECKED)


def test_what_takes_long_begins_first_and_failures_are_named(capsys: object) -> None:
    order = [job.name for job in jobs(False, rooms_of(root(), False))]
    assert order[:3] == ["types", "unit", "e2e"]
    fails = Job("bad", (sys.executable, "-c", "print('why'); raise SystemExit(3)"))
    works = Job("good", (sys.executable, "-c", "print('fine')"))
    assert suite.run([works, fails, works], 2) == ["bad"]


def test_no_more_jobs_run_at_a_time_than_there_are_lanes() -> None:
    before = threading.active_count()
    nap = (sys.executable, "-c", "import time; time.sleep(0.05)")
    assert suite.run([Job(str(n), nap) for n in range(4)], 2) == []
    assert threading.active_count() == before


@pytest.mark.parametrize(("failing", "second"), [(2, []), (2, ["room"]), (4, ["room"])])
def test_few_failed_tests_run_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, second: list[str]
) -> None:
    """Each run is noted; what fails twice has failed, and many failures are not tried again.

    With the options of this project: one of them could take pytest's memory away."""
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    project = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))
    options = " ".join(project["tool"]["pytest"]["ini_options"]["addopts"].split())
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\n")
    (tmp_path / "test_room.py").write_text(f"""
import pathlib, pytest
@pytest.mark.parametrize("n", range(6))
def test_it(n):
    runs = pathlib.Path(f"runs{{n}}")
    runs.write_text((runs.read_text() if runs.exists() else "") + "x")
    assert n >= {failing} or {not second} and len(runs.read_text()) > 1
""")
    cache = Path("cache")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cov", f"-o=cache_dir={cache}")
    assert suite.run_twice([Job("room", (*command, "test_room.py"), cache)], 2) == second
    runs = [(tmp_path / f"runs{n}").read_text() for n in range(6)]
    assert runs == ["xx" if n < failing < 4 else "x" for n in range(6)]
