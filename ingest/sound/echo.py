"""Tells our own voice that comes back from the far end: a loudspeaker, a hybrid, a conference.

A cheap rule over the levels of 20 ms frames, not a canceller: echo has the envelope of what we
played, a fixed delay of at most 0.5 s later and a fixed number of dB quieter. Once an echo is
found, frames no louder than the expected echo are marked; louder frames are a customer who speaks
over it. Until then, loud frames are held for at most 0.8 s, once or twice a call, and never on a
line that returned nothing of our first half second.

Marked sound stays on the log as it came: a recording is what was heard. Pure: levels and frame
numbers of call time (20 ms) come from outside.
"""

from collections import deque
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.sound.types import FRAME_MS, SAMPLE_BYTES, Frame

LONGEST_DELAY: Final = 27
"""Longest delay of an echo, frames: 0.5 s and some for the clocks."""

WINDOW: Final = 40
"""Frames that are compared: 0.8 s."""

LIKE: Final = 0.87
"""Least correlation of the two envelopes. Echo of speech at -6 to -24 dB had 0.87 in the worst of a
hundred windows, other speech over a prompt in the best of a hundred (five synthetic prompts and
callers); `SPREAD_DB` tells these apart: 4.0 and less against 6 and more."""

SPREAD_DB: Final = 3.5
"""Largest standard deviation of the level's difference: an echo is quieter by a constant."""

AGREE: Final = 3
"""Judgements in a row, 0.1 s apart, that must find the same echo."""

NEEDED: Final = 12
"""Loud frames in the window, for a judgement."""

SPAN_DB: Final = 24.0
"""The comparison takes frames this far below the loudest for line noise."""

MARGIN_DB: Final = 5.0
"""A frame this much louder than the expected echo is speech."""

FLOOR_DB: Final = 9.0
QUIET_DB: Final = 24.0
"""Loud: this much above the line's noise, and above this level."""

LOOK_AHEAD: Final = 5
SPEAKS: Final = 3
RESTS: Final = 10
"""A customer over an echo: 3 louder frames of 5, until 10 are not; the 5 before are heard, too."""

EVERY: Final = 5
AGAIN: Final = 25
"""Frames from judgement to judgement, and once an echo is known: it is the dearest part."""

ANSWERED: Final = 5
"""Frames of ours without echo after which a line counts as clean."""

RING: Final = 128
TAIL: Final = LONGEST_DELAY + 5

Levels = NDArray[np.float32]


class Echo(NamedTuple):
    """An echo that was found: `delay` in frames, `gain_db` below zero."""

    delay: int
    gain_db: float


class _Held(NamedTuple):
    frame: Frame
    n: int
    level: float


