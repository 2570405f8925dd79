"""Published archives of model files: fetched with resume, checked, unpacked whole or not at all."""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

import requests
from pydantic import BaseModel, ConfigDict, Field

BLOCK_BYTES = 1 << 18
TIMEOUT_S = 30

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all."""


class DownloadError(RuntimeError):
    """An archive could not be fetched, or is not what the registry says."""


class ModelArchive(BaseModel):
    """A published tar archive of a model's files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    size_bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def fetch(
    archive: ModelArchive,
    folder: Path,
    wanted: set[str],
    progress: Progress = lambda done, total: None,
) -> None:
    """Fetches an archive and unpacks the wanted files into `folder`.

    Resumes an interrupted download. Size and SHA-256 are checked before anything is unpacked.
    Raises DownloadError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f"{folder.name}.part"
    _download(archive, part, progress)
    _verify(archive, part)
    _unpack(part, folder, wanted)
    part.unlink()


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
