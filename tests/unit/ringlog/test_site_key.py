"""The key of the do-not-call list's hashes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from ringlog.settings import Settings
from ringlog.site_key import FILE, SiteKeyError, site_key


def test_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "home", site_key=None)
    first = site_key(config)
    assert len(first) == 64
    assert site_key(config) == first
    path = config.home / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in config.home.iterdir()] == [FILE]


def test_services_that_start_together_agree(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, site_key=None)
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: site_key(config), range(64)))
    assert len(set(keys)) == 1


def test_a_set_key_counts(tmp_path: Path) -> None:
    assert site_key(Settings(home=tmp_path, site_key=SecretStr("ours"))) == b"ours"
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_an_error_not_another_key(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("short\n")
    with pytest.raises(SiteKeyError, match="32 characters"):
        site_key(Settings(home=tmp_path, site_key=None))
    (tmp_path / FILE).write_bytes(b"\xff" * 64)
    with pytest.raises(SiteKeyError, match="RINGLOG_SITE_KEY"):
        site_key(Settings(home=tmp_path, site_key=None))
