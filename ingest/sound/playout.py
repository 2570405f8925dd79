"""What the far end hears: prompts, keys and marks in order, one 20 ms frame a tick.

Nothing is queued beyond the frame that a tick hands out, so a flush is heard with the next frame.
While nobody can be reached, sound and keys wait. A prompt that may be interrupted by speech pauses
at a voice onset. The robot stops it if words follow; if nothing or a backchannel does, nobody says
anything, and it resumes by itself after `PAUSE_US` (somewhat later while the voice goes on), a
little before where it paused. Pure: the ticks and their times come from outside.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from ingest.sound.types import FRAME_MS

BargeIn = Literal["never", "speech", "words"]

PAUSE_US: Final = 600_000
"""How long a voice onset holds a prompt up."""

WORDS_US: Final = 400_000
"""How much longer while the voice still sounds: a 嗯 is over by then, and the recogniser's first
words come 0.64 s after the first sound in the median, 0.78 s at the 95th percentile."""

SOUNDS_US: Final = 120_000
"""A voice that was heard this recently still sounds."""

MAX_PAUSES: Final = 3
"""Pauses of one prompt: a noisy line must not stretch it for ever."""

MAX_FALSE: Final = 4
"""Pauses in a row without a stop, over all prompts: hold music, a street, a customer who says 嗯.
From then on only words stop a prompt, until they do."""

REWIND_FRAMES: Final = 15
"""A paused prompt resumes at its quietest frame of the last 300 ms, so that no word is cut."""

MAX_QUEUED: Final = 64
"""Queue limit; a robot that says more without an answer is broken."""

KEY_TICKS: Final = 8
KEY_END_TICKS: Final = 3
KEY_GAP_TICKS: Final = 3
"""A key press: 160 ms of tone, three end packets (RFC 4733 section 2.5.1.4), 60 ms of pause."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A prompt in a session's codec: 20 ms frames, and the level of each (`onset.level_db`)."""

    frames: tuple[bytes, ...]
    levels: tuple[float, ...]

    @property
    def ms(self) -> int:
        """Length of the prompt, ms."""
        return len(self.frames) * FRAME_MS


@dataclass(frozen=True, slots=True)
class Say:
    """One prompt to play, as a directive asked."""

    directive_id: str
    prompt_id: str | None
    prompt: Prompt
    barge_in: BargeIn = "never"


