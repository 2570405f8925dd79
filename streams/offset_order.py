"""Which record of a partition is next. While it starts or is assigned again, Faust throws away what
it has fetched and goes on after it. Pure: offsets and the clock are arguments."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from streams.progress import Stuck

Position = Literal["next", "seen", "ahead"]
"""Next, processed already, or after one that was left out."""

_ASK_AGAIN_S = 1.0
_ASK_TIMES = 5


@dataclass(frozen=True, slots=True)
class _Asked:
    offset: int
    times: int
    at_s: float


@dataclass(slots=True)
class OffsetOrder:
    """The order of all partitions of an assignment."""

    _expected: dict[Hashable, int] = field(default_factory=dict)
    _asked: dict[Hashable, _Asked] = field(default_factory=dict)

    def expected(self, partition: Hashable, begun: int) -> int:
        """The offset that is next; `begun` is where the partition was begun."""
        return self._expected.get(partition, begun)

    def begins(self, partition: Hashable, offset: int) -> None:
        """Retention has deleted what lies before an offset."""
        self._expected[partition] = offset

    def take(self, partition: Hashable, offset: int, begun: int) -> Position:
        """Takes the next record that was read."""
        expected = self.expected(partition, begun)
        if offset > expected:
            return "ahead"
        if offset < expected:
            return "seen"
        self._expected[partition] = offset + 1
        self._asked.pop(partition, None)
        return "next"

    def asks(self, partition: Hashable, expected: int, now_s: float) -> bool:
        """Whether to go back to the record that was left out, now that a later one was read; later
        records of the same fetch do not ask again. Raises Stuck when it never comes."""
        last = self._asked.get(partition)
        if last is None or last.offset != expected:
            last = _Asked(expected, 0, float("-inf"))
        if now_s - last.at_s < _ASK_AGAIN_S:
            return False
        if last.times == _ASK_TIMES:
            raise Stuck(f"{partition}: the record at {expected} does not come")
        self._asked[partition] = _Asked(expected, last.times + 1, now_s)
        return True
