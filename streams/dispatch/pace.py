"""How fast calls may begin: those of one campaign, and those of the whole pool. Times are records'.

In any second at most as many begin as the pace says, a fraction of a call left out; below two a
second each begins so long after the one before.
"""

from collections import deque
from heapq import heappop, heappush
from math import ceil

WHOLE = ""
"""Stands for the pool itself, beside the ids of campaigns."""

SECOND_MS = 1_000
LONGEST_MS = 86_400_000
"""A pace of less than one call a day counts as that."""


class Paces:
    """`begun` tells of whom when the last calls began, ms since 1970 UTC: as many as count."""

    def __init__(self) -> None:
        self.begun: dict[str, deque[int]] = {}
        self._waiting: list[tuple[int, str]] = []
        self._armed: tuple[int, int] | None = None
        self._fired = 0

    def opens(self, who: str, per_s: float, now_ms: int) -> int | None:
        """When the next call may begin; None: now."""
        begun, most = self.begun.get(who), max(1, int(per_s))
        if begun is None or len(begun) < most:
            return None
        span_ms = SECOND_MS if most > 1 else ceil(min(SECOND_MS / per_s, LONGEST_MS))
        at = begun[-most] + span_ms
        return at if at > now_ms else None

    def began(self, who: str, per_s: float, now_ms: int) -> None:
        """Counts a call that begins."""
        begun, most = self.begun.get(who), max(1, int(per_s))
        if begun is None or begun.maxlen != most:
            begun = self.begun[who] = deque(begun or (), maxlen=most)
        begun.append(now_ms)

    def rows(self, now_ms: int) -> dict[str, list[int]]:
        """What still counts, for a snapshot."""
        return {
            who: [at for at in begun if at > now_ms - SECOND_MS] or [begun[-1]]
            for who, begun in self.begun.items()
        }

    def restore(self, rows: dict[str, list[int]]) -> None:
        """Takes up what `rows` gave."""
        self.begun = {who: deque(begun, maxlen=len(begun)) for who, begun in rows.items()}

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
