"""What the log does not hold of a call's media: its port, peer and clocks, one small file a call.

Written before the carrier is asked and when the far end's sound begins; so an edge that died comes
back on the same ports and goes on with its calls. The files are a process's own memory of its
sockets, not state that anyone else reads; a call without one is ended after a restart.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ingest.sound.types import Format, Leg


@dataclass(frozen=True, slots=True)
class HeardLeg:
    """A leg of the far end, and where its sequence began at which time of day, ms."""

    leg: Leg
    first_seq: int
    at_ms: int


@dataclass(slots=True)
class Entry:
    """One call's media. `opened_ms` is the time of day at call time 0."""

    call_id: str
    port: int
    sound: Format
    opened_ms: int
    remote: tuple[str, int] | None = None
    carrier: str = ""
    legs: list[HeardLeg] = field(default_factory=list)


class Journal:
    """The folder of one edge's entries."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, call_id: str) -> Path:
        # Call ids of foreign systems are any text; a hash is a safe file name.
        return self._folder / (hashlib.sha256(call_id.encode()).hexdigest()[:32] + ".json")

    def write(self, entry: Entry) -> None:
        """Replaces a call's entry, all or nothing."""
        path = self._path(entry.call_id)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(entry)), encoding="utf-8")
        os.replace(part, path)

    def remove(self, call_id: str) -> None:
        """The call is over."""
        self._path(call_id).unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        """All entries; a file that cannot be read is dropped: its call is ended then."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield _entry_of(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError, KeyError):
                path.unlink(missing_ok=True)


def _entry_of(data: dict[str, object]) -> Entry:
    sound, remote, legs = data["sound"], data["remote"], data["legs"]
    assert isinstance(sound, list) and isinstance(legs, list)
    return Entry(
        call_id=str(data["call_id"]),
        port=int(str(data["port"])),
        sound=Format(sound[0], int(sound[1])),
        opened_ms=int(str(data["opened_ms"])),
        remote=(str(remote[0]), int(remote[1])) if isinstance(remote, list) else None,
        carrier=str(data["carrier"]),
        legs=[HeardLeg(Leg(**one["leg"]), one["first_seq"], one["at_ms"]) for one in legs],
    )
