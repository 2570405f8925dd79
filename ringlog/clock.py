"""The one place where the time of day is read; domain logic gets it as an argument.

Time is the broker's. Machines disagree about it and step theirs, while all that is decided by time
(permits, silences, from where to read back) is decided between records of several machines. So a
process takes the time of day once, goes on by its monotonic clock, and is put right by what the
broker stamps on the records that it appends.
"""

import time
from collections.abc import Callable

_NS_PER_MS = 1_000_000


class LogClock:
    """Milliseconds since 1970 UTC as the broker counts them."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._ahead_ns = wall_ns() - monotonic_ns()

    def now_ms(self) -> int:
        """The time now."""
        return (self._monotonic_ns() + self._ahead_ns) // _NS_PER_MS

    def appended(self, at_ms: int, sent_ns: int) -> int:
        """Takes the broker's time of a record that was handed over at `sent_ns` (monotonic) and is
        acknowledged now; returns by how many ms the clock was moved.

        The record was appended between the two. A clock that agrees is left alone, another is moved
        by the least that makes it agree: how long the record travelled is not known.
        """
        earliest = at_ms * _NS_PER_MS - self._monotonic_ns()
        latest = (at_ms + 1) * _NS_PER_MS - sent_ns
        before, self._ahead_ns = self._ahead_ns, max(earliest, min(self._ahead_ns, latest))
        return (self._ahead_ns - before) // _NS_PER_MS


LOG_CLOCK = LogClock()
"""The clock of this process."""

now_ms = LOG_CLOCK.now_ms