@dataclass(frozen=True, slots=True)
class Mark:
    """Reported when everything before it was played or flushed."""

    name: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Digits to send."""

    digits: str


class Started(NamedTuple):
    """The first frame of a prompt goes out with this tick."""

    say: Say


class Ended(NamedTuple):
    """A prompt is over after `heard_ms` of it; `complete` when that was all."""

    say: Say
    heard_ms: int
    complete: bool


class Paused(NamedTuple):
    """A voice holds a prompt up, for the `n`-th time, after `heard_ms` of it."""

    say: Say
    heard_ms: int
    n: int


class Resumed(NamedTuple):
    """A prompt goes on after its `n`-th pause, from `from_ms` of it."""

    say: Say
    from_ms: int
    n: int


class Marked(NamedTuple):
    """A mark was reached."""

    name: str


PlayoutEvent = Started | Ended | Paused | Resumed | Marked


class KeyTick(NamedTuple):
    """One tick of a key press; `n` counts its ticks, `end` repeats the end."""

    digit: str
    n: int
    end: bool


class Tick(NamedTuple):
    """What one tick sends: a frame, or a key, or nothing; `talkspurt` marks a first frame."""

    frame: bytes | None
    level: float
    key: KeyTick | None
    talkspurt: bool
    events: tuple[PlayoutEvent, ...]


IDLE: Final = Tick(None, 0.0, None, False, ())


class QueueFull(Exception):
    """More is queued than any conversation needs."""


class Playout:
    """The queue of one call."""

    def __init__(self) -> None:
        self._queue: deque[Say | Mark | Keys] = deque()
        self._position = 0  # next frame of the head, or ticks of its keys
        self._reached = 0  # frames of the head that were heard
        self._paused_until_us: int | None = None
        self._pauses = 0
        self._voice_us = 0
        self._false = 0
        self._talking = False

    @property
    def idle(self) -> bool:
        """True when a tick would do nothing."""
        return not self._queue

    @property
    def interruptible(self) -> bool:
        """True while a voice onset would pause what plays."""
        head = self._queue[0] if self._queue else None
        return (
            isinstance(head, Say)
            and head.barge_in == "speech"
            and self._reached > 0
            and self._paused_until_us is None
            and self._pauses < MAX_PAUSES
            and self._false < MAX_FALSE
        )

    @property
    def paused(self) -> bool:
        """True while a prompt is held up by a voice onset."""
        return self._paused_until_us is not None

    def add(self, entry: Say | Mark | Keys) -> None:
        """Queues an entry; raises QueueFull."""
        if len(self._queue) >= MAX_QUEUED:
            raise QueueFull(f"{MAX_QUEUED} entries wait already")
        self._queue.append(entry)

    def onset(self, now_us: int) -> Paused | None:
        """Somebody began to speak; None when that pauses nothing."""
        if not self.interruptible:
            return None
        self._paused_until_us = now_us + PAUSE_US
        self._pauses += 1
        head = self._queue[0]
        assert isinstance(head, Say), "only a prompt is interruptible"
        return Paused(head, self._reached * FRAME_MS, self._pauses)

    def voice(self, now_us: int) -> None:
        """The voice that held the prompt up still sounds."""
        self._voice_us = now_us

    def flush(self) -> tuple[PlayoutEvent, ...]:
        """Stops at once and clears the queue; marks count as reached."""
        events: list[PlayoutEvent] = []
        if self._pauses:
            self._false = 0  # somebody did speak
        for n, entry in enumerate(self._queue):
            if isinstance(entry, Say):
                played = self._reached if n == 0 else 0
                complete = played == len(entry.prompt.frames)
                events.append(Ended(entry, played * FRAME_MS, complete))
            elif isinstance(entry, Mark):
                events.append(Marked(entry.name))
        self._queue.clear()
        self._next()
        self._talking = False
        return tuple(events)

    def tick(self, now_us: int, ready: bool = True) -> Tick:
        """The next 20 ms. While nobody can be reached (`ready`), sound and keys wait."""
        if not self._queue:
            self._talking = False
            return IDLE
        events: list[PlayoutEvent] = []
        if self._paused_until_us is not None:
            until_us = self._paused_until_us
            if now_us - self._voice_us < SOUNDS_US:
                until_us += WORDS_US
            if now_us < until_us or not ready:
                self._talking = False
                return IDLE
            events.append(self._resume())
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Mark):
                events.append(Marked(head.name))
            elif isinstance(head, Keys):
                if self._position < len(head.digits) * _KEY_TOTAL:
                    if not ready:
                        break
                    self._talking = False
                    return Tick(None, 0.0, self._key(head), False, tuple(events))
            else:
                n = self._position
                if n < len(head.prompt.frames) and not ready:
                    break
                if n == 0 and self._reached == 0:
                    events.append(Started(head))
                if n < len(head.prompt.frames):
                    self._position = n + 1
                    self._reached = max(self._reached, n + 1)
                    first, self._talking = not self._talking, True
                    return Tick(
                        head.prompt.frames[n], head.prompt.levels[n], None, first, tuple(events)
                    )
                events.append(Ended(head, n * FRAME_MS, True))
            self._queue.popleft()
            self._next()
        self._talking = False
        return Tick(None, 0.0, None, False, tuple(events))

    def _resume(self) -> Resumed:
        self._paused_until_us = None
        self._false += 1
        head, end = self._queue[0], self._position
        assert isinstance(head, Say), "only a prompt pauses"
        window = range(end, max(0, end - REWIND_FRAMES) - 1, -1)
        levels = head.prompt.levels
        self._position = min(window, key=lambda n: levels[n] if n < len(levels) else 0.0)
        return Resumed(head, self._position * FRAME_MS, self._pauses)

    def _key(self, keys: Keys) -> KeyTick | None:
        index, n = divmod(self._position, _KEY_TOTAL)
        self._position += 1
        if n >= KEY_TICKS + KEY_END_TICKS:
            return None
        return KeyTick(keys.digits[index], n, n >= KEY_TICKS)

    def _next(self) -> None:
        self._position, self._reached, self._pauses, self._paused_until_us = 0, 0, 0, None


_KEY_TOTAL: Final = KEY_TICKS + KEY_END_TICKS + KEY_GAP_TICKS
