"""Turn ends written plainly: one leg, one frame after the other, no arrays of legs, no restarts.

The bank must find exactly the same turns. Written from the rules, not from the bank.
"""

from dataclasses import dataclass

import numpy as np

from asr_worker import rules
from asr_worker.bank import Thresholds
from asr_worker.detector import STATE_WIDTH, Silero
from ringlog.audio.g711 import Int16


@dataclass
class _State:
    mark: int
    hidden: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    context: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    run: int = 0
    start: int = 0
    open: bool = False
    loud_end: int = 0
    frame_end: int = 0
    peak: float = rules.PEAK_START_DB


def _score(detector: Silero, state: _State, samples: Int16, at: int) -> float:
    sound = samples[at : at + rules.FRAME].astype(np.float32) / 32768
    whole = np.concatenate([state.context, sound])[None]
    probability, state.hidden = detector.run(whole, state.hidden)
    state.context = sound[-rules.CONTEXT :]
    return float(probability[0])


def _marked(detector: Silero, samples: Int16, at: int) -> _State:
    state = _State(
        at, np.zeros((2, 1, STATE_WIDTH), np.float32), np.zeros(rules.CONTEXT, np.float32)
    )
    state.start = state.loud_end = state.frame_end = at
    for back in range(rules.WARM_UP_FRAMES, 0, -1):
        if at - back * rules.FRAME >= 0:
            _score(detector, state, samples, at - back * rules.FRAME)
    return state


def turns(detector: Silero, samples: Int16, t: Thresholds) -> list[tuple[int, int, int]]:
    """(start, speech end, mark) of every closed turn of a leg."""
    found = []
    state = _marked(detector, samples, 0)
    silence = t.silence_ms * 8
    for begin in range(0, len(samples) - rules.FRAME + 1, rules.FRAME):
        pos = begin + rules.FRAME
        p = np.float32(_score(detector, state, samples, begin))
        speech = p >= np.float32(t.off if state.open or state.run else t.on)
        if not state.open and not samples[begin:pos].any():
            speech = np.False_  # what never came opens no turn
        if speech:
            state.frame_end = pos
            for half in (0, 1):
                a = begin + half * rules.HALF_FRAME
                values = [int(v) for v in samples[a : a + rules.HALF_FRAME]]
                power = sum(v * v for v in values) / (128.0 * 32768.0**2)
                level = float(10 * np.log10(power + 1e-9))
                state.peak = max(state.peak - rules.PEAK_LEAK_DB, level)
                if level >= state.peak - rules.PEAK_RANGE_DB:
                    state.loud_end = a + rules.HALF_FRAME
        if not state.open:
            if speech:
                if state.run == 0:
                    state.start = begin
                state.run += 1
                if state.run >= rules.OPEN_FRAMES:
                    state.open = True
                    state.loud_end = max(state.loud_end, begin)
            else:
                state.run = max(0, state.run - 2)
            if not state.open and pos % rules.IDLE_GRID == 0:
                state = _marked(detector, samples, pos)
            continue
        end = min(state.loud_end, state.frame_end - rules.HANG)
        faint = (
            state.loud_end < state.frame_end
            and pos - state.loud_end >= silence
            and pos - max(state.loud_end, state.start) >= silence
        )
        too_long = pos - state.start >= rules.LONGEST_TURN
        if too_long or faint or (pos - end >= silence and not speech):
            found.append((state.start, max(end, state.start), pos))
            state = _marked(detector, samples, pos)
    return found
