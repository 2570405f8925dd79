"""Turns to text: the turn bank's events drive one recogniser stream a turn, decoded in batches.

A stream is fed and decoded only at points that the leg's sound fixes (`rules.POINT`, and the
turn's close), so texts, partials and times do not depend on how the sound arrives.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from asr_worker.bank import Closed, Detector, Opened, Point, Thresholds, TurnBank, TurnEvent
from asr_worker.music import Notes
from asr_worker.recogniser import Recogniser, Stream
from asr_worker.rules import FRAME, IDLE_GRID, SAMPLES_PER_MS
from ringlog.audio.g711 import Int16

RecogniserOf = Callable[[str], Recogniser]


@dataclass(frozen=True, slots=True)
class Partial:
    """Text of an open turn up to `at`. Positions are leg time, samples."""

    slot: int
    start: int
    at: int
    mark: int
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class Final:
    """A closed turn, possibly without text. Token times are leg time, milliseconds.

    `sound_from` is the first sample that was decoded, `end` where speech ended, `mark` the sample
    up to which the leg is closed, `over` where the turn's silence was over.
    """

    slot: int
    start: int
    end: int
    mark: int
    sound_from: int
    silence_ms: int
    over: int
    text: str
    tokens: tuple[tuple[str, int], ...]
    confidence: float | None
    model: str


@dataclass(slots=True)
class Step:
    """The result of one step. `ended` are slots that are free again."""

    partials: list[Partial] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Silence:
    """A hole in a leg's sound that is to be filled with zeros; nothing came since `start`."""

    start: int
    count: int


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Nothing has come up to `to`; a turn ends after a silence of `silence_ms`."""

    to: int
    silence_ms: int


@dataclass(slots=True)
class _Turn:
    stream: Stream
    recogniser: Recogniser
    start: int
    sound_from: int
    fed: int
    mark: int
    text: str = ""
    notes: Notes = field(default_factory=Notes)


class Transcriber:
    """Legs in, partials and finals out. Pure except for the models."""

    def __init__(self, detector: Detector, recogniser_of: RecogniserOf) -> None:
        self.bank = TurnBank(detector)
        self._recogniser_of = recogniser_of
        self._queues: dict[int, deque[Int16 | _Silence | _Quiet]] = {}
        self._turns: dict[int, _Turn] = {}
        self._ending: set[int] = set()

    def add(self, begin: int, first: int, thresholds: Thresholds, heard_to: int = 0) -> int:
        """Take in a leg (see `TurnBank.add`); returns its slot."""
        slot = self.bank.add(begin, first, thresholds, heard_to)
        self._queues[slot] = deque()
        return slot

    def push(self, slot: int, samples: Int16) -> None:
        """Append sound, any amount."""
        if len(samples):
            self._queues[slot].append(samples)

    def push_silence(self, slot: int, start: int, count: int) -> None:
        """Append `count` zeros, part of a silence that began at leg sample `start`."""
        self._queues[slot].append(_Silence(start, count))

    def push_quiet(self, slot: int, to: int, silence_ms: int) -> None:
        """Nothing has come up to leg sample `to`: a turn may end by that (see `TurnBank.quiet`)."""
        self._queues[slot].append(_Quiet(to, silence_ms))

    def finish(self, slot: int) -> None:
        """The leg ends where its sound ends: close its turn and free the slot in a later step."""
        self._ending.add(slot)

    def drop(self, slot: int) -> None:
        """Forget a leg at once, with its open turn."""
        self._turns.pop(slot, None)
        self._ending.discard(slot)
        del self._queues[slot]
        self.bank.remove(slot)

    @property
    def busy(self) -> bool:
        """Whether another step has something to do."""
        return bool(self._ending or any(self._queues.values()) or np.any(self.bank.backlog()))

    def step(self) -> Step:
        """Judge and decode at most three quarters of a second of each leg.

        A leg stops at the close of a turn, so that its final can be published before the rest.
        """
        events: list[TurnEvent] = []
        for slot, queue in self._queues.items():
            if queue and (closed_quietly := self._fill(slot, queue)) is not None:
                events.append(closed_quietly)
        events += self.bank.judge()
        ended = [slot for slot in sorted(self._ending) if self._judged(slot)]
        events += [closed for slot in ended if (closed := self.bank.close(slot)) is not None]
        step = Step(ended=ended)
        for event in events:
            if isinstance(event, Opened):
                self._open(event)
        for wave in _waves(event for event in events if not isinstance(event, Opened)):
            self._wave(wave, step)
        for slot in ended:
            self.drop(slot)
        return step

    def _judged(self, slot: int) -> bool:
        """Whether all sound of a leg has been judged but for less than a frame."""
        bank = self.bank
        return not self._queues[slot] and int(bank.have[slot] - bank.pos[slot]) < FRAME

    def _fill(self, slot: int, queue: deque[Int16 | _Silence | _Quiet]) -> Closed | None:
        """Hand over what the bank has room for, up to a turn's end in silence, which it returns."""
        bank = self.bank
        while queue and (room := bank.room(slot)) > 0:
            item = queue[0]
            if isinstance(item, _Quiet):
                if bank.have[slot] - bank.pos[slot] >= FRAME:
                    return None  # judge what came before first
                queue.popleft()
                if (closed := bank.quiet(slot, item.to, item.silence_ms)) is not None:
                    return closed
            elif isinstance(item, _Silence):
                jumped = bank.skip_silence(slot, item.start, item.count)
                have = int(bank.have[slot])
                # Up to an idle mark at most: from there the rest may be jumped over.
                count = min(item.count - jumped, room, IDLE_GRID - have % IDLE_GRID)
                bank.push(slot, np.zeros(count, np.int16))
                left = item.count - jumped - count
                if left:
                    queue[0] = _Silence(item.start, left)
                else:
                    queue.popleft()
                if left and int(bank.have[slot]) % IDLE_GRID == 0:
                    return None  # judge up to the mark first
            elif len(item) <= room:
                bank.push(slot, item)
                queue.popleft()
            else:
                bank.push(slot, item[:room])
                queue[0] = item[room:]
        return None

    def _open(self, event: Opened) -> None:
        recogniser = self._recogniser_of(event.profile)
        self._turns[event.slot] = _Turn(
            recogniser.stream(), recogniser, event.start, event.sound_from, event.sound_from,
            event.mark,
        )  # fmt: skip

    def _wave(self, events: list[Point | Closed], step: Step) -> None:
        """Feed and decode the turns of events of different legs together."""
        batches: dict[int, tuple[Recogniser, list[Stream]]] = {}
        done: list[tuple[Point | Closed, _Turn]] = []
        for event in events:
            turn = self._turns[event.slot]
            to = event.sound_to if isinstance(event, Closed) else event.at
            sound = self.bank.cut(event.slot, turn.fed, to)
            turn.stream.feed(sound)
            turn.notes.push(sound)
            turn.fed = to
            if isinstance(event, Closed):
                turn.stream.feed(turn.recogniser.padding(event.sound_to - event.end))
            batches.setdefault(id(turn.recogniser), (turn.recogniser, []))[1].append(turn.stream)
            done.append((event, turn))
        for recogniser, streams in batches.values():
            recogniser.decode(streams)
        for event, turn in done:
            if isinstance(event, Point):
                self._partial(event, turn, step)
            else:
                del self._turns[event.slot]
                step.finals.append(self._final(event, turn))

    def _partial(self, event: Point, turn: _Turn, step: Step) -> None:
        text = turn.recogniser.text(turn.stream)
        if text and text != turn.text and not turn.notes.music:
            turn.text = text
            name = turn.recogniser.name
            step.partials.append(Partial(event.slot, turn.start, event.at, turn.mark, text, name))

    def _final(self, event: Closed, turn: _Turn) -> Final:
        heard = turn.recogniser.result(turn.stream)
        offset_ms = turn.sound_from / SAMPLES_PER_MS
        tokens = tuple((text, round(offset_ms + at_ms)) for text, at_ms in heard.tokens)
        text, confidence = heard.text, heard.confidence
        if text and turn.notes.music:  # a turn without words
            text, tokens, confidence = "", (), None
        return Final(
            event.slot, event.start, event.end, event.mark, turn.sound_from, event.silence_ms,
            event.over, text, tokens, confidence, turn.recogniser.name,
        )  # fmt: skip


def _waves(events: Iterable[Point | Closed]) -> list[list[Point | Closed]]:
    """Events in waves: the n-th of every leg, in the legs' own order."""
    waves: list[list[Point | Closed]] = []
    seen: dict[int, int] = {}
    for event in events:
        at = seen.get(event.slot, 0)
        seen[event.slot] = at + 1
        if at == len(waves):
            waves.append([])
        waves[at].append(event)
    return waves
