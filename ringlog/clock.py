"""The one place where the time of day is read; domain logic gets it as an argument.

Time is the broker's. Machines' clocks disagree and are stepped, while decisions by time (permits,
silences, how far to read back) compare records of several machines. So a process reads the time of
day once, counts on with its monotonic clock, and corrects it by the broker's timestamps on its own
records.
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

        The record was appended between the two. A clock within that range stays; another moves by
        the smallest step into it, because the record's travel time is unknown.
        """
        earliest = at_ms * _NS_PER_MS - self._monotonic_ns()
        latest = (at_ms + 1) * _NS_PER_MS - sent_ns
        before, self._ahead_ns = self._ahead_ns, max(earliest, min(self._ahead_ns, latest))
        return (self._ahead_ns - before) // _NS_PER_MS


LOG_CLOCK = LogClock()
"""The clock of this process."""

now_ms = LOG_CLOCK.now_ms
