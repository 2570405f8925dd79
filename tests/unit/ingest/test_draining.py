"""The drain state outlives its process."""

from pathlib import Path

from ingest.draining import Drain


def test_it_lasts_until_somebody_ends_it(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "edge" / "drain.json"
    ours = Drain(path, lambda: told.append("a"))
    spare = Drain(path, lambda: told.append("b"))
    assert not ours.active and not ours.is_over(2**50)
    ours.begin(300, 1_000)
    assert ours.active and not ours.is_over(300_999) and ours.is_over(301_000)
    spare.look_again()
    assert spare.active and spare.is_over(301_000)
    ours.begin(None, 2_000)
    assert Drain(path, lambda: None).active and not ours.is_over(2**50)
    ours.end()
    ours.end()
    spare.look_again()
    assert not spare.active and told == ["a"] * 3


def test_a_file_that_cannot_be_read_means_that_somebody_wanted_it(tmp_path: Path) -> None:
    path = tmp_path / "drain.json"
    path.write_text("{")
    ours = Drain(path, lambda: None)
    assert ours.active and not ours.is_over(2**50)
    ours.end()
    assert not path.exists()
