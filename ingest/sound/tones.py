"""Tones of the telephone network and of answering machines, told by frequency and duration.

Special information tones (ITU-T E.180/Q.35 clause 6: 950, 1400 and 1800 Hz for 330 ms each; the
North American set: 913.8 or 985.2, 1370.6 or 1428.5, 1776.7 Hz, each 274 or 380 ms), busy and
congestion tone, ring-back tone, and the beep of a mailbox. Pure: 20 ms frames of samples at 8 kHz.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringlog.audio.g711 import Int16

ToneName = Literal["sit_intercept", "sit_vacant", "sit_other", "busy", "ringback", "beep"]

FRAME: Final = 160
WINDOW: Final = 2 * FRAME
"""40 ms are judged at a time, every 20 ms: long enough to part 425 from 480 Hz."""

FFT: Final = 1024
BIN_HZ: Final = 8000 / FFT
LOWEST_HZ: Final = 300.0
PURE: Final = 0.85
"""Least share of the power in the one or two strongest lines: a voice has its power in many."""

SECOND: Final = 0.1
"""Least share of a second line: less is noise beside a single tone."""

LOUD_DB: Final = 40.0
"""Least level (RMS), dB over one step of int16: no network sends a tone below -50 dBFS."""

OVER_DB: Final = 12.0
"""A tone is over, and the line quiet, this far below it: a line's noise is no sound."""

STEADY_HZ: Final = 15.0
"""A tone keeps its frequency; vowels and singing glide and wobble further."""

STEADY_DB: Final = 2.5
"""A tone keeps its level: standard deviation without its first and last frame."""

LOW_BEEP_DB: Final = 1.0
"""The same for a beep as low as a voice can hold a note."""

BEATING_DB: Final = 7.0
"""The same for progress tones: pairs such as 440 and 480 Hz beat, and look like one line."""

QUIET_MS: Final = 300
"""Silence after which a single tone is a beep; the first tone of a SIT has the next one by then."""

LOWEST_BEEP_HZ: Final = 415.0
"""Closed vowels can be one line between 300 and 400 Hz, as steady as a beep."""

SHORTEST_BEEP_MS: Final = 100
LONGEST_BEEP_MS: Final = 3_000
BUSY_MS: Final = (180, 780)
"""Length of a tone of busy and congestion, and of the pause after it; both are alike."""

RING_MS: Final = (700, 2_400)
PAUSE_MS: Final = 1_500
"""Silence after which a progress tone is ring-back by its length, or else a low beep."""
PROGRESS_HZ: Final = (340.0, 640.0)
"""Where all call progress tones lie: 350 to 620 Hz, single or in pairs (E.180 supplement 2)."""

_HANN: Final = np.hanning(WINDOW)
_LOW: Final = int(LOWEST_HZ / BIN_HZ)
_LOBE: Final = 10
"""Bins on each side of a line that hold its power: the main lobe of the window."""


class Frequencies(NamedTuple):
    """One or two frequencies, Hz, low to high; `high` is 0 for a single tone."""

    low: float
    high: float


class Tone(NamedTuple):
    """A tone that was heard and is over. Times are ms from the first frame."""

    line: Frequencies
    start_ms: int
    end_ms: int
    level_db: float
    spread_db: float

    @property
    def ms(self) -> int:
        """Its length."""
        return self.end_ms - self.start_ms


def line_of(samples: NDArray[np.float64]) -> Frequencies | None:
    """The tone that 40 ms of sound consist of; None for voice, noise and silence."""
    windowed = samples * _HANN
    spectrum = np.fft.rfft(windowed, FFT)
    power: NDArray[np.float64] = spectrum.real**2 + spectrum.imag**2
    power[:_LOW] = 0.0
    total = float(power.sum())
    if total <= 0.0:
        return None
    first, share = _strongest(power, total)
    if share < PURE / 2:
        return None
    second, other = _strongest(power, total)
    if share + (other if other >= SECOND else 0.0) < PURE:
        return None
    if other < SECOND or share >= PURE:
        return Frequencies(first, 0.0)
    return Frequencies(min(first, second), max(first, second))


def is_tone(samples: Int16) -> bool:
    """Whether 40 ms of sound are a key or a tone of the network or of a machine, and no voice.

    Lower ones than `LOWEST_BEEP_HZ` are not told, since some vowels look like them.
    """
    line = line_of(samples.astype(np.float64))
    return line is not None and line.low >= LOWEST_BEEP_HZ


def _strongest(power: NDArray[np.float64], total: float) -> tuple[float, float]:
    """(frequency, share of the power) of the strongest line, which is then taken away."""
    peak = int(np.argmax(power))
    lobe = slice(max(0, peak - _LOBE), peak + _LOBE + 1)
    held = power[lobe]
    share = float(held.sum())
    near = power[max(0, peak - 2) : peak + 3]
    at = float((near * np.arange(max(0, peak - 2), max(0, peak - 2) + len(near))).sum())
    hz = at / float(near.sum() or 1.0) * BIN_HZ
    power[lobe] = 0.0
    return hz, share / total


@dataclass(slots=True)
class _Run:
    """A tone that still sounds."""

    line: Frequencies
    start: int
    frames: int
    levels: list[float]


