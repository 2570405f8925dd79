"""Turn ends of many legs at once: pure decisions over audio, one numpy pass a frame.

State at a mark is made from the audio before it alone (`rules.py`), so the events of a leg are the
same whatever the chunk sizes, the other legs in the batch, or the restarts in between.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr_worker.detector import STATE_WIDTH, Float32
from asr_worker.rules import (
    CONTEXT,
    FRAME,
    HALF_FRAME,
    HANG,
    IDLE_GRID,
    LONGEST_SILENCE,
    LONGEST_TURN,
    OPEN_FRAMES,
    PEAK_LEAK_DB,
    PEAK_RANGE_DB,
    PEAK_START_DB,
    POINT,
    SAMPLES_PER_MS,
    SHORTEST_SILENCE,
    WARM_UP,
    WARM_UP_FRAMES,
    held_from,
)
from ringlog.asr_models import DetectorEntry
from ringlog.audio.g711 import Int16

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

RING_FRAMES = 64
RING = RING_FRAMES * FRAME
ROUND = 24 * FRAME
"""Samples beyond the judged position that the ring takes; the other 40 frames are history, enough
for the warm-up (31) and for the longest pre-roll with the frames that open a turn (28)."""

FULL_SCALE_POWER = 128.0 * 32768.0**2


class Detector(Protocol):
    """What scores frames; `detector.Silero` in production."""

    def run(self, frames: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Probability [n] and new state [2, n, 128] for frames [n, 288]."""
        ...


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How a leg is judged. A chunk's thresholds apply from the frame whose last sample it holds.
    `gain` scales the detector's input only."""

    silence_ms: int
    on: float
    off: float
    pre_roll_ms: int
    profile: str
    gain: float = 1.0


