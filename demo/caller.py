"""A simulated person on the phone, whose answers depend on the prompts heard. Pure; time in
samples."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from demo.hearing import RATE_HZ, Heard
from demo.people import Person, Remark

_BEGAN_MS = 480
"""How far into a prompt the ear recognises it at the soonest; `over_ms` counts from its start."""


@dataclass(frozen=True)
class Said:
    """A line begins at a listening time, samples."""

    line: Remark
    at: int


class Caller:
    """One person in one call."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self._heard: Counter[str] = Counter()
        self._plan: list[Said] = []
        self._busy_until = 0

    def hear(self, heard: Heard) -> None:
        """A prompt began or ended."""
        if heard.prompt is None:
            return
        key = self._key(heard.prompt)
        if key is None:
            return
        lines = self.person.on[key]
        if heard.kind == "began":
            line = _nth(lines, self._heard[key])
            if line is not None and line.over_ms is not None:
                self._heard[key] += 1
                wait_ms = max(line.over_ms - _BEGAN_MS, 0)
                self._plan.append(Said(line, heard.at + wait_ms * RATE_HZ // 1000))
            return
        line = _nth(lines, self._heard[key])
        if line is None or line.over_ms is not None:
            return
        self._heard[key] += 1
        self._plan.append(Said(line, heard.at + line.after_ms * RATE_HZ // 1000))

    def due(self, now: int, lengths: Mapping[str, int]) -> Said | None:
        """The line that begins now, if any; `lengths` gives each line's samples."""
        if now < self._busy_until or not self._plan or self._plan[0].at > now:
            return None
        said = Said(self._plan.pop(0).line, now)
        self._busy_until = now + lengths[said.line.say]
        return said

    def _key(self, prompt: str) -> str | None:
        """The entry for a prompt `name.wording/sound`: the most exact one that there is."""
        exact = prompt.partition("/")[0]
        for key in (exact, exact.partition(".")[0]):
            if key in self.person.on:
                return key
        return None


def _nth(lines: list[Remark], n: int) -> Remark | None:
    return lines[n] if n < len(lines) else None
