"""When the shared 20 ms ticks of all calls are due: on one grid, without drift and without bursts.

A late tick is made up for by shorter waits, one frame at a time; after `MAX_LATE_US` the grid moves
on instead, since the far end has heard the hole already.
"""

from typing import Final

from ingest.sound.types import FRAME_MS

TICK_US: Final = FRAME_MS * 1000
MAX_LATE_US: Final = 200_000


class Pacer:
    """The grid: tick n is due at `origin_us + n * TICK_US`."""

    def __init__(self, now_us: int) -> None:
        self.origin_us = now_us
        self.tick = 0
        self.skipped = 0

    def due(self, now_us: int) -> bool:
        """True when a tick is due; it counts as done then. At most one a call."""
        late_us = self.late_us(now_us)
        if late_us < 0:
            return False
        if late_us > MAX_LATE_US:
            missed = late_us // TICK_US
            self.skipped += missed
            self.tick += missed
        self.tick += 1
        return True

    def late_us(self, now_us: int) -> int:
        """By how much the next tick is overdue; negative while it is not."""
        return now_us - self.origin_us - self.tick * TICK_US

    def wait_us(self, now_us: int) -> int:
        """How long to sleep now: to the next tick, or half a tick while behind."""
        left_us = self.origin_us + self.tick * TICK_US - now_us
        return left_us if left_us > 0 else TICK_US // 2