class Tones:
    """Folds frames into the names of tones. Frames are numbered; a gap in them is silence."""

    def __init__(self) -> None:
        self._last: NDArray[np.float64] = np.zeros(FRAME)
        self._run: _Run | None = None
        self._done: deque[Tone] = deque(maxlen=6)
        self._n = 0
        self._sound_ms = 0  # end of the last frame as loud as the last tone
        self._named: set[int] = set()  # starts of tones that have been named
        self._busy_told = False

    @property
    def sounding(self) -> bool:
        """Whether a tone sounds now, as far as a few frames tell: then nobody speaks."""
        return self._run is not None and self._run.frames >= 3

    def push(self, samples: Int16) -> list[ToneName]:
        """Takes the next 20 ms; returns what they complete."""
        now = samples.astype(np.float64)
        line = None
        level_db = 10 * math.log10(float(now @ now) / FRAME + 1e-9)
        if level_db >= LOUD_DB:
            line = line_of(np.concatenate((self._last, now)))
        if self._done and level_db > self._done[-1].level_db - OVER_DB:
            self._sound_ms = (self._n + 1) * 20
        self._last = now
        self._continue(line, level_db)
        self._n += 1
        return self._names()

    def _continue(self, line: Frequencies | None, level_db: float) -> None:
        run = self._run
        if run is not None:
            if line is not None and _alike(run.line, line):
                run.frames += 1
                run.levels.append(level_db)
                return
            self._end(run)
        # A window in which the tone begins or changes shows a blurred line; the run begins anew.
        self._run = None if line is None else _Run(line, self._n, 1, [level_db])

    def _end(self, run: _Run) -> None:
        inner = run.levels[1:-1] or run.levels
        steady = BEATING_DB if _is_progress(run.line) else STEADY_DB
        spread = float(np.std(inner))
        if run.frames >= 3 and spread <= steady:
            start, end = run.start * 20 - 10, (run.start + run.frames) * 20 - 10
            self._done.append(Tone(run.line, start, end, float(np.mean(inner)), spread))
            self._sound_ms = end
        self._run = None

    def _names(self) -> list[ToneName]:
        done, now_ms = self._done, self._n * 20
        if not done or done[-1].start_ms in self._named:
            return []
        last = done[-1]
        if (sit := _sit(list(done)[-3:])) is not None:
            self._named.update(t.start_ms for t in done)
            return [sit]
        if _is_busy(list(done)[-2:]) and not self._busy_told:
            self._busy_told = True
            self._named.update(t.start_ms for t in done)
            return ["busy"]
        quiet_ms = now_ms - max(last.end_ms, self._sound_ms)
        if self._sound_ms > last.end_ms + 60:  # it went on as something else: music, speech
            self._named.add(last.start_ms)
            return []
        low = _is_progress(last.line) and last.ms >= BUSY_MS[0]
        if self._run is not None or quiet_ms < (PAUSE_MS if low else QUIET_MS):
            return []
        self._named.add(last.start_ms)
        if low and RING_MS[0] <= last.ms <= RING_MS[1]:
            return ["ringback"]
        steady = LOW_BEEP_DB if _is_progress(last.line) else STEADY_DB
        high_enough = last.line.low >= LOWEST_BEEP_HZ
        single = not last.line.high and high_enough and last.spread_db <= steady
        return ["beep"] if single and SHORTEST_BEEP_MS <= last.ms <= LONGEST_BEEP_MS else []


def _is_progress(line: Frequencies) -> bool:
    return PROGRESS_HZ[0] <= line.low <= PROGRESS_HZ[1]


def _alike(a: Frequencies, b: Frequencies) -> bool:
    if _is_progress(a) and _is_progress(b):  # a beating pair looks like one line now and then
        return abs(_centre(a) - _centre(b)) <= 3 * STEADY_HZ
    return abs(a.low - b.low) <= STEADY_HZ and abs(a.high - b.high) <= STEADY_HZ


def _centre(line: Frequencies) -> float:
    return (line.low + line.high) / 2 if line.high else line.low


def _sit(tones: list[Tone]) -> ToneName | None:
    if len(tones) < 3 or any(t.line.high for t in tones):
        return None
    for (low, high), tone in zip(((890, 1010), (1340, 1460), (1740, 1860)), tones, strict=True):
        if not (low <= tone.line.low <= high and 200 <= tone.ms <= 440):
            return None
    if any(b.start_ms - a.end_ms > 80 for a, b in zip(tones, tones[1:], strict=False)):
        return None
    first, second = tones[0].line.low, tones[1].line.low
    if abs(first - 913.8) <= 12 and abs(second - 1370.6) <= 12:
        return "sit_intercept"
    if abs(first - 985.2) <= 12 and abs(second - 1370.6) <= 12:
        return "sit_vacant"
    return "sit_other"


def _is_busy(tones: list[Tone]) -> bool:
    """Two equal tones with a pause about as long as they are."""
    if len(tones) < 2:
        return False
    one, two = tones
    pause = two.start_ms - one.end_ms
    return (
        _alike(one.line, two.line)
        and _is_progress(one.line)
        and all(BUSY_MS[0] <= ms <= BUSY_MS[1] for ms in (one.ms, two.ms, pause))
        and abs(one.ms - two.ms) <= 60
        and 0.6 <= pause / one.ms <= 1.7
    )