def thresholds_of(entry: DetectorEntry, silence_ms: int, profile: str) -> Thresholds:
    """What a configured detector means for a leg of a profile."""
    return Thresholds(
        silence_ms, entry.speech_from, entry.silence_below, entry.pre_roll_ms, profile,
        10 ** (entry.gain_db / 20),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opened:
    """A turn began. `sound_from` is where its pre-roll begins."""

    slot: int
    start: int
    sound_from: int
    mark: int
    profile: str


@dataclass(frozen=True, slots=True)
class Point:
    """An open turn has been judged up to `at`, a multiple of `rules.POINT`."""

    slot: int
    at: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A turn ended: speech ended at `end`, and the leg is closed up to `mark`.

    `silence_ms` is the silence that ended it, 0 where the leg ended. `sound_to` is where the turn's
    sound ends, `over` where its silence was over: both at `mark`, but for a turn that ended while
    nothing arrived. Later sound is then heard from `mark` on.
    """

    slot: int
    start: int
    end: int
    mark: int
    silence_ms: int
    sound_to: int
    over: int


TurnEvent = Opened | Point | Closed


class TurnBank:
    """All legs in arrays of `capacity` slots, which double when they are full."""

    def __init__(self, detector: Detector, capacity: int = 32) -> None:
        self._detector = detector
        self._free: list[int] = []  # slots without a leg
        self._changes: dict[int, deque[tuple[int, Thresholds]]] = {}  # to come, with their samples
        self._profile: dict[int, str] = {}  # names in force
        self._size = 0  # slots
        # Positions are samples of leg time. What a leg is: written by add, remove, push and judge.
        self._live = np.zeros(0, np.bool_)  # the slot has a leg
        self.have = np.zeros(0, np.int64)  # end of the sound that was pushed
        self.pos = np.zeros(0, np.int64)  # end of the frames that are judged
        self.mark = np.zeros(0, np.int64)  # last place where the state was reset
        self._ring = np.zeros((0, RING), np.int16)  # sample s lies at s % RING
        # How it is judged: written by _set and change.
        self._silence = np.zeros(0, np.int64)  # samples that end a turn
        self._on = np.zeros(0, np.float32)  # probability
        self._off = np.zeros(0, np.float32)  # probability
        self._scale = np.zeros(0, np.float32)  # gain over full scale
        self._pre_roll = np.zeros(0, np.int64)  # samples
        self._next_change = np.zeros(0, np.int64)  # position of the first of _changes
        # The state since the mark: written by _reset, _warm and _frame.
        self._cold = np.zeros(0, np.bool_)  # the detector is to be warmed first
        self._state = np.zeros((2, 0, STATE_WIDTH), np.float32)  # the detector's own
        self._context = np.zeros((0, CONTEXT), np.float32)  # end of the last frame, in [-1, 1]
        self.open = np.zeros(0, np.bool_)  # within a turn
        self._run = np.zeros(0, np.int64)  # speech frames towards a turn's opening
        self._start = np.zeros(0, np.int64)  # position of the turn's first speech frame
        self._loud_end = np.zeros(0, np.int64)  # end of the last loud half frame
        self._frame_end = np.zeros(0, np.int64)  # end of the last speech frame
        self._peak = np.zeros(0, np.float64)  # leaky peak level, dBFS
        # Not part of the state.
        self._heard_to = np.zeros(0, np.int64)  # end of the turn before, in whole milliseconds
        self._held = np.zeros(0, np.bool_)  # a turn closed in this call of judge
        self._grow(capacity)

    def _grow(self, capacity: int) -> None:
        def longer(array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
            shape = list(array.shape)
            shape[axis] = capacity
            new = np.zeros(shape, array.dtype)
            new[(slice(None),) * axis + (slice(0, self._size),)] = array
            return new

        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(self, name, longer(value, 1 if name == "_state" else 0))
        self._free = list(range(capacity - 1, self._size - 1, -1)) + self._free
        self._size = capacity

    @property
    def legs(self) -> int:
        """Number of legs in the bank."""
        return int(np.count_nonzero(self._live))

    def add(self, begin: int, first: int, thresholds: Thresholds, heard_to: int = 0) -> int:
        """Take in a leg that is judged from `begin` on and whose sound comes from `first` on.

        `begin` is a multiple of `rules.FRAME`; `first` is `rules.held_from(begin)`, or `begin` for
        a leg with nothing before. `heard_to` is the end of the turn before, in whole milliseconds:
        no pre-roll reaches into it. Returns the slot by which the leg is named from now on.
        """
        if begin % FRAME:
            raise ValueError(f"begin {begin} is not on the frame grid")
        if not self._free:
            self._grow(2 * self._size)
        slot = self._free.pop()
        self._live[slot] = True
        self.have[slot], self.pos[slot], self._heard_to[slot] = first, begin, heard_to
        self._ring[slot] = 0
        self._changes[slot] = deque()
        self._set(slot, thresholds)
        self._next_change[slot] = np.iinfo(np.int64).max
        self._reset(np.array([slot]))
        return slot

    def remove(self, slot: int) -> None:
        """Forget a leg; its slot is used again."""
        self._live[slot] = False
        self.open[slot] = False
        self.have[slot] = self.pos[slot] = 0
        del self._changes[slot], self._profile[slot]
        self._free.append(slot)

    def room(self, slot: int) -> int:
        """How many samples `push` takes now."""
        return ROUND - int(self.have[slot] - self.pos[slot])

    def push(self, slot: int, samples: Int16) -> None:
        """Append at most `room` samples."""
        count = len(samples)
        if count > self.room(slot):
            raise ValueError(f"{count} samples do not fit")
        at = int(self.have[slot]) % RING
        head = min(count, RING - at)
        self._ring[slot, at : at + head] = samples[:head]
        self._ring[slot, : count - head] = samples[head:]
        self.have[slot] += count

    def cut(self, slot: int, start: int, end: int) -> Int16:
        """Samples [start, end) of a leg, at most `RING` back from what it has."""
        if start < self.have[slot] - RING or end > self.have[slot]:
            raise ValueError(
                f"[{start}, {end}) is not in the ring, which ends at {self.have[slot]}"
            )
        at, count = start % RING, end - start
        head = self._ring[slot, at : at + count]
        rest = count - len(head)
        return np.concatenate([head, self._ring[slot, :rest]]) if rest else head.copy()

    def change(self, slot: int, at: int, thresholds: Thresholds) -> None:
        """Judge by other thresholds from the frame on that ends after sample `at`."""
        queue = self._changes[slot]
        queue.append((at, thresholds))
        self._next_change[slot] = queue[0][0]

    def skip_silence(self, slot: int, silent_from: int, count: int) -> int:
        """Jump over whole idle grid spans of silence to come; returns the samples jumped.

        Silence has one and the same state at every idle mark, so judging it would change nothing.
        `silent_from` is where the silence began, `count` its samples beyond what the leg has.
        """
        pos = int(self.pos[slot])
        at_mark = pos == self.have[slot] == self.mark[slot] and pos % IDLE_GRID == 0
        if not at_mark or self.open[slot] or pos - WARM_UP < silent_from:
            return 0
        jump = count // IDLE_GRID * IDLE_GRID
        for array in (self.have, self.pos, self.mark, self._start, self._loud_end, self._frame_end):
            array[slot] += jump
        return jump  # RING divides IDLE_GRID, so the ring's history lies where it must

    def backlog(self) -> Bool:
        """Which slots have a whole frame to judge."""
        return np.asarray(self._live & (self.have - self.pos >= FRAME))

    def judge(self) -> list[TurnEvent]:
        """Judge all whole frames, but stop a leg where its turn closes.

        The leg's warm-up then waits for the next call, so that a final is out before it. Events of
        one leg are in order.
        """
        events: list[TurnEvent] = []
        self._held[:] = False
        while len(slots := np.flatnonzero(self.backlog() & ~self._held)):
            self._frame(slots, events.append)
        return events

    def close(self, slot: int) -> Closed | None:
        """End a leg's turn where its sound ends, if one is open."""
        if not self.open[slot]:
            return None
        start, have = int(self._start[slot]), int(self.have[slot])
        self.open[slot] = False
        end = min(max(int(self._loud_end[slot]), start), have)
        return Closed(slot, start, end, have, 0, have, have)

    def quiet(self, slot: int, to: int, silence_ms: int) -> Closed | None:
        """Nothing came up to `to`: end the turn if its silence is over by then.

        Call it when all whole frames are judged. Missing sound is not judged: a turn that goes on
        keeps its state, and one that ends does so where its sound ends, so that late sound is heard
        in full.
        """
        if not self.open[slot]:
            return None
        pos, start = int(self.pos[slot]), int(self._start[slot])
        end, frame_end = int(self._loud_end[slot]), int(self._frame_end[slot])
        if frame_end < pos:  # else speech broke off, and the detector did not hang on
            end = min(end, frame_end - HANG)
        end = max(end, start)
        wanted = _silence_of(silence_ms)
        if to - end < wanted:
            return None
        self._heard_to[slot] = _whole_ms(end)
        self._reset(np.array([slot]))
        have = int(self.have[slot])
        over = max(end + wanted, have)
        return Closed(slot, start, end, pos, wanted // SAMPLES_PER_MS, have, over)

    def _set(self, slot: int, thresholds: Thresholds) -> None:
        self._silence[slot] = _silence_of(thresholds.silence_ms)
        self._on[slot], self._off[slot] = thresholds.on, thresholds.off
        self._pre_roll[slot] = thresholds.pre_roll_ms * SAMPLES_PER_MS
        self._scale[slot] = thresholds.gain / 32768
        self._profile[slot] = thresholds.profile

    def _apply_changes(self, slots: Int64) -> None:
        for slot in slots[self._next_change[slots] < self.pos[slots] + FRAME].tolist():
            queue = self._changes[slot]
            while queue and queue[0][0] < self.pos[slot] + FRAME:
                self._set(slot, queue.popleft()[1])
            self._next_change[slot] = queue[0][0] if queue else np.iinfo(np.int64).max

    def _reset(self, slots: Int64) -> None:
        """A mark: zero the state; it is warmed before the next frame of the leg."""
        at = self.pos[slots]
        self._state[:, slots] = 0
        self._context[slots] = 0
        self._run[slots] = 0
        self.open[slots] = False
        self._peak[slots] = PEAK_START_DB
        self._cold[slots] = True
        for array in (self.mark, self._start, self._loud_end, self._frame_end):
            array[slots] = at

    def _warm(self, slots: Int64) -> None:
        mark = self.mark[slots]
        for back in range(WARM_UP_FRAMES, 0, -1):
            at = mark - back * FRAME
            there = at >= 0
            if there.any():
                self._score(slots[there], at[there])
        self._cold[slots] = False

    def _score(self, slots: Int64, at: Int64) -> tuple[Int16, Float32]:
        """Run the detector on the frames that begin at `at`: int16 [n, 256], probability [n]."""
        frames = self._ring.reshape(-1, RING_FRAMES, FRAME)[slots, (at // FRAME) % RING_FRAMES]
        sound = np.empty((len(slots), CONTEXT + FRAME), np.float32)
        sound[:, :CONTEXT] = self._context[slots]
        np.multiply(frames, self._scale[slots, None], out=sound[:, CONTEXT:])
        probability, state = self._detector.run(sound, self._state[:, slots])
        self._state[:, slots] = state
        self._context[slots] = sound[:, -CONTEXT:]
        return frames, probability

    def _frame(self, slots: Int64, emit: Callable[[TurnEvent], None]) -> None:
        """Judge one frame of each of the slots."""
        self._apply_changes(slots)  # first, so that a resumed leg is warmed by the same thresholds
        if len(cold := slots[self._cold[slots]]):
            self._warm(cold)
        begin = self.pos[slots]
        frames, probability = self._score(slots, begin)
        # Sums of squared integers are exact in float64, whatever the order of summation.
        halves = frames.astype(np.float64).reshape(len(slots), 2, HALF_FRAME)
        power = np.einsum("ijk,ijk->ij", halves, halves) / FULL_SCALE_POWER
        level = 10 * np.log10(power + 1e-9)

        pos = begin + FRAME
        was_open, run, silence = self.open[slots], self._run[slots], self._silence[slots]
        speech = probability >= np.where(was_open | (run > 0), self._off[slots], self._on[slots])
        speech &= was_open | power.any(axis=1)  # missing sound opens no turn
        frame_end = np.where(speech, pos, self._frame_end[slots])
        loud_end, peak = self._loud_end[slots], self._peak[slots]
        for half in (0, 1):
            peak = np.where(speech, np.maximum(peak - PEAK_LEAK_DB, level[:, half]), peak)
            loud = speech & (level[:, half] >= peak - PEAK_RANGE_DB)
            loud_end = np.where(loud, begin + HALF_FRAME * (half + 1), loud_end)
        start = np.where(~was_open & speech & (run == 0), begin, self._start[slots])
        rising = np.where(speech, run + 1, np.maximum(run - 2, 0))
        run = np.where(was_open, run, rising)
        opened = ~was_open & speech & (run >= OPEN_FRAMES)
        loud_end = np.where(opened, np.maximum(loud_end, begin), loud_end)
        end = np.minimum(loud_end, frame_end - HANG)
        quiet = (pos - end >= silence) & ~speech
        faint = (
            (pos - np.maximum(loud_end, start) >= silence)
            & (loud_end < frame_end)
            & (pos - loud_end >= silence)
        )
        closed = was_open & ((pos - start >= LONGEST_TURN) | quiet | faint)
        is_open = (was_open | opened) & ~closed

        self.pos[slots], self.open[slots], self._run[slots] = pos, is_open, run
        self._start[slots], self._peak[slots] = start, peak
        self._loud_end[slots], self._frame_end[slots] = loud_end, frame_end
        for i in np.flatnonzero(opened).tolist():
            slot, first = int(slots[i]), int(start[i])
            mark = int(self.mark[slot])
            sound_from = max(
                first - int(self._pre_roll[slot]), held_from(mark), int(self._heard_to[slot])
            )
            emit(Opened(slot, first, sound_from, mark, self._profile[slot]))
        for i in np.flatnonzero(is_open & (pos % POINT == 0)).tolist():
            emit(Point(int(slots[i]), int(pos[i])))
        for i in np.flatnonzero(closed).tolist():
            slot, first, at = int(slots[i]), int(start[i]), int(pos[i])
            last = max(int(end[i]), first)
            self._heard_to[slot] = _whole_ms(last)
            emit(Closed(slot, first, last, at, int(silence[i]) // SAMPLES_PER_MS, at, at))
        marked = closed | (~is_open & (pos % IDLE_GRID == 0))
        if marked.any():
            self._reset(slots[marked])
        self._held[slots[closed]] = True


def _silence_of(silence_ms: int) -> int:
    """Samples of silence that end a turn, within their bounds."""
    return min(max(silence_ms * SAMPLES_PER_MS, SHORTEST_SILENCE), LONGEST_SILENCE)


def _whole_ms(sample: int) -> int:
    """A position as a final on the log gives it: in whole milliseconds."""
    return sample // SAMPLES_PER_MS * SAMPLES_PER_MS
