"""How a simulated caller knows which prompt it hears: by correlation with the prompts' sound.

A prompt begins where sound rises out of silence. Its first half second is compared with every
prompt's: frame energies leave a few candidates, the waveform decides between them. Prompts that
begin alike are told apart as soon as they differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int16 = NDArray[np.int16]
Float32 = NDArray[np.float32]

RATE_HZ = 8_000
FRAME = 160
"""Samples of 20 ms at 8 kHz."""

_LOUD_RMS = 250.0
_STALL_S = 0.4
_LONGEST_HOLE_FRAMES = 100
QUIET = np.zeros(FRAME, np.int16)
"""A frame of silence."""

_FIRST_LOOK_FRAMES = 24
_LOOK_EVERY_FRAMES = 6
_GIVE_UP_FRAMES = 250
_CANDIDATES = 5
_LAG = 160
_COMPARED = 4_000
_SEARCH_FRAMES = frozenset({36, 60, 96, 150})
_SURE = 0.75
_LEAD = 0.15
_CUT_OFF_FRAMES = 20
_PAUSE_FRAMES = 1
_END_SLACK_FRAMES = 15


@dataclass(frozen=True)
class Heard:
    """A prompt began or ended. `prompt` is None when no known prompt was recognised.

    `complete` tells whether an ended prompt was heard to its end; `at` is the listening time in
    samples.
    """

    kind: str
    prompt: str | None
    at: int
    complete: bool = False


@dataclass(frozen=True)
class _Template:
    name: str
    samples: Float32  # from the first loud frame on
    envelope: Float32


class Earpiece:
    """Puts received frames in order by RTP time, and fills gaps with silence.

    Silence at the end cannot be told from a delay: it counts as silence after `_STALL_S`.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Int16] = {}
        self._last_ts: int | None = None
        self._last_index = 0
        self._next = 0
        self._arrived_s = 0.0

    def put(self, rtp_ts: int, frame: Int16, now_s: float) -> None:
        """A received frame of 20 ms.

        Its place is counted from the frame before and rounded: a switch in between may move times
        by some samples, and frames must neither collide nor leave holes for that.
        """
        if self._last_ts is not None:
            behind = ((rtp_ts - self._last_ts + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            self._last_index += round(behind / FRAME)
        self._last_ts = rtp_ts
        self._waiting[self._last_index] = frame
        self._arrived_s = now_s

    def take(self, now_s: float) -> list[Int16]:
        """The frames that can be heard now, in order."""
        if not self._waiting:
            return [QUIET] if now_s - self._arrived_s > _STALL_S else []
        out: list[Int16] = []
        for index in sorted(self._waiting):
            if index < self._next:
                continue  # it came too late
            out += [QUIET] * min(index - self._next, _LONGEST_HOLE_FRAMES)
            out.append(self._waiting[index])
            self._next = index + 1
        self._waiting.clear()
        return out


class Ear:
    """Listens to one leg, frame by frame."""

    def __init__(self, prompts: Mapping[str, Int16]) -> None:
        self._templates = [_template(name, x) for name, x in prompts.items()]
        self._heard: list[Int16] = []
        self._time = 0
        self._quiet = 0
        self._current: _Template | None = None

    @property
    def listening_to(self) -> str | None:
        """The prompt that is being heard, once it is recognised."""
        return self._current.name if self._current else None

    def feed(self, frame: Int16) -> list[Heard]:
        """Takes 20 ms (int16 [160]); returns the prompts that began or ended."""
        self._time += FRAME
        loud = _rms(frame) > _LOUD_RMS
        if not self._heard and not loud:
            return []
        self._heard.append(frame)
        self._quiet = 0 if loud else self._quiet + 1
        n = len(self._heard)
        if self._current is None:
            if n >= _FIRST_LOOK_FRAMES and n % _LOOK_EVERY_FRAMES == 0 and n <= _GIVE_UP_FRAMES:
                self._current = self._look()
                if self._current is not None:
                    return [Heard("began", self._current.name, self._time)]
            if self._quiet >= 2 * _CUT_OFF_FRAMES:
                # Silence, and still not told apart: whole, it may be.
                found = self._recognise(np.concatenate(self._heard), whole=True)
                return [self._end(found.name if found else None, found is not None)]
            return []
        total = len(self._current.samples) // FRAME
        # Another prompt may follow at once, so the end is where its last sound was due.
        if n >= total and (self._quiet or n >= total + 2):
            behind = self._heard[total:] if not self._quiet else []
            ended = self._end(self._current.name, True)
            self._heard = behind
            return [ended]
        if self._quiet >= _CUT_OFF_FRAMES and not self._pause_expected(n):
            return [self._end(self._current.name, n - self._quiet >= total - _END_SLACK_FRAMES)]
        return []

    def _look(self) -> _Template | None:
        """Tries what was heard from its beginning, then from behind each pause in it: a click or
        the tail of the prompt before may have been taken for the beginning."""
        loud = [_rms(frame) > _LOUD_RMS for frame in self._heard]
        if len(loud) not in _SEARCH_FRAMES:
            return self._recognise(np.concatenate(self._heard))
        starts = [0, 2, 4] + [
            n
            for n in range(_PAUSE_FRAMES, len(loud) - _FIRST_LOOK_FRAMES)
            if loud[n] and not any(loud[n - _PAUSE_FRAMES : n])
        ]
        for start in starts:
            found = self._recognise(np.concatenate(self._heard[start:]))
            if found is not None:
                del self._heard[:start]
                return found
        return None

    def _pause_expected(self, n: int) -> bool:
        """Whether the prompt itself was silent over the frames that just were."""
        assert self._current is not None
        expected = self._current.envelope[max(0, n - self._quiet + 2) : n - 2]
        return len(expected) > 0 and float(expected.max()) <= 2 * _LOUD_RMS

    def _end(self, prompt: str | None, complete: bool) -> Heard:
        self._heard, self._quiet, self._current = [], 0, None
        return Heard("ended", prompt, self._time, complete)

    def _recognise(self, samples: Int16, whole: bool = False) -> _Template | None:
        x = samples.astype(np.float32)
        frames = len(x) // FRAME
        energies = _envelope(x)
        near = sorted(self._templates, key=lambda t: _distance(energies, t.envelope))[:_CANDIDATES]
        scored = sorted(((_correlation(x, t.samples), t) for t in near), key=lambda s: -s[0])
        if not scored or scored[0][0] < _SURE:
            return None
        best = scored[0]
        label = _label(best[1].name)
        rival = next((score for score, t in scored if _label(t.name) != label), 0.0)
        if best[0] - rival >= _LEAD:
            return best[1]
        if whole:  # nothing more will come: the one whose length fits
            alike = [t for score, t in scored if best[0] - score < _LEAD]
            spoken = frames - self._quiet
            return min(alike, key=lambda t: abs(len(t.samples) // FRAME - spoken))
        return None


def _label(name: str) -> str:
    """A prompt's name: two sounds `offer.normal/…` may be mistaken for one another."""
    return name.partition("/")[0]


def _template(name: str, samples: Int16) -> _Template:
    x = samples.astype(np.float32)
    x = np.pad(x, (0, -len(x) % FRAME))
    loud = np.flatnonzero(_envelope(x) > _LOUD_RMS)
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(x) // FRAME)
    x = x[first * FRAME : last * FRAME]
    return _Template(name, x, _envelope(x))


def _rms(frame: Int16) -> float:
    return float(np.sqrt(np.mean(frame.astype(np.float32) ** 2)))


def _envelope(x: Float32) -> Float32:
    """RMS of each whole frame."""
    frames = x[: len(x) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(np.sqrt(np.mean(frames**2, axis=1)), np.float32)


def _distance(a: Float32, b: Float32) -> float:
    """Difference of two envelopes in dB over their common length, at the best lag of a frame."""
    best = np.inf
    for shift in (-1, 0, 1):
        u, v = a[max(shift, 0) :], b[max(-shift, 0) :]
        n = min(len(u), len(v))
        if n:
            gap = np.log(u[:n] + 50) - np.log(v[:n] + 50)
            best = min(best, float(np.mean(np.abs(gap))))
    return best


def _correlation(x: Float32, y: Float32) -> float:
    """Largest normalised correlation of x with y, for lags of up to 20 ms either way.

    Over the newest half second that both have: prompts that begin alike differ there.
    """
    end = min(len(x), len(y))
    core = x[max(_LAG, end - _LAG - _COMPARED) : end - _LAG]
    if len(core) == 0:
        return 0.0
    start = max(_LAG, end - _LAG - _COMPARED)
    around = y[start - _LAG : start + len(core) + _LAG]
    dots = np.correlate(around, core, "valid")
    squares = np.concatenate([[0.0], np.cumsum(around.astype(np.float64) ** 2)])
    energy = squares[len(core) :] - squares[: -len(core)]
    norms = np.sqrt(np.sum(core.astype(np.float64) ** 2) * np.maximum(energy, 1e-9))
    return float(np.max(dots / np.maximum(norms, 1e-9)))
