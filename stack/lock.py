"""`jvm.lock`: the pinned coordinates of every JVM part, with SHA-256 and size."""

import re
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("jvm.lock")

_COORDINATE = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+(?::[\w.]+(?::[\w.-]+)?)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class LockError(ValueError):
    """`jvm.lock` holds a line that is not a pinned artifact."""


@dataclass(frozen=True)
class Pin:
    """One artifact of the lock."""

    part: str
    group: str
    artifact: str
    version: str
    extension: str
    classifier: str | None
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Name in the cache, the same as in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.{self.extension}"


def parse(text: str) -> list[Pin]:
    """Pins in file order; raises LockError with the line number."""
    pins: list[Pin] = []
    part = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            part = line[1:-1]
            continue
        fields = line.split()
        if not part:
            raise LockError(f"jvm.lock:{number}: artifact before the first [section]")
        if (
            len(fields) != 3
            or not _COORDINATE.fullmatch(fields[0])
            or not _SHA256.fullmatch(fields[1])
            or not fields[2].isdigit()
        ):
            raise LockError(
                f"jvm.lock:{number}: want 'group:artifact:version[:ext[:cl]] sha256 size'"
            )
        names = fields[0].split(":")
        pins.append(
            Pin(
                part=part,
                group=names[0],
                artifact=names[1],
                version=names[2],
                extension=names[3] if len(names) > 3 else "jar",
                classifier=names[4] if len(names) > 4 else None,
                sha256=fields[1],
                size_bytes=int(fields[2]),
            )
        )
    return pins


def pins(part: str | None = None) -> list[Pin]:
    """Pins of the committed lock, of one part or of all."""
    return [pin for pin in parse(LOCK_FILE.read_text()) if part in (None, pin.part)]
