"""A cheap voice onset over frame energies, to pause a prompt at once when somebody speaks.

It errs on the side of pausing: a false onset costs 600 ms of prompt, which then resumes. Deciding
that words were spoken is the recogniser's business.
"""

from functools import cache
from typing import Final

import numpy as np

from ingest.sound.types import CodecName
from ringlog.audio.g711 import decode

LEVEL_SCALE: Final = 2.0
"""Table steps per dB: levels are 0-255 for 0-90.3 dB over one step of int16 (2 * 90.3 = 181)."""

SUBSAMPLE: Final = 4
"""Every fourth sample: energy needs no bandwidth, and this is the edge's busiest loop."""


@cache
def _levels(codec: str) -> bytes:
    """Level of each octet of a companded codec, in 1 / LEVEL_SCALE dB."""
    magnitude = np.maximum(np.abs(decode(codec, bytes(range(256))).astype(np.float64)), 1)
    return bytes(np.rint(20 * np.log10(magnitude) * LEVEL_SCALE).astype(np.uint8))


def level_db(codec: CodecName, payload: bytes) -> float:
    """Mean log magnitude of a frame, dB over one int16 step; 0 for an empty one."""
    if codec == "l16":
        samples = np.frombuffer(payload[: len(payload) & ~1], ">i2")[::SUBSAMPLE]
        if not len(samples):
            return 0.0
        magnitude = np.maximum(np.abs(samples.astype(np.float32)), 1)
        return float(20 * np.log10(magnitude).mean())
    few = payload[::SUBSAMPLE]
    return sum(few.translate(_levels(codec))) / (len(few) * LEVEL_SCALE) if few else 0.0


class Onset:
    """Tells the frame with which speech begins, over a noise floor that follows the line.

    The floor falls quickly towards a quieter frame and rises by `RISE_DB` a frame otherwise (faster
    on a new line). An onset is `NEEDED` loud frames of the last `WINDOW`; the next one needs `REST`
    quiet frames first. While we play, a frame counts only above our own level less `ECHO_DB`: less
    is our echo.
    """

    MARGIN_DB: Final = 12.0
    LEAST_DB: Final = 38.0  # -52 dBFS: below that, no line noise is speech
    RISE_DB: Final = 0.06  # 3 dB a second
    FALL: Final = 0.3  # of the distance, a frame
    NEW_LINE: Final = 25  # frames with ten times the rise
    ECHO_DB: Final = 22.0
    NEEDED: Final = 3
    WINDOW: Final = 5
    REST: Final = 5

    def __init__(self) -> None:
        self.floor_db = 30.0
        self._frames = 0
        self._recent = 0  # bit n: the frame n frames ago was loud
        self._speaking = False
        self._quiet = 0

    @property
    def speaking(self) -> bool:
        """Whether the speech that was told still goes on."""
        return self._speaking and self._quiet == 0

    def push(self, codec: CodecName, payload: bytes, playing_db: float = 0.0) -> bool:
        """Takes a frame of about 20 ms and the level that we played lately (`level_db`; 0: none).

        True when speech has just begun.
        """
        return self.push_level(level_db(codec, payload), playing_db)

    def push_level(self, level: float, playing_db: float = 0.0) -> bool:
        """`push` for a frame whose level is known."""
        floor = self.floor_db
        self._frames += 1
        if level < floor:
            self.floor_db = floor + (level - floor) * self.FALL
        else:
            rise = self.RISE_DB * (10 if self._frames <= self.NEW_LINE else 1)
            self.floor_db = min(floor + rise, level)
        loud = level > max(floor + self.MARGIN_DB, self.LEAST_DB, playing_db - self.ECHO_DB)
        self._recent = self._recent << 1 & (1 << self.WINDOW) - 1 | loud
        if self._speaking:
            self._quiet = 0 if loud else self._quiet + 1
            if self._quiet >= self.REST:
                self._speaking = False
            return False
        if self._recent.bit_count() < self.NEEDED:
            return False
        self._speaking, self._quiet, self._recent = True, 0, 0
        return True
