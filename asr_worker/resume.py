"""A commit's note on the legs after it, as the metadata that Kafka keeps with an offset.

A successor meets two kinds of legs: those that the previous worker held, whose state it restores
from a mark, and those that nobody held, which begin with their next sound. Only the committing
worker can tell them apart.
"""

from dataclasses import dataclass
from typing import Final

MAX_TEXT: Final = 4_000
"""Kafka keeps 4,096 bytes with an offset (`offset.metadata.max.bytes`)."""


@dataclass(frozen=True, slots=True)
class Resume:
    """`position`: everything before this offset had been read. `fresh`: offsets, from the commit up
    to there, of the records that began a leg in its middle: after a minute without any, it was
    over, and nobody held it."""

    position: int
    fresh: frozenset[int] = frozenset()

    def is_fresh(self, offset: int) -> bool:
        """Whether a leg begins with its record at `offset`, the first one that is read."""
        return offset >= self.position or offset in self.fresh

    def text(self) -> str:
        """The position, then each record's distance before it; as many of the nearest as fit."""
        parts = [str(self.position)]
        room = MAX_TEXT - len(parts[0])
        for offset in sorted(self.fresh, reverse=True):
            part = str(self.position - offset)
            room -= len(part) + 1
            if room < 0:
                break
            parts.append(part)
        return ",".join(parts)


def parse(text: str | None) -> Resume | None:
    """The inverse; None for a commit that an older version or another tool has made."""
    numbers = (text or "").split(",")
    if len(text or "") > MAX_TEXT or not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    position, *back = (int(n) for n in numbers)
    if any(n > position for n in back):
        return None
    return Resume(position, frozenset(position - n for n in back))
