"""Fetching JVM parts, against a small repository served from a folder."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ringlog.jvm import Pin, cache_dir, path_of
from stack import jvm


def pin_of(name: str, content: bytes, extension: str = "jar", sha256: str = "") -> Pin:
    """A pin of `org.test:NAME:1` with this content."""
    digest = sha256 or hashlib.sha256(content).hexdigest()
    return Pin("test", "org.test", name, "1", extension, None, digest, len(content))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        del format, args


class Repository:
    """A Maven repository of files, and the lock that names them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.pins: list[Pin] = []
        monkeypatch.setattr(jvm, "pins", lambda part=None: self.pins)

    def add(self, pin: Pin, content: bytes) -> None:
        path = self._folder / "org/test" / pin.artifact / "1" / pin.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.pins.append(pin)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    served = tmp_path / "served"
    served.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    monkeypatch.setenv("RINGLOG_MAVEN_REPOSITORY", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("RINGLOG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jvm._fetch.retry, "wait", lambda _: 0)
    yield Repository(served, monkeypatch)
    server.shutdown()
    server.server_close()


def test_missing_files_are_fetched_good_ones_stay(repository: Repository) -> None:
    for name, content in (("one", b"1" * 1000), ("two", b"2" * 2000)):
        repository.add(pin_of(name, content), content)
    assert jvm.install(lambda _: None) == 3000
    first = path_of(repository.pins[0])
    assert first.read_bytes() == b"1" * 1000
    assert jvm.install(lambda _: None) == 0
    path_of(repository.pins[1]).write_bytes(b"x" * 2000)  # same size, other content
    assert jvm.install(lambda _: None) == 2000
    assert path_of(repository.pins[1]).read_bytes() == b"2" * 2000


def test_wrong_content_is_refused_and_the_rest_is_kept(repository: Repository) -> None:
    repository.add(pin_of("good", b"good"), b"good")
    repository.add(pin_of("bad", b"pinned"), b"others")
    absent = pin_of("absent", b"never served")
    repository.pins.append(absent)
    with pytest.raises(jvm.InstallError) as error:
        jvm.install(lambda _: None)
    assert "bad-1.jar: SHA-256" in str(error.value)
    assert "absent-1.jar" in str(error.value)
    assert [p.name for p in cache_dir().iterdir()] == ["good-1.jar"]
    assert jvm.missing(repository.pins) == repository.pins[1:]


def test_an_archive_is_unpacked_once_and_never_half(repository: Repository) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("lib/app.jar")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"jar"))
    pin = pin_of("app", packed.getvalue(), "tar.gz")
    repository.add(pin, packed.getvalue())
    jvm.install(lambda _: None)
    target = jvm.unpacked_dir(pin)
    assert (target / "lib/app.jar").read_bytes() == b"jar"
    (target / "lib/app.jar").write_bytes(b"mine")
    assert jvm.unpack(pin) == target
    assert (target / "lib/app.jar").read_bytes() == b"mine"
    assert not list(cache_dir().glob("*.part"))
