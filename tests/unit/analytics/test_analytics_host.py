"""Pure parts of the host: statements, checkpoints, ticks, and what Flink says of the job."""

import os
from pathlib import Path

import pytest

from ringlog.settings import Settings
from streams.analytics import checkpoints, records, ticks
from streams.analytics.statements import SIZES_S, statements
from streams.analytics.watch import judge


def test_statements_are_whole_and_filled_in() -> None:
    sql = statements(Settings(kafka="broker'1:9092"))

    every = [*sql.records, *sql.turns, *sql.inserts]
    assert all(s.startswith(("CREATE TEMPORARY", "INSERT INTO")) for s in every)
    assert not any("${" in s or s.endswith(";") for s in every)
    assert any("'broker''1:9092'" in s for s in sql.records)
    assert any(f"{records.SOURCE};{records.TICKS}" in s for s in sql.records)
    for size_s in SIZES_S:
        assert any(f"VIEW windows_{size_s}s" in s for s in sql.turns)
    assert len(sql.inserts) == 2


def make_checkpoint(folder: Path, job: str, n: int, made_s: float, complete: bool = True) -> Path:
    path = folder / job / f"chk-{n}"
    path.mkdir(parents=True)
    if complete:
        (path / "_metadata").write_bytes(b"x")
        os.utime(path / "_metadata", (made_s, made_s))
    return path


def test_the_newest_complete_checkpoint_is_restored_and_other_jobs_go(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "a", 12, 1_000)
    wanted = make_checkpoint(tmp_path, "b", 3, 2_000)
    make_checkpoint(tmp_path, "b", 4, 3_000, complete=False)

    assert checkpoints.newest(tmp_path, now_s=2_500) == wanted

    checkpoints.prune(tmp_path, wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]
    assert wanted.is_dir()


def test_a_savepoint_is_restored_like_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path, "a", 12, 1_000)
    saved = checkpoint.rename(checkpoint.with_name("savepoint-1a2b3c-d4e5"))
    assert checkpoints.newest(tmp_path, now_s=2_500) == saved


def test_an_old_checkpoint_is_not_restored(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "a", 1, 1_000)

    assert checkpoints.newest(tmp_path, 1_000 + checkpoints.MAX_AGE_S) is not None
    assert checkpoints.newest(tmp_path, 1_001 + checkpoints.MAX_AGE_S) is None
    checkpoints.prune(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_where_there_is_no_folder(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "none", 0) is None


@pytest.mark.parametrize(
    ("now_ms", "at_ms", "wait_ms"), [(5_000, 5_000, 1_000), (5_001, 5_000, 999), (5_999, 5_000, 1)]
)
def test_ticks_fall_on_whole_seconds(now_ms: int, at_ms: int, wait_ms: int) -> None:
    assert ticks.due(now_ms) == (at_ms, wait_ms)


def test_a_tick_of_a_second_is_the_same_event_whoever_writes_it() -> None:
    assert ticks.tick(3, 5_000) == ticks.tick(3, 5_000)
    made = {ticks.tick(p, at).event_id for p in range(8) for at in (5_000, 6_000)}
    assert len(made) == 16


def test_ready_means_that_all_tasks_run() -> None:
    def job(state: str, *tasks: str) -> dict[str, object]:
        return {"state": state, "vertices": [{"status": t} for t in tasks]}

    assert judge(job("RUNNING", "RUNNING", "RUNNING")).waiting_for == ""
    assert "1 of 2" in judge(job("RUNNING", "RUNNING", "DEPLOYING")).waiting_for
    assert "RESTARTING" in judge(job("RESTARTING", "CANCELED")).waiting_for
    assert judge({}).waiting_for
    assert judge(job("RUNNING")).waiting_for, "no task is known yet"
    assert judge(job("FAILED", "FAILED")).over
    assert not judge(job("RESTARTING", "FAILED")).over
