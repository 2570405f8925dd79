"""Counts of calls for rules that are not about one number: dials of a caller id, and a campaign's
answered calls in which nobody spoke to the customer. They are counted over all pools."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from ringlog.law.facts import Answers
from streams.dispatch.state import Touched

SPAN_MS = 31 * 86_400_000
"""As far back as the longest rule looks."""
CALLER, CAMPAIGN = "caller_id", "campaign"
PERIOD_MS = {CALLER: 3_600_000, CAMPAIGN: 86_400_000}
"""What one entry covers."""
STEP_MS = 60_000
"""How finely the dials of a caller id are counted."""


@dataclass(slots=True)
class Tally:
    """The counts of one name in one period. `counts` are dials by minute of the hour, or answered
    and abandoned calls of the day."""

    what: str
    name: str
    begin_ms: int
    counts: dict[int, int] = field(default_factory=dict)

    def add(self, key: int, n: int = 1) -> None:
        """Counts."""
        self.counts[key] = self.counts.get(key, 0) + n


class Times(Sequence[int]):
    """Times of many events, oldest first, kept as (time, how many)."""

    def __init__(self, counted: list[tuple[int, int]]) -> None:
        self._counted = counted
        self._n = sum(n for _, n in counted)

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        back = -index if index < 0 else self._n - index
        for at_ms, n in reversed(self._counted):
            if back <= n:
                if back < 1:
                    break
                return at_ms
            back -= n
        raise IndexError(index)


class Tallies:
    """All of them; `order` by the order in which their periods began here."""

    def __init__(self, touched: Touched) -> None:
        self.order: dict[int, Tally] = {}
        self.next_n = 0
        self._of: dict[tuple[str, str], dict[int, int]] = {}
        self._oldest = 0
        self._touched = touched

    def dialled(self, caller_id: str, now_ms: int) -> None:
        """A caller id dials somebody."""
        n = self._entry(CALLER, caller_id, now_ms)
        self.order[n].add(now_ms % PERIOD_MS[CALLER] // STEP_MS)

    def answered(self, campaign_id: str, abandoned: bool, now_ms: int) -> None:
        """A call of a campaign was answered by somebody, to whom nobody spoke if `abandoned`."""
        entry = self.order[self._entry(CAMPAIGN, campaign_id, now_ms)]
        entry.add(0)
        entry.add(1, abandoned)

    def dials_of(self, caller_id: str, now_ms: int) -> Sequence[int]:
        """When a caller id dialled: the end of each minute, or now for the present one."""
        counted = [
            (min(entry.begin_ms + (minute + 1) * STEP_MS - 1, now_ms), n)
            for entry in self._entries(CALLER, caller_id, now_ms)
            for minute, n in sorted(entry.counts.items())
        ]
        return Times(counted)

    def answers_of(self, campaign_id: str, now_ms: int) -> tuple[Answers, ...]:
        """A campaign's answered calls, by day in UTC."""
        return tuple(
            Answers(entry.begin_ms + PERIOD_MS[CAMPAIGN], *_pair(entry))
            for entry in self._entries(CAMPAIGN, campaign_id, now_ms)
        )

    def callers(self) -> Iterator[str]:
        """All caller ids that were counted."""
        return (name for what, name in self._of if what == CALLER)

    def row(self, n: int, now_ms: int) -> Tally | None:
        """The entry of that number, unless it has expired."""
        found = self.order.get(n)
        return found if found is not None and not self._is_old(found, now_ms) else None

    def _is_old(self, entry: Tally, now_ms: int) -> bool:
        return entry.begin_ms + PERIOD_MS[entry.what] <= now_ms - SPAN_MS

    def restore(self, n: int, entry: Tally) -> None:
        """Loads a snapshot's entry."""
        self.order[n] = entry
        self._of.setdefault((entry.what, entry.name), {})[entry.begin_ms] = n

    def _entries(self, what: str, name: str, now_ms: int) -> Iterator[Tally]:
        for _, n in sorted(self._of.get((what, name), {}).items()):
            if not self._is_old(self.order[n], now_ms):
                yield self.order[n]

    def _entry(self, what: str, name: str, now_ms: int) -> int:
        begin_ms = now_ms - now_ms % PERIOD_MS[what]
        n = self._of.get((what, name), {}).get(begin_ms)
        if n is None:
            n = self.next_n
            self.restore(n, Tally(what, name, begin_ms))
            self.next_n += 1
            self._forget(now_ms)
        self._touched.tally(n)
        return n

    def _forget(self, now_ms: int) -> None:
        """Looks at a few of the oldest entries, so that those that expired go."""
        for n in range(self._oldest, min(self._oldest + 4, self.next_n - 1)):
            found = self.order.get(n)
            if found is not None:
                if not self._is_old(found, now_ms):
                    return
                del self.order[n], self._of[found.what, found.name][found.begin_ms]
                self._touched.tally(n)
            self._oldest = n + 1


class DialsOf(Mapping[str, Sequence[int]]):
    """When each caller id dialled, by a time; counted only where it is asked about."""

    def __init__(self, tallies: Tallies, now_ms: int) -> None:
        self._tallies = tallies
        self._now_ms = now_ms

    def __getitem__(self, caller_id: str) -> Sequence[int]:
        return self._tallies.dials_of(caller_id, self._now_ms)

    def __iter__(self) -> Iterator[str]:
        return self._tallies.callers()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _pair(entry: Tally) -> tuple[int, int]:
    return entry.counts.get(0, 0), entry.counts.get(1, 0)
