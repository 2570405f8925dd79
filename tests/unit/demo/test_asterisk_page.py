"""Asterisk's configuration is what the page prints, and the page is noticed when it changes."""

import pytest

from demo.asterisk.page import Surface, TrunkAddress, files, fill

SURFACE = Surface(
    8090, 5070, "s3cret", "ws://127.0.0.1:1/media/asterisk",
    [TrunkAddress("one", "127.0.0.11", 5171), TrunkAddress("two", "127.0.0.12", 5172)],
)  # fmt: skip


def test_the_page_prints_every_file() -> None:
    assert set(files()) == {
        "http.conf", "ari.conf", "pjsip.conf", "extensions.conf", "websocket_client.conf",
        "modules.conf",
    }  # fmt: skip


def test_addresses_and_password_are_put_in() -> None:
    out = fill(files(), SURFACE)
    assert "bindport = 8090" in out["http.conf"]
    assert "password = s3cret" in out["ari.conf"]
    assert "bind = 127.0.0.1:5070" in out["pjsip.conf"]
    assert "contact = sip:127.0.0.12:5172\n" in out["pjsip.conf"]
    assert "match = 127.0.0.11\n" in out["pjsip.conf"]
    assert [w for w in ("change-me", "198.51.100", "carrier-", "18090") if w in str(out)] == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("http.conf", "bindport = 8088", "bindport = 80"),
        ("ari.conf", "change-me", "swordfish"),
        ("pjsip.conf", "match = 198.51.100.12", "match = 198.51.100.0/24"),
        ("pjsip.conf", "contact = sip:198.51.100.11:5060", "contact = sip:198.51.100.11"),
    ],
)
def test_a_page_that_says_something_else_is_an_error(name: str, old: str, new: str) -> None:
    printed = files()
    assert old in printed[name]
    with pytest.raises(ValueError, match="connect-asterisk"):
        fill(printed | {name: printed[name].replace(old, new)}, SURFACE)
