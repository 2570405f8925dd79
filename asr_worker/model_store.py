"""Models on disk: what the registry knows, fetching a published archive, trying a model out."""

import hashlib
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import requests

from asr_worker.bank import Thresholds, thresholds_of
from asr_worker.detector import shared
from asr_worker.recogniser import load
from asr_worker.transcriber import Final, Transcriber
from ringlog.asr_models import AsrModels, AsrModelsError, ModelArchive
from ringlog.audio import SAMPLE_RATE_HZ, espeak, wav
from ringlog.audio.g711 import Int16

BLOCK_BYTES = 1 << 18
TIMEOUT_S = 30
CHUNK = SAMPLE_RATE_HZ // 10
SILENCE_MS = 500
CHECK_TEXT = "你好，价格太高了，我要考虑一下"

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all."""


class DownloadError(RuntimeError):
    """A model could not be fetched, or is not what the registry says."""


@dataclass(frozen=True)
class Listed:
    """One line of `ringlog models list`."""

    name: str
    title: str
    type: str
    language: str
    profiles: tuple[str, ...]
    installed: bool
    download_bytes: int | None


@dataclass(frozen=True)
class Checked:
    """A model's result on a recording. Latency is compute from the turn's end to its final."""

    text: str
    turns: int
    audio_s: float
    load_s: float
    real_time_factor: float
    final_ms: float


def listed(registry: AsrModels) -> list[Listed]:
    """All models of the registry."""
    return [
        Listed(
            name,
            entry.title,
            entry.type,
            entry.language,
            tuple(p for p, profile in registry.profiles.items() if profile.model == name),
            not registry.missing(name),
            entry.archive.size_bytes if entry.archive else None,
        )
        for name, entry in registry.models.items()
    ]


def get(registry: AsrModels, name: str, progress: Progress = lambda done, total: None) -> Path:
    """Fetch and unpack a model; returns its folder.

    Does nothing if it is there, and resumes an interrupted download. Size and SHA-256 are checked
    before anything is unpacked, and only the files that the registry names are. Raises
    DownloadError and AsrModelsError.
    """
    entry = registry.model(name)
    folder = registry.folder_of(name)
    if not registry.missing(name):
        return folder
    if entry.archive is None:
        raise DownloadError(f"model {name!r} has no archive; put its files into {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f"{name}.part"
    _download(entry.archive, part, progress)
    _verify(entry.archive, part)
    _unpack(part, folder, set(entry.files.values()))
    part.unlink()
    if missing := registry.missing(name):
        raise DownloadError(f"the archive of {name!r} lacks {missing[0].name}")
    return folder


def check(registry: AsrModels, name: str, recording: Path | None = None) -> Checked:
    """Run a recording, or a spoken sentence, through the worker's own core with a model.

    Raises AsrModelsError, `recogniser.ModelMissing`, and ValueError for what is no WAV file.
    """
    if recording is None:
        sound = espeak.speak(CHECK_TEXT, "cmn-latn-pinyin+f3", fix_readings=True)
    else:
        sound = wav.read(recording, SAMPLE_RATE_HZ)[0]
        sound = sound if sound.ndim == 1 else sound[:, 0].copy()
    began_s = time.perf_counter()
    recogniser = load(registry, name)
    load_s = time.perf_counter() - began_s
    profile = next((p for p in registry.profiles.values() if p.model == name), None)
    detector = registry.detectors[(profile or registry.profiles[registry.default]).detector]
    thresholds = thresholds_of(detector, SILENCE_MS, name)
    transcriber = Transcriber(shared(), lambda _: recogniser)
    finals: list[Final] = []
    spent: list[float] = []
    final_s: list[float] = []
    for step in _steps(transcriber, sound, thresholds):
        spent.append(step[1])
        finals += step[0]
        final_s += [step[1]] * len(step[0])
    audio_s = len(sound) / SAMPLE_RATE_HZ
    return Checked(
        "".join(final.text for final in finals),
        len(finals),
        audio_s,
        load_s,
        sum(spent) / audio_s if audio_s else 0.0,
        1000 * max(final_s, default=0.0),
    )


def _steps(
    transcriber: Transcriber, sound: Int16, thresholds: Thresholds
) -> Iterator[tuple[list[Final], float]]:
    """Feed a leg in chunks of 100 ms; finals and seconds of every step."""
    slot = transcriber.add(0, 0, thresholds)
    for at in range(0, len(sound), CHUNK):
        transcriber.push(slot, sound[at : at + CHUNK])
        if at + CHUNK >= len(sound):
            transcriber.finish(slot)
        while transcriber.busy:
            began_s = time.perf_counter()
            finals = transcriber.step().finals
            yield finals, time.perf_counter() - began_s


def _download(archive: ModelArchive, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > archive.size_bytes:
        part.unlink()
        have = 0
    if have == archive.size_bytes:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with requests.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            resumed = have > 0 and answer.status_code == requests.codes.partial_content
            have = have if resumed else 0
            with part.open("ab" if resumed else "wb") as file:
                for block in answer.iter_content(BLOCK_BYTES):
                    have += len(block)
                    if have > archive.size_bytes:
                        break
                    file.write(block)
                    progress(have, archive.size_bytes)
    except requests.RequestException as error:
        raise DownloadError(f"{archive.url}: {error}; run it again to resume") from None
    if have > archive.size_bytes:
        part.unlink()
        raise DownloadError(f"{archive.url} is longer than {archive.size_bytes} bytes")


def _verify(archive: ModelArchive, part: Path) -> None:
    size = part.stat().st_size
    if size != archive.size_bytes:
        raise DownloadError(
            f"{archive.url} ended at {size} of {archive.size_bytes} bytes; run it again to resume"
        )
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != archive.sha256:
        part.unlink()
        raise DownloadError(f"{archive.url} has SHA-256 {digest}, not {archive.sha256}")


def _unpack(part: Path, folder: Path, wanted: set[str]) -> None:
    """Unpack the wanted files, whatever folder they are in; all of them or none."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        staged = Path(temporary) / folder.name
        staged.mkdir()
        try:
            with tarfile.open(part) as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    source: IO[bytes] | None = None
                    if member.isfile() and name in wanted:
                        source = archive.extractfile(member)
                    if source is not None:
                        with (staged / name).open("wb") as target:
                            shutil.copyfileobj(source, target)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DownloadError(f"{part} does not unpack: {error}") from None
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)


__all__ = ["Checked", "DownloadError", "Listed", "AsrModelsError", "check", "get", "listed"]
