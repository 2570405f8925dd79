"""HTTP pieces: request reading, content codings, spools, and errors out of the engine's texts."""

from __future__ import annotations

import base64
import errno
import gzip
import os
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sql.server import http_coding, http_request
from sql.server.errors import ServerError, from_engine, moved
from sql.server.http_output import into_file
from sql.server.protocol.compression import compress
from sql.server.spool import Spool, SpoolBudget
from sql.server.statement import parse

PACK = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "frames": compress,
}


def unpack(coding: str, packed: bytes, size: int, limit: int = 1 << 30) -> bytes:
    decoder = http_coding.decoder("" if coding == "frames" else coding, coding == "frames", 1 << 22)
    out = bytearray()
    for at in range(0, len(packed), size):
        for piece in decoder.feed(packed[at : at + size]):
            out += piece
            assert len(piece) <= 1 << 24
            if len(out) > limit:
                raise ServerError(241, "limit")
    decoder.end()
    return bytes(out)


@pytest.mark.parametrize("coding", list(PACK))
@pytest.mark.parametrize("size", [97, 1 << 20])
def test_codings(coding: str, size: int) -> None:
    raw = b"".join(b"%d,row\n" % number for number in range(50_000))
    assert unpack(coding, PACK[coding](raw), size) == raw
    assert unpack(coding, b"", size) == b""


@pytest.mark.parametrize("coding", ["gzip", "lz4", "zstd"])
def test_two_members_are_read_as_one(coding: str) -> None:
    packed = PACK[coding](b"one ") + PACK[coding](b"two")
    assert unpack(coding, packed, 5) == b"one two"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "lz4", "zstd", "frames"])
def test_truncated_and_broken_bodies(coding: str) -> None:
    packed = PACK[coding](b"some data " * 1000)
    with pytest.raises(ServerError):
        unpack(coding, packed[:-3], 50)
    with pytest.raises(ServerError):
        unpack(coding, b"\x00garbage that is no such thing\xff" * 3, 50)


@pytest.mark.parametrize("coding", ["gzip", "lz4", "zstd"])
def test_bombs_unpack_in_small_pieces(coding: str) -> None:
    """A body of a few kB that would be 256 MB is stopped at the limit."""
    packed = PACK[coding](bytes(256 << 20))
    with pytest.raises(ServerError) as caught:
        unpack(coding, packed, 1 << 20, limit=1 << 20)
    assert caught.value.message == "limit"


@settings(deadline=None, max_examples=100)
@given(coding=st.sampled_from(list(PACK)), raw=st.binary(max_size=200), cut=st.integers(1, 50))
def test_any_body_decodes_or_is_an_error(coding: str, raw: bytes, cut: int) -> None:
    try:
        unpack(coding, raw, cut)
    except ServerError:
        pass


@pytest.mark.parametrize(
    ("accept", "name", "back"),
    [
        ("gzip, deflate", "gzip", gzip.decompress),
        ("lz4", "lz4", lz4.frame.decompress),
        ("br;q=1, zstd;q=0.5", "zstd", lambda raw: zstandard.decompress(raw, 1 << 20)),
        ("br", "", lambda raw: raw),
        ("", "", lambda raw: raw),
    ],
)
def test_encoders(accept: str, name: str, back: object) -> None:
    encoder = http_coding.encoder(accept, False)
    packed = encoder.pack(b"a" * 1000) + encoder.pack(b"b" * 1000) + encoder.finish()
    assert encoder.name == name
    unpacked = (
        zstandard.ZstdDecompressor().decompressobj().decompress(packed)
        if name == "zstd"
        else back(packed)  # type: ignore[operator]
    )
    assert unpacked == b"a" * 1000 + b"b" * 1000


# --- requests


def test_arguments_are_sorted() -> None:
    arguments = {"query": "SELECT 1", "max_threads": "2", "param_x": "y", "session_timeout": "9999"}
    found = http_request.read(arguments, {"X-ClickHouse-Database": "d"}, "default")
    assert found.settings == {"max_threads": "2"}
    assert found.parameters == {"x": "y"}
    assert (found.database, found.session_s, found.user) == ("d", 3600, "default")


def test_credentials_in_three_places() -> None:
    def who(arguments: dict[str, str], headers: dict[str, str]) -> tuple[str, str]:
        found = http_request.read(arguments, headers, "default")
        return found.user, found.password

    basic = base64.b64encode(b"u:p:q").decode()
    assert who({}, {}) == ("default", "")
    assert who({"user": "u", "password": "p"}, {}) == ("u", "p")
    assert who({}, {"X-ClickHouse-User": "u", "X-ClickHouse-Key": "p"}) == ("u", "p")
    assert who({"user": "x"}, {"Authorization": f"Basic {basic}"}) == ("u", "p:q")
    for value in ("Basic !", "Bearer x", "Basic /w==", "Basic \u00e9"):
        with pytest.raises(ServerError):
            who({}, {"Authorization": value})


@pytest.mark.parametrize(
    "arguments",
    [{"default_format": "a b"}, {"default_format": "x'"}, {"session_timeout": "-1"},
     {"session_timeout": "9" * 9}],
)  # fmt: skip
def test_bad_arguments(arguments: dict[str, str]) -> None:
    with pytest.raises(ServerError):
        http_request.read(arguments, {}, "default")


def test_output_is_directed_in_front_of_the_format() -> None:
    assert into_file(parse("SELECT 1"), "/p", "CSV") == (
        "SELECT 1\nINTO OUTFILE '/p' APPEND FORMAT CSV"
    )
    assert into_file(parse("SELECT 1 FORMAT JSON SETTINGS a = 1;"), "/p", "CSV") == (
        "SELECT 1 \nINTO OUTFILE '/p' APPEND FORMAT JSON SETTINGS a = 1"
    )


# --- spools and errors


def test_spools_share_a_budget() -> None:
    budget = SpoolBudget(100)
    one, other = Spool(budget, 80), Spool(budget, 80)
    one.write(b"x" * 70)
    with pytest.raises(ServerError):
        one.write(b"x" * 11)
    with pytest.raises(ServerError):
        other.write(b"x" * 31)
    with open(one.path, "rb") as reopened:
        assert reopened.read() == b"x" * 70
    one.clear()
    one.write(b"abc")
    assert (one.read(), budget.used_bytes) == (b"abc", 3)
    one.close()
    other.close()
    one.close()
    assert budget.used_bytes == 0


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)", 60, "No t. (UNKNOWN_TABLE)"),
        ("Streaming query failed: Code: 395. DB::Exception: x", 395, "x"),
        ("Code: 107. DB::Exception: Code: 107. DB::ErrnoException: deep", 107, "deep"),
        ("no code at all", 1002, "no code at all"),
    ],
)
def test_engine_errors(text: str, code: int, message: str) -> None:
    error = from_engine(RuntimeError(text))
    assert (error.code, error.message) == (code, message)


def test_positions_are_told_without_our_prefix() -> None:
    error = ServerError(62, "failed at position 50 (x) (line 1, col 50): y")
    assert moved(error, 40).message == "failed at position 10 (x) (line 1, col 10): y"
    assert moved(ServerError(60, "failed at position 50"), 40).message == "failed at position 50"


def test_a_spool_says_when_the_system_refuses_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    budget = SpoolBudget(100)
    spool = Spool(budget, 80)
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(ServerError, match="No space left on device") as refused:
        spool.write(b"x")
    monkeypatch.undo()
    assert refused.value.code == 243
    spool.close()
    assert budget.used_bytes == 0
