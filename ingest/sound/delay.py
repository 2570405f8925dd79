"""Whether our voice comes back on a call, and how long after, from the samples of both sides.

The far end's last 0.6 s are correlated with what we sent in the 1.8 s until then, every frequency
weighed alike (generalised cross-correlation with phase transform, Knapp and Carter 1976): an echo
is one sharp peak, whatever its level and its colour; other speech has none. Pure.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.sound.played import Played
from ringlog.audio.g711 import Int16

RATE_HZ: Final = 8000
"""Of the samples that are compared: enough of any speech."""

LONGEST_MS: Final = 1_200
WINDOW_MS: Final = 600
WINDOW: Final = WINDOW_MS * RATE_HZ // 1000
LAGS: Final = LONGEST_MS * RATE_HZ // 1000

PEAK: Final = 12.0
"""Least height of an echo's peak over the correlation's RMS. Echoes at -6 to -24 dB had 14 and more
in every full window; other speech had 9 and less in 95 % of them, at delays that wander."""

SAME_MS: Final = 2.0
"""An echo's delay stays within this from one judgement to the next."""

GONE: Final = 8
"""Judgements in a row without it after which an echo is over: speech may cover it in some."""

LOUD_RMS: Final = 40.0
"""A frame that may be an echo worth cancelling, or speech: -58 dBFS."""

NEEDED: Final = 10
"""Loud frames of the window, of 30, for a judgement."""

HISTORY_MS: Final = 1_200

JUDGE_MS: Final = 100
AGAIN_MS: Final = 500
"""From judgement to judgement, and once an echo is known."""

FRAME: Final = RATE_HZ // 50

_SIZE: Final = 16384
_HZ: Final = np.fft.rfftfreq(_SIZE, 1 / RATE_HZ)
_OUTSIDE: Final = (_HZ < 200) | (_HZ > 3400)

Samples = NDArray[np.float32]


def loud_frames(samples: Samples) -> int:
    """How many of its 20 ms frames are loud."""
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return int(((whole**2).mean(axis=1) > LOUD_RMS**2).sum())


def correlate(theirs: Samples, ours: Samples) -> tuple[int, float]:
    """(delay in samples, height of its peak); `ours` is [LAGS + n] and ends where `theirs` [n]
    does. Height 0 where either is silent."""
    spectrum = np.fft.rfft(theirs, _SIZE) * np.conj(np.fft.rfft(ours, _SIZE))
    magnitude = np.abs(spectrum)
    largest = float(magnitude.max())
    if largest <= 0.0:
        return 0, 0.0
    spectrum /= magnitude + 1e-3 * largest
    spectrum[_OUTSIDE] = 0
    back = np.fft.irfft(spectrum, _SIZE)
    by_delay = np.abs(np.concatenate((back[-LAGS:], back[:1])))
    delay = int(by_delay.argmax())
    return delay, float(by_delay[delay] / max(np.sqrt((by_delay**2).mean()), 1e-12))


class EchoWatch:
    """The echo of one leg: what came and what we sent beside it go in, its delay comes out."""

    def __init__(self, played: Played, rate_hz: int) -> None:
        """`rate_hz`: of the far end's sound, 8000 or a multiple; ours too."""
        self.delay_ms: float | None = None
        """None while there is no echo."""
        self.came: Int16 = np.zeros(0, np.int16)
        """The last `HISTORY_MS` that came, holes filled with silence."""
        self._played = played
        self._every = rate_hz // RATE_HZ
        self._ours_every = played.rate_hz // RATE_HZ
        self._unjudged = 0
        self._last: float | None = None
        self._without = 0

    def forget(self) -> None:
        """What came is not followed by what comes."""
        self.came = self.came[:0]

    def heard(self, sound: Int16, at: int) -> None:
        """Takes what came next; its end is beside sample `at` of ours."""
        most = HISTORY_MS * RATE_HZ * self._every // 1000
        self.came = np.concatenate((self.came, sound))[-most:]
        self._unjudged += len(sound)
        every_ms = JUDGE_MS if self.delay_ms is None else AGAIN_MS
        if self._unjudged * 1000 < every_ms * RATE_HZ * self._every:
            return
        self._unjudged = 0
        theirs = self.came[:: -self._every][:WINDOW][::-1].astype(np.float32)
        first = at - (WINDOW + LAGS) * self._ours_every
        ours = self._played.read(first, at)[self._ours_every - 1 :: self._ours_every]
        self._judge(np.pad(theirs, (WINDOW - len(theirs), 0)), ours.astype(np.float32))

    def _judge(self, theirs: Samples, ours: Samples) -> None:
        if loud_frames(theirs) < NEEDED or loud_frames(ours) < NEEDED:
            return
        delay, height = correlate(theirs, ours)
        found = delay * 1000 / RATE_HZ if height >= PEAK else None
        before, self._last = self._last, found
        if found is not None and before is not None and abs(found - before) <= SAME_MS:
            self.delay_ms, self._without = found, 0
        elif self.delay_ms is not None:
            known = found is not None and abs(found - self.delay_ms) <= SAME_MS
            self._without = 0 if known else self._without + 1
            if self._without >= GONE:
                self.delay_ms, self._without = None, 0
