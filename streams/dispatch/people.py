"""How many calls may be on their way to a campaign's people: `PeoplePace`. Pure.

A robot leads a call until it hands it over to a person, if the customer comes so far. One call for
each free person never finds all of them busy, and leaves them idle most of the time. So more calls
may be on their way, by what was seen: which share of calls is handed over and how long after it
began, and how long people talk. A customer who is handed over while all people are busy counts as
dropped.

The cap holds whatever chance does: a call begins only if all that are on their way could be dropped
at once, those beside which a person is free apart, and `dropped <= most * max(answered, least)`
were still true. Time can break it, by at most `most` times the answered calls of the day that has
just left the span, and so can people who leave, by as many as they are: until it is true again a
call begins only for a free person.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import erf, exp, floor, pi, sqrt
from typing import Any, Self

from ringlog.terms import People

DAY_MS = 86_400_000
SLOWLY = 1 / 64
"""Weight of one call in the moving means."""

USED = 0.8
"""Share of the cap that is aimed at."""


@dataclass(slots=True)
class PeoplePace:
    """One campaign's calls. `coming` have begun, and are neither handed over nor over; `talking`
    are with a person, or wait for one.

    The means begin where nothing is risked: every call would be handed over, and none answered.
    `days` has the answered and the dropped calls by UTC day; a day counts until all of it is older
    than the span.
    """

    coming: int = 0
    talking: int = 0
    handed_over: float = 1.0
    answers: float = 0.0
    comes_ms: float = 60_000.0
    talks_ms: float = 180_000.0
    days: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """What was learnt, as `row` has it; calls are counted anew."""
        handed_over, answers, comes_ms, talks_ms, days = row
        by_day = {day: (answered, dropped) for day, answered, dropped in days}
        return cls(0, 0, handed_over, answers, comes_ms, talks_ms, by_day)

    def row(self) -> list[Any]:
        """What was learnt, for a snapshot."""
        means = [self.handed_over, self.answers, self.comes_ms, self.talks_ms]
        return [*means, [[day, *counts] for day, counts in self.days.items()]]

    @property
    def has_learnt(self) -> bool:
        """Whether it has been taught anything."""
        return self.row() != PeoplePace().row()

    # Evolve --------------------------------------------------------------------------------------

    def began(self) -> None:
        """A call begins."""
        self.coming += 1

    def transferred(self, people: People | None, took_ms: int, now_ms: int) -> None:
        """A call is handed over, so long after it began. Without `people` nothing is learnt."""
        if people is not None:
            self._count(people, now_ms, dropped=self.talking >= people.count)
            self.comes_ms += (took_ms - self.comes_ms) * SLOWLY
            self.handed_over += (1 - self.handed_over) * SLOWLY
        self.coming -= 1
        self.talking += 1

    def over(
        self, people: People | None, answered: bool, talked_ms: int | None, now_ms: int
    ) -> None:
        """A call is over, which a person `answered` or not; `talked_ms` is for how long it was
        handed over, None if never. Without `people` nothing is learnt."""
        handed_over = talked_ms is not None
        self.talking -= handed_over
        self.coming -= not handed_over
        if people is None:
            return
        self._count(people, now_ms, answered=answered)
        self.answers += (answered - self.answers) * SLOWLY
        if talked_ms is None:
            self.handed_over -= self.handed_over * SLOWLY
        else:
            self.talks_ms += (talked_ms - self.talks_ms) * SLOWLY

    def _count(
        self, people: People, now_ms: int, answered: bool = False, dropped: bool = False
    ) -> None:
        if answered or dropped:
            day = now_ms // DAY_MS
            if day not in self.days:
                self.days = self._recent(people, now_ms)
            a, d = self.days.get(day, (0, 0))
            self.days[day] = a + answered, d + dropped

    # Decide --------------------------------------------------------------------------------------

    def may_begin(self, people: People, now_ms: int) -> bool:
        """Whether another call may begin now."""
        coming = self.coming + 1
        free = max(0, people.count - self.talking)
        if coming <= free:
            return True
        if not people.adaptive:
            return False
        answered, dropped = self.counted(people, now_ms)
        if dropped + coming - free > floor(people.most * max(answered, people.least)):
            return False
        return (
            self._drops(people.count - free, coming, free)
            <= USED * people.most * self.answers * coming
        )

    def counted(self, people: People, now_ms: int) -> tuple[int, int]:
        """Answered and dropped calls of the span."""
        counts = self._recent(people, now_ms).values()
        return sum(answered for answered, _ in counts), sum(dropped for _, dropped in counts)

    def _recent(self, people: People, now_ms: int) -> dict[int, tuple[int, int]]:
        since = now_ms - people.within_ms
        return {day: counts for day, counts in self.days.items() if (day + 1) * DAY_MS > since}

    def _drops(self, busy: int, coming: int, free: int) -> float:
        """Expected drops among calls that come while people become free: both numbers binomial,
        their difference taken as normal."""
        p, leaves = self.handed_over, 1 - exp(-self.comes_ms / max(1.0, self.talks_ms))
        mean = coming * p - free - busy * leaves
        spread = sqrt(coming * p * (1 - p) + busy * leaves * (1 - leaves))
        if spread == 0:
            return max(0.0, mean)
        z = mean / spread
        return spread * exp(-z * z / 2) / sqrt(2 * pi) + mean * (1 + erf(z / sqrt(2))) / 2
