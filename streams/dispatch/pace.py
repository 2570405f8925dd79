"""How fast calls may begin: those of one campaign, and those of the whole pool. Times are records'.

A service looks at its timers every tenth of a second. What was missed by at most SLACK_MS is made
up for at once: in any second at most `per_s` calls begin, a quarter of that, and one.
"""

from heapq import heappop, heappush
from math import ceil

WHOLE = ""
"""Stands for the pool itself, beside the ids of campaigns."""

SLACK_MS = 250
LONGEST_MS = 86_400_000
"""A pace of less than one call a day counts as that."""


class Paces:
    """`next` tells when the next call of whom may begin, ms since 1970 UTC."""

    def __init__(self) -> None:
        self.next: dict[str, float] = {}
        self._waiting: list[tuple[int, str]] = []
        self._armed: tuple[int, int] | None = None
        self._fired = 0

    def opens(self, who: str, now_ms: int) -> int | None:
        """When the next call may begin; None: now."""
        at = self.next.get(who, 0)
        return ceil(at) if at > now_ms else None

    def began(self, who: str, per_s: float, now_ms: int) -> None:
        """Counts a call that begins."""
        apart = min(1_000 / per_s, LONGEST_MS)
        at = self.next.get(who, 0)
        self.next[who] = (at if at > now_ms - SLACK_MS else now_ms) + apart

    def wait(self, who: str, at_ms: int) -> None:
        """Somebody waits until then."""
        if (at_ms, who) not in self._waiting:
            heappush(self._waiting, (at_ms, who))

    def due(self, now_ms: int) -> list[str]:
        """Who has waited long enough; each is named once."""
        out = []
        while self._waiting and self._waiting[0][0] <= now_ms:
            out.append(heappop(self._waiting)[1])
        return out

    def woke(self, due_ms: int) -> None:
        """A wake that was due then has come."""
        if self._armed is not None and due_ms == self._armed[0]:
            self._armed, self._fired = None, due_ms

    def to_wake(self, now_ms: int) -> int | None:
        """When a wake is to be set; None: none, or one is set.

        The service's clock sets off a wake, and `now_ms` is the broker's. Where the broker's is
        behind, the wake comes too early, and the next is set later by what was still missing.
        """
        first = self._waiting[0][0] if self._waiting else 0
        if first <= now_ms or (self._armed is not None and self._armed[1] <= first):
            return None
        due = first if first > self._fired else self._fired + first - now_ms
        self._armed = due, first
        return due
