"""A simulated person with a telephone at the ear: takes the sound that comes, gives what is said.

It knows nothing of how sound travels; a carrier feeds it and sends what it gives, 20 ms at a time.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from demo.caller import Caller, Said
from demo.hearing import FRAME, QUIET, Ear, Earpiece, Heard, Int16
from demo.people import Person
from demo.speech import Voice, line_noise, utterance

_NOISE_S = 20
_LAST_FRAMES = 50


class Note(Protocol):
    """Logs what really happened, for the report."""

    def __call__(self, event: str, **fields: object) -> None:
        """One event of the call."""
        ...


class PersonSound:
    """A person's lines and line noise, made once."""

    def __init__(self, person: Person, seed: int) -> None:
        voice = Voice(person.voice, person.speed, person.pitch, person.snr_db)
        lines = {line.say for lines in person.on.values() for line in lines}
        self.lines = {text: utterance(text, voice) for text in sorted(lines)}
        self.lengths = {text: len(x) for text, x in self.lines.items()}
        self.noise = line_noise(_NOISE_S, voice, seed)


class Handset:
    """One person in one call."""

    def __init__(
        self, person: Person, sound: PersonSound, prompts: Mapping[str, Int16], note: Note
    ) -> None:
        self._sound, self._note = sound, note
        self._caller = Caller(person)
        self._ear = Ear(prompts)
        self._earpiece = Earpiece()
        self._saying: Said | None = None
        self._last = 0

    def hear(self, rtp_ts: int, samples: Int16) -> None:
        """20 ms that have just come."""
        self._earpiece.put(rtp_ts, samples, time.monotonic())

    def say(self, frame: int) -> Int16:
        """The 20 ms to be sent as the call's frame of this number: noise of the line, and words."""
        now = self._last = frame * FRAME
        for heard in self._listen(self._earpiece.take(time.monotonic()), now):
            self._caller.hear(heard)
        self._saying = self._saying or self._caller.due(now, self._sound.lengths)
        offset = now % (len(self._sound.noise) - FRAME)
        out = self._sound.noise[offset : offset + FRAME].astype(np.int32)
        if self._saying is not None:
            sound, since = self._sound.lines[self._saying.line.say], now - self._saying.at
            part = sound[since : since + FRAME]
            out[: len(part)] += part
        return np.clip(out, -32_768, 32_767).astype(np.int16)

    def sent(self) -> None:
        """What `say` gave is on its way; notes a line that it ended."""
        if self._saying is None:
            return
        line, since = self._saying.line, self._last - self._saying.at
        if since + FRAME >= self._sound.lengths[line.say]:
            self._note(
                "said", text=line.say, intent=line.intent,
                end_wall_ms=time.time_ns() // 1_000_000,
            )  # fmt: skip
            self._saying = None

    def over(self) -> None:
        """The line is dead; the last words are heard, too, when that came right behind them."""
        rest = [*self._earpiece.take(time.monotonic()), *[QUIET] * _LAST_FRAMES]
        self._listen(rest, self._last + FRAME)

    def _listen(self, frames: list[Int16], now: int) -> list[Heard]:
        """Events heard at call time `now`, samples."""
        noticed = [replace(h, at=now) for frame in frames for h in self._ear.feed(frame)]
        for heard in noticed:
            self._note(
                "heard", what=heard.kind, prompt=heard.prompt, at_ms=now // 8,
                wall_ms=time.time_ns() // 1_000_000, complete=heard.complete,
            )  # fmt: skip
        return noticed


def sounds_of(people: Mapping[str, Person]) -> dict[str, PersonSound]:
    """Each person's sound by name."""
    cast = {person.name: person for person in people.values()}
    return {name: PersonSound(person, n) for n, (name, person) in enumerate(cast.items())}
