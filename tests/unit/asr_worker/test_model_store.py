"""Getting a published model over HTTP: resume, checks, and refusals."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from asr_worker import model_store
from asr_worker.recogniser import ModelMissing, Recognisers
from cli import models as cli
from ringlog.archives import ModelArchive
from ringlog.asr_models import (
    SHIPPED_MODELS,
    AsrModels,
    ModelEntry,
    ProfileEntry,
    load,
)
from ringlog.audio import wav
from ringlog.settings import settings
from tests.unit.asr_worker.material import timeline


def archive_of(files: dict[str, bytes]) -> bytes:
    """A tar.bz2 with the files in a folder, as the published ones are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:bz2") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"published-2023/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


DEMO_FILES = {name: (SHIPPED_MODELS / "demo" / name).read_bytes() for name in
              ("tokens.txt", "model.onnx")}  # fmt: skip
ARCHIVE = archive_of(DEMO_FILES | {"README.md": b"not wanted", "../../evil.txt": b"outside"})


@dataclass
class Server:
    """A file server that can break off, and notes the ranges that it was asked for."""

    body: bytes
    url: str = ""
    break_off_at: int | None = None
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    """Serves the archive with support for ranges."""
    state = Server(ARCHIVE)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            body = state.body[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.break_off_at])

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}/model.tar.bz2"
    yield state
    http.shutdown()
    http.server_close()


def registry_of(server: Server, home: Path, **change: object) -> AsrModels:
    """The shipped registry and a model `published` on the server."""
    archive = {
        "url": server.url,
        "size_bytes": len(server.body),
        "sha256": hashlib.sha256(server.body).hexdigest(),
    }
    entry = ModelEntry(
        type="zipformer2_ctc",
        files={"tokens": "tokens.txt", "model": "model.onnx"},
        flush_ms=600,
        archive=ModelArchive.model_validate(archive | change),
    )
    shipped = load(home)
    return shipped.model_copy(
        update={
            "models": shipped.models | {"published": entry},
            "profiles": shipped.profiles | {"p": ProfileEntry(model="published", detector="fast")},
        }
    )


def test_get_unpacks_what_is_wanted_and_nothing_else(server: Server, tmp_path: Path) -> None:
    registry = registry_of(server, tmp_path)
    seen: list[tuple[int, int]] = []
    folder = model_store.get(registry, "published", lambda done, total: seen.append((done, total)))
    assert sorted(p.name for p in folder.iterdir()) == ["model.onnx", "tokens.txt"]
    assert (folder / "model.onnx").read_bytes() == DEMO_FILES["model.onnx"]
    assert seen[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(tmp_path.rglob("*.part"))
    assert model_store.get(registry, "published") == folder
    assert len(server.ranges) == 1  # what is there is not fetched again
    assert model_store.check(registry, "published").text.startswith("你好")


def test_a_broken_download_is_resumed(server: Server, tmp_path: Path) -> None:
    registry = registry_of(server, tmp_path)
    server.break_off_at = 300_000
    with pytest.raises(model_store.DownloadError, match="run it again to resume"):
        model_store.get(registry, "published")
    server.break_off_at = None
    model_store.get(registry, "published")
    assert server.ranges[0] is None
    assert server.ranges[1] is not None
    assert 0 < int(server.ranges[1].removeprefix("bytes=").rstrip("-")) <= 300_000


def test_another_content_is_refused(server: Server, tmp_path: Path) -> None:
    wrong = registry_of(server, tmp_path, sha256="0" * 64)
    with pytest.raises(model_store.DownloadError, match="SHA-256"):
        model_store.get(wrong, "published")
    short = registry_of(server, tmp_path, size_bytes=len(ARCHIVE) - 1)
    with pytest.raises(model_store.DownloadError, match="longer than"):
        model_store.get(short, "published")
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("tokens.txt"))


def test_an_archive_without_the_files_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = archive_of({"tokens.txt": b"x"})
    registry = registry_of(
        server,
        tmp_path,
        size_bytes=len(server.body),
        sha256=hashlib.sha256(server.body).hexdigest(),
    )
    with pytest.raises(model_store.DownloadError, match=r"lacks model\.onnx"):
        model_store.get(registry, "published")
    server.body = b"no archive at all"
    registry = registry_of(
        server,
        tmp_path,
        size_bytes=len(server.body),
        sha256=hashlib.sha256(server.body).hexdigest(),
    )
    with pytest.raises(model_store.DownloadError, match="does not unpack"):
        model_store.get(registry, "published")


def test_no_server_is_a_clear_error(server: Server, tmp_path: Path) -> None:
    registry = registry_of(server, tmp_path, url="http://127.0.0.1:9/none")
    with pytest.raises(model_store.DownloadError, match="resume"):
        model_store.get(registry, "published")
    with pytest.raises(ModelMissing, match="ringlog models get published"):
        model_store.check(registry, "published")
    assert Recognisers(registry).resolve("p") == "demo"  # calls go on with the default meanwhile


def test_check_reads_a_recording(tmp_path: Path) -> None:
    sound, spoken = timeline(["你好", "我要考虑一下"], snr_db=None)
    wav.write(tmp_path / "call.wav", sound)
    found = model_store.check(load(), "demo", tmp_path / "call.wav")
    assert found.text == "你好我要考虑一下"
    assert found.turns == 2
    assert found.audio_s == pytest.approx(len(sound) / 8000)
    assert 0 < found.real_time_factor < 5
    assert found.final_ms > 0


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_HOME", str(tmp_path))
    settings.cache_clear()
    try:
        run = CliRunner().invoke
        listed = run(cli.models, ["list"])
        assert listed.exit_code == 0
        assert "demo" in listed.output
        assert "get it: 74 MB" in listed.output
        assert '"name": "demo"' in run(cli.models, ["list", "--json"]).output
        checked = run(cli.models, ["check", "demo"])
        assert checked.exit_code == 0
        assert "real-time factor" in checked.output
        assert run(cli.models, ["check", "zh-14m"]).exit_code == 1
        (tmp_path / "text.wav").write_text("no sound")
        assert run(cli.models, ["check", "demo", str(tmp_path / "text.wav")]).exit_code == 1
        assert run(cli.models, ["get", "nonesuch"]).exit_code == 1
        wav.write(tmp_path / "silence.wav", timeline([], snr_db=None)[0])
        silent = run(cli.models, ["check", "demo", str(tmp_path / "silence.wav")])
        assert silent.exit_code == 1
        assert "heard nothing" in silent.output
    finally:
        settings.cache_clear()
