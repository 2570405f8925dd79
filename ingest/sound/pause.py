"""A gap in arrivals that the frames' own times do not show: a pause, or a network stall?

Both look the same when the first frame comes. After a stall the delayed frames come at once; after
a pause they come in real time. So the first frames are held for a moment. Pure: frames and the
times of their arrival go in, and the verdict says by how much they come later than they say.
"""

from typing import Final

from ingest.sound.types import Frame

UNEXPLAINED_US: Final = 400_000
"""A frame that comes this much later than its time says follows a pause or a stall."""

HOLD_US: Final = 120_000
"""How long frames are held to find out."""

LONGEST_HOLD_US: Final = 1_000_000
MAX_HELD: Final = 300
"""Frames; as many as a stall of 6 s delays."""


class Pause:
    """The frames since one gap. `last_us`, `last_ts`: arrival and end of the last frame before."""

    __slots__ = ("_first_us", "_late_us", "_rate_hz", "_window", "frames", "last_ts", "last_us")

    def __init__(self, rate_hz: int, last_us: int, last_ts: int) -> None:
        self.frames: list[Frame] = []
        self.last_us = last_us
        self.last_ts = last_ts
        self._rate_hz = rate_hz
        self._first_us = 0
        self._late_us = 0
        self._window = (0, 0)  # when it began, and how late frames were then

    def push(self, frame: Frame, end_ts: int, now_us: int) -> None:
        """Takes the next frame; `end_ts` is its end."""
        self._late_us = late_us(self.last_us, self.last_ts, now_us, end_ts, self._rate_hz)
        if not self.frames:
            self._first_us = now_us
            self._window = (now_us, self._late_us)
        self.frames.append(frame)

    def verdict(self, now_us: int) -> int | None:
        """Samples by which the frames must move, 0 after a stall; None while that is unknown."""
        if self._late_us <= UNEXPLAINED_US // 2:
            return 0
        held_us = now_us - self._first_us
        began_us, late_then_us = self._window
        if len(self.frames) < MAX_HELD and held_us < LONGEST_HOLD_US:
            if now_us - began_us < HOLD_US:
                return None
            if late_then_us - self._late_us > HOLD_US // 2:  # still catching up
                self._window = (now_us, self._late_us)
                return None
        return self._late_us * self._rate_hz // 1_000_000


def late_us(last_us: int, last_ts: int, now_us: int, end_ts: int, rate_hz: int) -> int:
    """How much later a frame comes than its time says, after the one before."""
    return now_us - last_us - (end_ts - last_ts) * 1_000_000 // rate_hz
