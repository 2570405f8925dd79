"""How well a trunk does, as a factor of its weight. Pure.

Looked at over the last `WINDOW` tries: the share that was answered (answer-seizure ratio, ITU-T
E.411), the time to the carrier's first word of the call (post-dial delay, ITU-T E.431), and calls
whose sound went one way.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

WINDOW: Final = 100
ENOUGH: Final = 20
"""Tries below which a share says nothing."""

SLOW_MS: Final = 6_000
"""Post-dial delay up to which a trunk is as good as any."""

FLOOR: Final = 0.1
"""Least factor: a trunk that does badly still gets calls, so that it is seen to recover."""


class TryOutcome(NamedTuple):
    """How a try ended."""

    answered: bool
    failed: bool = False
    one_way: bool = False


@dataclass(slots=True)
class TrunkHealth:
    """The last tries of a trunk. `pdd_ms` is a mean that forgets: an eighth of it is new each time,
    as RFC 6298 does for round trips."""

    outcomes: deque[TryOutcome] = field(default_factory=lambda: deque(maxlen=WINDOW))
    pdd_ms: float | None = None

    def responded(self, after_ms: int) -> None:
        """The carrier's first word of a call came after this time."""
        before = after_ms if self.pdd_ms is None else self.pdd_ms
        self.pdd_ms = before + (after_ms - before) / 8

    def ended(self, outcome: TryOutcome) -> None:
        """A try is over."""
        self.outcomes.append(outcome)

    @property
    def failures(self) -> int:
        """Carrier faults among the last tries."""
        return sum(outcome.failed for outcome in self.outcomes)

    @property
    def answer_ratio(self) -> float | None:
        """Share of the last tries that was answered; None while there are too few."""
        return self._share([outcome.answered for outcome in self.outcomes])

    def _share(self, seen: list[bool]) -> float | None:
        return None if len(seen) < ENOUGH else sum(seen) / len(seen)

    def factor(self, best_ratio: float | None) -> float:
        """What its weight is multiplied by, from `FLOOR` to 1; `best_ratio` is the best
        answer-seizure ratio among the trunks that could take the call: people, not carriers, decide
        how many answer at all."""
        out = 1.0
        ratio = self.answer_ratio
        if ratio is not None and best_ratio:
            out *= min(1.0, ratio / best_ratio)
        if self.pdd_ms is not None and self.pdd_ms > SLOW_MS:
            out *= SLOW_MS / self.pdd_ms
        one_way = self._share([outcome.one_way for outcome in self.outcomes if outcome.answered])
        if one_way is not None:
            out *= 1 - one_way
        return max(FLOOR, out)
