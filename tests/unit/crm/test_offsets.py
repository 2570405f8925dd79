"""The place in the database's log outlives a kill amid its writing."""

from pathlib import Path

import pytest

from streams.crm.offsets import Offsets


def _ends(file: Path) -> bool:
    return file.read_bytes().endswith(b".")


@pytest.fixture
def offsets(tmp_path: Path) -> Offsets:
    (tmp_path / "offsets").write_bytes(b"place 1.")
    made = Offsets(tmp_path / "offsets", _ends)
    made.keep()
    return made


@pytest.mark.parametrize("left", [b"", b"pla"])
def test_half_a_file_gives_way_to_its_copy(offsets: Offsets, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "offsets").write_bytes(left)
    offsets.keep()
    assert offsets.mend()
    assert (tmp_path / "offsets").read_bytes() == b"place 1."
    assert not offsets.mend()


def test_a_whole_file_is_newer_than_its_copy(offsets: Offsets, tmp_path: Path) -> None:
    (tmp_path / "offsets").write_bytes(b"place 2.")
    assert not offsets.mend()
    assert (tmp_path / "offsets").read_bytes() == b"place 2."


def test_who_removes_the_file_wants_a_new_snapshot(offsets: Offsets, tmp_path: Path) -> None:
    (tmp_path / "offsets").unlink()
    offsets.keep()
    assert not offsets.mend()
    assert not (tmp_path / "offsets").exists()
