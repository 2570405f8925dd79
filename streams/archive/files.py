"""The archive on disk, the source of truth for recordings. ClickHouse's table is its index.

`<home>/recordings/<yyyy>/<mm>/<dd>/` (the UTC day of the call's sound) holds for each call a FLAC
file for every leg, `<call>-<leg>-<ssrc>.flac`, and `<call>.json`, which describes them; `<call>` is
a hash of the call's id. The JSON is written last, so a recording with it is complete.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ringlog.audio import flac
from ringlog.audio.recording import Track

_DAY = re.compile(r"\d{4}/\d{2}/\d{2}")
_OURS = re.compile(r"[0-9a-f]{32}(-[a-z]+-[0-9a-f]{8}\.flac|\.json)(\.part)?")


class Damaged(Exception):
    """A recording is not on disk as its description says; the text names the file."""


class RecordedLeg(BaseModel):
    """One FLAC file. `path` is relative to the archive's folder."""

    model_config = ConfigDict(frozen=True)

    leg: str
    ssrc: int
    path: str
    leg_start_ms: int
    duration_ms: int
    rate_hz: int
    samples: int
    lost_ms: int
    sha256: str
    bytes: int


class Recording(BaseModel):
    """A call's recording. Times in ms since 1970."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    started_at: int
    archived_at: int
    legs: tuple[RecordedLeg, ...]


def name_of(call_id: str) -> str:
    """The base name of a call's files; a hash, as the id may hold anything, even a phone number."""
    return hashlib.sha256(call_id.encode()).hexdigest()[:32]


def day_of(at_ms: int) -> str:
    """The folder of a time; one out of range counts as 1970 or 9999."""
    at_s = min(max(0, at_ms), 253_402_300_799_999) // 1000
    return _folder(datetime.fromtimestamp(at_s, UTC).date())


class Archive:
    """The recordings below a folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self, call_id: str, day: str, started_at: int, now_ms: int, tracks: Iterable[Track]
    ) -> Recording:
        """Writes a call's tracks, which survive a crash of the machine when this returns.

        The same call again gives the same files; one that is there already is left as it is.
        """
        folder, name = self.folder / day, name_of(call_id)
        made = [(_describe(name, day, t, data := _encode(t)), data) for t in tracks]
        legs = tuple(leg for leg, _ in made)
        there = self._read(folder / f"{name}.json")
        if there is not None and there.legs == legs and not self.missing(there):
            return there
        _make_folder(folder)
        for leg, data in made:
            _put(self.folder / leg.path, data)
        recording = Recording(call_id=call_id, started_at=started_at, archived_at=now_ms, legs=legs)
        _put(folder / f"{name}.json", recording.model_dump_json(indent=1).encode())
        return recording

    def find(self, call_id: str, days: Iterable[str] | None = None) -> Recording | None:
        """The recording of a call, looked for in some days or in all, newest first."""
        name = name_of(call_id) + ".json"
        for day in reversed(self.days()) if days is None else days:
            found = self._read(self.folder / day / name)
            if found is not None and found.call_id == call_id:
                return found
        return None

    def tracks(self, recording: Recording) -> list[Track]:
        """The sound of a recording; raises Damaged."""
        out = []
        for leg in recording.legs:
            try:
                data = (self.folder / leg.path).read_bytes()
            except FileNotFoundError:
                raise Damaged(f"{leg.path} is missing") from None
            if hashlib.sha256(data).hexdigest() != leg.sha256:
                raise Damaged(f"{leg.path} is not what was archived")
            samples, rate_hz = flac.decode(data)
            out.append(Track(leg.leg, leg.ssrc, rate_hz, leg.leg_start_ms, samples, leg.lost_ms))
        return out

    def days(self) -> list[str]:
        """Folders of days, in order."""
        found = (p.relative_to(self.folder).as_posix() for p in self.folder.glob("*/*/*"))
        return sorted(day for day in found if _DAY.fullmatch(day))

    def recordings(self) -> Iterator[Recording]:
        """All of them, in the order of days."""
        for day in self.days():
            for path in sorted((self.folder / day).glob("*.json")):
                if (found := self._read(path)) is not None:
                    yield found

    def missing(self, recording: Recording) -> list[str]:
        """Files of a recording that are not there, or not of their size."""
        out = []
        for leg in recording.legs:
            path = self.folder / leg.path
            if not path.is_file() or path.stat().st_size != leg.bytes:
                out.append(leg.path)
        return out

    def drop_before(self, day: str) -> int:
        """Deletes the files of all days before one; returns how many. Leaves foreign files
        alone."""
        dropped = 0
        for old in (d for d in self.days() if d < day):
            folder = self.folder / old
            for path in folder.iterdir():
                if _OURS.fullmatch(path.name):
                    path.unlink()
                    dropped += 1
            for empty in (folder, folder.parent, folder.parent.parent):
                if any(empty.iterdir()):
                    break
                empty.rmdir()
        return dropped

    def _read(self, path: Path) -> Recording | None:
        """None where there is no description; one that cannot be read is made again."""
        try:
            return Recording.model_validate(json.loads(path.read_bytes()))
        except (FileNotFoundError, NotADirectoryError, ValidationError, ValueError):
            return None


def first_day_kept(today: date, days: int) -> str | None:
    """The first day whose recordings are kept; None keeps all. `days` 0 keeps all."""
    if days <= 0:
        return None
    return _folder(date.fromordinal(max(1, today.toordinal() - days)))


def _folder(day: date) -> str:
    return f"{day.year:04d}/{day.month:02d}/{day.day:02d}"


def _encode(track: Track) -> bytes:
    return flac.encode(track.samples, track.rate_hz)


def _describe(name: str, day: str, track: Track, data: bytes) -> RecordedLeg:
    return RecordedLeg(
        leg=track.leg,
        ssrc=track.ssrc,
        path=f"{day}/{name}-{track.leg}-{track.ssrc:08x}.flac",
        leg_start_ms=track.start_ms,
        duration_ms=len(track.samples) * 1000 // track.rate_hz,
        rate_hz=track.rate_hz,
        samples=len(track.samples),
        lost_ms=track.lost_ms,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
    )


def _make_folder(folder: Path) -> None:
    """Makes a folder and its parents; they survive a crash of the machine."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _put(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
