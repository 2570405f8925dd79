"""The archive on disk: repeats, crashes between files, damage, retention."""

import json
from datetime import date
from pathlib import Path

import pytest

from ringlog.audio.recording import Track
from streams.archive.files import Archive, Damaged, day_of, first_day_kept, name_of
from tests.unit.archive.build import voice

DAY, T = "2026/03/01", 1_772_323_200_000


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "home" / "recordings")


def tracks(n: int = 4_000) -> list[Track]:
    return [
        Track("customer", 7, 8_000, 250, voice(n, 1), 20),
        Track("robot", 2**32 - 1, 16_000, 0, voice(2 * n, 2), 0),
    ]


def snapshot(archive: Archive) -> dict[str, bytes]:
    found = (p for p in archive.folder.rglob("*") if p.is_file())
    return {p.relative_to(archive.folder).as_posix(): p.read_bytes() for p in found}


def test_a_recording_is_found_and_heard_again(archive: Archive) -> None:
    made = archive.write("call/1 +49", DAY, T, T + 5, tracks())
    name = name_of("call/1 +49")
    assert set(snapshot(archive)) == {
        f"{DAY}/{name}.json",
        f"{DAY}/{name}-customer-00000007.flac",
        f"{DAY}/{name}-robot-ffffffff.flac",
    }
    found = archive.find("call/1 +49")
    assert found == made == archive.find("call/1 +49", [DAY])
    assert archive.find("call/1 +49", ["2026/03/02"]) is None
    assert archive.find("another") is None
    for there, track in zip(archive.tracks(made), tracks(), strict=True):
        assert (there.samples == track.samples).all()
        assert (there.leg, there.ssrc, there.rate_hz, there.start_ms, there.lost_ms) == (
            track.leg, track.ssrc, track.rate_hz, track.start_ms, track.lost_ms,
        )  # fmt: skip
    assert [leg.duration_ms for leg in made.legs] == [500, 500]
    assert list(archive.recordings()) == [made]


def test_a_repeat_changes_nothing(archive: Archive) -> None:
    made = archive.write("c", DAY, T, T + 5, tracks())
    before = snapshot(archive)
    assert archive.write("c", DAY, T, T + 99_999, tracks()) == made
    assert snapshot(archive) == before


def test_a_crash_between_any_two_files_is_mended_by_a_repeat(archive: Archive) -> None:
    archive.write("c", DAY, T, T, tracks())
    whole = snapshot(archive)
    for missing in whole:
        (archive.folder / missing).unlink()
        (archive.folder / f"{missing}.part").write_bytes(b"half")
        archive.write("c", DAY, T, T, tracks())
        assert {k: v for k, v in snapshot(archive).items() if k in whole} == whole


def test_a_description_that_cannot_be_read_is_made_again(archive: Archive) -> None:
    archive.write("c", DAY, T, T, tracks())
    path = archive.folder / DAY / f"{name_of('c')}.json"
    for broken in (b"", b"[]", b"\xff", json.dumps({"call_id": "c"}).encode()):
        path.write_bytes(broken)
        assert archive.find("c") is None
        assert archive.write("c", DAY, T, T, tracks()).call_id == "c"


def test_damage_is_told(archive: Archive) -> None:
    made = archive.write("c", DAY, T, T, tracks())
    path = archive.folder / made.legs[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(Damaged, match="not what was archived"):
        archive.tracks(made)
    path.unlink()
    with pytest.raises(Damaged, match="missing"):
        archive.tracks(made)
    assert archive.missing(made) == [made.legs[0].path]


def test_old_days_are_dropped_and_files_of_others_stay(archive: Archive) -> None:
    for day in ("2025/12/31", "2026/01/01", "2026/01/02"):
        archive.write(day, day, T, T, tracks(100))
    (archive.folder / "2026/01/01/notes.txt").write_text("mine")
    (archive.folder / "2026/01/01" / f"{name_of('x')}-agent-00000001.flac.part").write_bytes(b"")
    assert archive.drop_before("2026/01/02") == 7
    assert archive.days() == ["2026/01/01", "2026/01/02"]
    assert not (archive.folder / "2025").exists()
    assert [r.call_id for r in archive.recordings()] == ["2026/01/02"]
    assert archive.drop_before("2026/01/02") == 0


@pytest.mark.parametrize(
    ("days", "first"),
    [(0, None), (1, "2026/02/28"), (365, "2025/03/01"), (10**9, "0001/01/01")],
)
def test_which_days_are_kept(days: int, first: str | None) -> None:
    assert first_day_kept(date(2026, 3, 1), days) == first


def test_the_day_of_a_senseless_time() -> None:
    assert day_of(T) == DAY
    assert day_of(-5) == "1970/01/01"
    assert day_of(10**18) == "9999/12/31"