class EchoGate:
    """The echo of one call."""

    def __init__(self) -> None:
        self.echo: Echo | None = None
        self._ours: Levels = np.zeros(RING, np.float32)
        self._theirs: Levels = np.zeros(RING, np.float32)
        self._ours_n = -RING
        self._theirs_n = -RING
        self._began_n = -RING  # of what we play now
        self._floor_db = 30.0
        self._held: deque[_Held] = deque()
        self._clean = False  # no echo of what we played recently
        self._seen: list[Echo | None] = []  # last judgements
        self._recent = 0
        self._rest = RESTS

    @property
    def holding(self) -> bool:
        """True while frames are held."""
        return bool(self._held)

    def near(self, n: int) -> bool:
        """Whether frame `n` of call time may hold our echo."""
        return n - self._ours_n <= TAIL

    def played(self, n: int, level: float) -> None:
        """We sent sound of that level (`onset.level_db`) in frame `n` of call time."""
        if n - self._ours_n > TAIL:
            self._began_n, self._clean = n, False
        self._write(self._ours, self._ours_n, n, level)
        self._ours_n = max(n, self._ours_n)

    def push(self, frame: Frame, level: float) -> list[tuple[Frame, float]]:
        """Takes a frame of the far end and its level; returns what is judged, with its level."""
        leg = frame.leg
        n = leg.call_ms(frame.ts) // FRAME_MS
        longer = len(frame.payload) * 50 // (leg.rate_hz * SAMPLE_BYTES[frame.codec])
        for k in range(n, n + max(1, longer)):
            self._write(self._theirs, self._theirs_n, k, level)
            self._theirs_n = max(k, self._theirs_n)
        if level < self._floor_db:
            self._floor_db += (level - self._floor_db) * 0.3
        else:
            self._floor_db = min(self._floor_db + 0.06, level)
        self._held.append(_Held(frame, n, level))
        if n % (EVERY if self.echo is None else AGAIN) == 0:
            self._judge(n)
        if self.echo is not None:
            self._weigh(n, level)
            return self._release(LOOK_AHEAD if self._rest >= RESTS else 0)
        unknown = not self._clean and any(self._loud(h.level) for h in self._held)
        if unknown and n - self._held[0].n < WINDOW:
            return []
        return self._release(0)

    def flush(self) -> list[tuple[Frame, float]]:
        """All that is held."""
        return self._release(0)

    def _release(self, keep: int) -> list[tuple[Frame, float]]:
        out: list[tuple[Frame, float]] = []
        while len(self._held) > keep:
            frame, n, level = self._held.popleft()
            marked = self.echo is not None and self._rest >= RESTS and self._is_echo(n, level)
            out.append((frame._replace(echo=True) if marked else frame, level))
        return out

    def _write(self, ring: Levels, last: int, n: int, level: float) -> None:
        for k in range(max(last + 1, n - RING + 1), n):
            ring[k % RING] = 0
        ring[n % RING] = level

    def _loud(self, level: float) -> bool:
        return level > max(self._floor_db + FLOOR_DB, QUIET_DB)

    def _expected(self, n: int) -> float:
        """Loudest that our echo may be in a frame; 0 when we played nothing then."""
        echo = self.echo
        if echo is None:
            return 0.0
        at = n - echo.delay
        ours, newest = 0.0, self._ours_n
        for k in range(max(at - 3, newest - RING + 1), min(at + 2, newest + 1)):
            ours = max(ours, float(self._ours[k % RING]))
        return max(0.0, ours + echo.gain_db) if ours else 0.0

    def _should_hear(self, ours: Levels) -> bool:
        assert self.echo is not None
        at = LONGEST_DELAY - self.echo.delay
        expected = ours[at : at + WINDOW] + self.echo.gain_db
        least = max(self._floor_db + FLOOR_DB, QUIET_DB) + MARGIN_DB
        return int((expected > least).sum()) >= WINDOW // 2

    def _is_echo(self, n: int, level: float) -> bool:
        expected = self._expected(n)
        return expected > 0 and level <= max(expected, QUIET_DB) + MARGIN_DB

    def _weigh(self, n: int, level: float) -> None:
        """Whether somebody speaks over the echo."""
        louder = self._loud(level) and not self._is_echo(n, level)
        self._recent = (self._recent << 1 | louder) & (1 << LOOK_AHEAD) - 1
        self._rest = 0 if louder and self._rest < RESTS else self._rest + 1
        if self._recent.bit_count() >= SPEAKS:
            self._rest = 0

    def _judge(self, n: int) -> None:
        theirs = _last(self._theirs, self._theirs_n, n, WINDOW)
        loud = theirs > max(self._floor_db + FLOOR_DB, QUIET_DB)
        if self.echo is None and not self._clean:
            # No echo of what we first played, at any delay.
            self._clean = n - self._began_n >= LONGEST_DELAY + ANSWERED and not bool(
                loud[-ANSWERED:].any()
            )
        ours = _last(self._ours, self._ours_n, n, WINDOW + LONGEST_DELAY)
        if int(loud.sum()) < NEEDED:
            if self.echo is not None and not loud.any() and self._should_hear(ours):
                self.echo, self._seen = None, []  # the loudspeaker was switched off
            return
        found, before = compare(theirs, ours), self._seen[-AGREE + 1 :]
        self._seen = [*before, found]
        enough = found is not None and len(before) == AGREE - 1
        if enough and all(_agree(one, found) for one in before):
            self.echo = found


def _agree(a: Echo | None, b: Echo | None) -> bool:
    if a is None or b is None:
        return False
    return abs(a.delay - b.delay) <= 1 and abs(a.gain_db - b.gain_db) <= 3.0


def _last(ring: Levels, newest: int, n: int, count: int) -> Levels:
    """The `count` levels up to frame `n`; what was not written is 0."""
    out = np.zeros(count, np.float32)
    first = max(n - count + 1, newest - RING + 1, 0)
    if first <= min(newest, n):
        index = np.arange(first, min(newest, n) + 1)
        out[index - (n - count + 1)] = ring[index % RING]
    return out


def compare(theirs: Levels, ours: Levels) -> Echo | None:
    """The echo of `ours` in `theirs`, dB levels of frames; `ours` begins LONGEST_DELAY earlier."""
    count = len(theirs)
    x = np.maximum(theirs, theirs.max() - SPAN_DB)
    windows = np.lib.stride_tricks.sliding_window_view(ours, count)[::-1]  # row d: d frames earlier
    # A delay between two frames mixes both.
    halves = (windows[:-1] + windows[1:]) / 2
    r = np.concatenate((windows, halves))
    top = r.max(axis=1, keepdims=True)
    r = np.maximum(r, top - SPAN_DB)
    xc, rc = x - x.mean(), r - r.mean(axis=1, keepdims=True)
    norms = np.sqrt((xc**2).sum() * (rc**2).sum(axis=1))
    likeness = np.where(norms > count * 4.0, (rc @ xc) / np.maximum(norms, 1e-6), 0.0)
    best = int(likeness.argmax())
    if likeness[best] < LIKE:
        return None
    heard = r[best] > top[best] - SPAN_DB / 2
    difference = x[heard] - r[best][heard]
    gain = float(np.median(difference))
    if float(difference.std()) > SPREAD_DB or gain > 3.0:
        return None
    return Echo(best % len(windows), gain)
