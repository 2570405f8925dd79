"""Brings the pinned JVM parts into the cache: downloaded once per machine, checked by SHA-256."""

import hashlib
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from maven_artifact import Artifact, Downloader, RequestException
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from ringlog.jvm import Pin, cache_dir, path_of, pins
from stack.maven import repository

_CHUNK_BYTES = 1 << 18
_READ_TIMEOUT_S = 60.0

Report = Callable[[str], None]


class InstallError(RuntimeError):
    """A JVM part could not be fetched or is not what the lock says."""


def is_good(pin: Pin, path: Path) -> bool:
    """Whether the file is there and has the pinned size and SHA-256."""
    if not path.is_file() or path.stat().st_size != pin.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pin.sha256


def missing(wanted: Iterable[Pin]) -> list[Pin]:
    """Pins whose file is absent or has the wrong size: the quick look before a start."""
    return [p for p in wanted if not path_of(p).is_file() or _size(path_of(p)) != p.size_bytes]


def install(report: Report = print, parts: Collection[str] | None = None, parallel: int = 6) -> int:
    """Bring the pinned parts (None: all) into the cache; good files stay. Returns bytes fetched.

    Raises InstallError naming each part that failed; what was fetched stays for the next run.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    # Two parts may share a file.
    wanted = list({p.file_name: p for p in pins() if parts is None or p.part in parts}.values())
    todo = [pin for pin in wanted if not is_good(pin, path_of(pin))]
    if not todo:
        report(f"JVM parts: all {len(wanted)} present in {cache_dir()}")
    progress = _Progress(len(todo), sum(pin.size_bytes for pin in todo), report)
    downloader = _downloader()
    failures: list[str] = []

    def one(pin: Pin) -> None:
        try:
            _fetch(downloader, pin, progress)
        except (InstallError, RequestException, requests.RequestException, OSError) as error:
            failures.append(f"{pin.file_name}: {getattr(error, 'msg', None) or error}")

    with ThreadPoolExecutor(parallel) as pool:  # the largest first, so that it overlaps the rest
        list(pool.map(one, sorted(todo, key=lambda pin: -pin.size_bytes)))
    if failures:
        raise InstallError("could not install JVM parts:\n  " + "\n  ".join(sorted(failures)))
    for pin in wanted:
        if pin.extension == "tar.gz":
            unpack(pin, report)
    return progress.total_bytes


def unpacked_dir(pin: Pin) -> Path:
    """Folder that holds the unpacked archive of a pin; its name carries the checksum."""
    return cache_dir() / f"{pin.artifact}-{pin.version}-{pin.sha256[:12]}"


def unpack(pin: Pin, report: Report = print) -> Path:
    """Unpack a tar.gz once. A half-made folder is never seen under the final name."""
    target = unpacked_dir(pin)
    if target.is_dir():
        return target
    report(f"unpacking {pin.file_name}")
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(path_of(pin)) as archive:
        archive.extractall(partial, filter="data")
    try:
        partial.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _size(path: Path) -> int:
    return path.stat().st_size


def _downloader() -> Downloader:
    base = repository()
    return Downloader(base) if base else Downloader()


@retry(
    retry=retry_if_exception_type((RequestException, requests.RequestException, InstallError)),
    stop=stop_after_attempt(4),
    wait=wait_exponential(multiplier=0.5, max=8),
    reraise=True,
)
def _fetch(downloader: Downloader, pin: Pin, progress: "_Progress") -> None:
    """Stream one artifact to `.part`, check it, then give it its name."""
    artifact = Artifact(pin.group, pin.artifact, pin.version, pin.classifier, pin.extension)
    url = downloader.resolver.uri_for_artifact(artifact)
    target = path_of(pin)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    received = 0
    try:
        with (
            downloader.requestor.request(url, None, stream=True, timeout=_READ_TIMEOUT_S) as answer,
            partial.open("wb") as file,
        ):
            for chunk in answer.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                progress.add(len(chunk))
        if digest.hexdigest() != pin.sha256:
            raise InstallError(f"SHA-256 is {digest.hexdigest()}, jvm.lock says {pin.sha256}")
        partial.replace(target)
    except BaseException:
        progress.add(-received)
        partial.unlink(missing_ok=True)
        raise
    progress.done(pin)


class _Progress:
    """Counts of a parallel download; one line per finished file of 5 MB or more, and every 10 %."""

    def __init__(self, files: int, total_bytes: int, report: Report) -> None:
        self.total_bytes = total_bytes
        self._files = files
        self._report = report
        self._received = 0
        self._finished = 0
        self._tenth = 0
        self._lock = threading.Lock()
        if files:
            report(f"JVM parts: {files} files, {total_bytes / 1e6:.0f} MB, into {cache_dir()}")

    def add(self, count: int) -> None:
        with self._lock:
            self._received += count
            tenth = self._received * 10 // max(self.total_bytes, 1)
            if tenth > self._tenth:
                self._tenth = tenth
                got, total = self._received / 1e6, self.total_bytes / 1e6
                self._report(f"  {tenth * 10:3d} %  {got:.0f} of {total:.0f} MB")

    def done(self, pin: Pin) -> None:
        with self._lock:
            self._finished += 1
            if pin.size_bytes >= 5_000_000:
                size = pin.size_bytes / 1e6
                self._report(f"  {pin.file_name} ({size:.0f} MB, {self._finished}/{self._files})")
