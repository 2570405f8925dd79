"""Models on disk: what the registry knows, fetching a published archive, trying a model out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_worker.bank import Thresholds, thresholds_of
from asr_worker.detector import shared
from asr_worker.recogniser import load
from asr_worker.transcriber import Final, Transcriber
from ringlog.archives import DownloadError, Progress, fetch
from ringlog.asr_models import AsrModels, AsrModelsError
from ringlog.audio import SAMPLE_RATE_HZ, espeak, wav
from ringlog.audio.g711 import Int16

CHUNK = SAMPLE_RATE_HZ // 10
SILENCE_MS = 500
CHECK_TEXT = "你好，价格太高了，我要考虑一下"


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
    fetch(entry.archive, folder, set(entry.files.values()), progress)
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


__all__ = ["Checked", "DownloadError", "Listed", "AsrModelsError", "check", "get", "listed"]
