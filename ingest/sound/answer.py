"""Who answered, by sound alone: the timing of the greeting, and tones.

A person says a word or two and waits (`human`); a machine talks on (`talks`, and `machine` once no
person would). `unsure` and `silence` say that `VERDICT_MS` are over and nobody talks, so something
is told by then in any case, and a robot can hold its first prompt for it. What is heard later
follows: the end of a long greeting (`pause`), tones, a lasting silence after a machine (`quiet`).
All of it is evidence: the robot decides, with the words that the recogniser hears. Pure: frames in,
labels out.
"""

from collections import deque
from typing import Final, Literal, NamedTuple

import numpy as np

from ingest.sound.tones import FRAME, ToneName, Tones
from ringlog.audio.g711 import Int16

AnswerName = Literal["human", "talks", "pause", "machine", "unsure", "silence", "quiet"] | ToneName

VERDICT_MS: Final = 2_000
"""The first verdict comes no later, after the answer."""

LONGEST_HELLO_MS: Final = 1_700
"""A person who only answers is done before that, pauses included."""

MONOLOGUE_MS: Final = 6_000
"""Nobody answers with this much, and over our prompt a person stops before."""

TURN_MS: Final = 550
"""Silence after which a person waits for us. Pauses within a recording are shorter, mostly."""

WORD_MS: Final = 200
"""Silence within a sentence: who paused no longer still talks."""

QUIET_MS: Final = 4_000
"""Silence after a machine's greeting that stands for its beep, where none is told."""

WATCH_MS: Final = 60_000
HUMAN_WATCH_MS: Final = 10_000
"""How long a call is watched, and after a person was heard."""

MARGIN_DB: Final = 10.0
LEAST_DB: Final = 42.0
"""Voice is this much over the line's noise and over one step of int16 (RMS)."""

FLOOR_FRAMES: Final = 60
"""The line's noise is the quietest frame of the last 1.2 s: speech has a pause in any."""

SHORTEST_VOICE_FRAMES: Final = 4
"""Voiced frames of 6 that begin a greeting: less is a click."""


class Heard(NamedTuple):
    """Something was told. `at_ms` counts from the beginning of the watch."""

    name: AnswerName
    at_ms: int


class AnswerWatch:
    """Folds the frames after an answer into labels."""

    def __init__(self) -> None:
        self.at_ms = 0
        self._tones = Tones()
        self._pending: Int16 = np.zeros(0, np.int16)
        self._levels: deque[float] = deque(maxlen=FLOOR_FRAMES)
        self._recent = 0
        self._from_ms: int | None = None  # the greeting's beginning
        self._voice_ms = 0  # end of its last voiced frame
        self._told: set[AnswerName] = set()

    @property
    def over(self) -> bool:
        """Whether nothing more is expected."""
        return self.at_ms >= (HUMAN_WATCH_MS if "human" in self._told else WATCH_MS)

    def push(self, samples: Int16) -> list[Heard]:
        """Takes sound at 8 kHz, any amount; returns what it tells."""
        out: list[Heard] = []
        self._pending = np.concatenate((self._pending, samples))
        while len(self._pending) >= FRAME:
            frame, self._pending = self._pending[:FRAME], self._pending[FRAME:]
            out += self._frame(frame)
        return out

    def silence(self) -> list[Heard]:
        """20 ms in which nothing arrived."""
        return self.push(np.zeros(FRAME, np.int16))

    def _frame(self, frame: Int16) -> list[Heard]:
        tones = self._tones.push(frame)
        self.at_ms += 20
        self._listen(frame)
        names: list[AnswerName] = [*tones, *self._judge()]
        return [Heard(name, self.at_ms) for name in names if self._is_new(name)]

    def _is_new(self, name: AnswerName) -> bool:
        """A beep may come again, once the message has begun; all else is told once."""
        if name in self._told and name != "beep":
            return False
        self._told.add(name)
        return True

    def _listen(self, frame: Int16) -> None:
        samples = frame.astype(np.float32)
        level = 10 * float(np.log10(float(samples @ samples) / FRAME + 1e-3))
        self._levels.append(level)
        loud = level > max(min(self._levels) + MARGIN_DB, LEAST_DB) and not self._tones.sounding
        self._recent = (self._recent << 1 | loud) & 0b111111
        if not loud:
            return
        if self._from_ms is None and self._recent.bit_count() >= SHORTEST_VOICE_FRAMES:
            self._from_ms = self.at_ms - 20 * self._recent.bit_length()
        if self._from_ms is not None:
            self._voice_ms = self.at_ms

    def _judge(self) -> list[AnswerName]:
        begun, at, told = self._from_ms, self.at_ms, self._told
        greeting_ms = 0 if begun is None else self._voice_ms - begun
        quiet_ms = at - self._voice_ms
        waits = begun is not None and quiet_ms >= TURN_MS
        if greeting_ms >= MONOLOGUE_MS:
            return ["quiet"] if quiet_ms >= QUIET_MS else ["machine"]
        if greeting_ms > LONGEST_HELLO_MS:
            return ["pause"] if waits and "human" not in told else ["talks"]
        if waits:
            return ["human"]
        if at >= VERDICT_MS and not told & {"human", "talks", "unsure", "silence"}:
            return ["silence" if begun is None else "talks" if quiet_ms <= WORD_MS else "unsure"]
        return []
