"""The tries in progress on all edges, counted by trunk, caller id and contact. Pure: a fold."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

_V = TypeVar("_V")

HOUR_MS: Final = 3_600_000
SECOND_MS: Final = 1_000

LONGEST_MS: Final = HOUR_MS + 60_000
"""A try whose end never reached the log is forgotten after this time: no call is longer."""


@dataclass(slots=True)
class Try:
    """One try to reach a contact: number `n` of a call, from 1. `responded_ms` is when the carrier
    first said a word."""

    call_id: str
    n: int
    contact: str
    trunk: str
    caller_id: str | None
    edge_id: str
    began_ms: int
    responded_ms: int | None = None
    answered: bool = False


class Tries:
    """What runs now, and what began within the last second and hour."""

    def __init__(self) -> None:
        self.running: dict[str, Try] = {}
        self.on_trunk: Counter[str] = Counter()
        self.on_trunk_of_edge: Counter[tuple[str, str]] = Counter()
        self.by_caller_id: Counter[str] = Counter()
        self.by_caller_id_of_edge: Counter[tuple[str, str]] = Counter()
        self._begun: dict[str, deque[tuple[int, str]]] = {}  # trunk -> (when, edge), a second
        self._shown: dict[str, deque[tuple[int, str]]] = {}  # caller id -> (when, edge), an hour
        self._contacts: OrderedDict[str, deque[int]] = OrderedDict()  # contact -> when, an hour
        self._last: OrderedDict[str, tuple[int, int]] = OrderedDict()  # call -> (last try, when)
        self._used: dict[str, list[str]] = {}  # call -> trunks tried
        self._replaced: dict[str, Try] = {}  # call -> its try before, whose end is not read yet

    def begin(self, one: Try) -> bool:
        """Counts a try; False when it is counted already, or its call is over."""
        if one.n <= self._last.get(one.call_id, (0, 0))[0]:
            return False
        if (before := self.end(one.call_id)) is not None:
            self._replaced[one.call_id] = before
        self._last[one.call_id] = (one.n, one.began_ms)
        self._last.move_to_end(one.call_id)
        self._used.setdefault(one.call_id, []).append(one.trunk)
        self.running[one.call_id] = one
        self._count(one, 1)
        self._begun.setdefault(one.trunk, deque()).append((one.began_ms, one.edge_id))
        if one.caller_id is not None:
            self._shown.setdefault(one.caller_id, deque()).append((one.began_ms, one.edge_id))
        self._contacts.setdefault(one.contact, deque()).append(one.began_ms)
        self._contacts.move_to_end(one.contact)
        return True

    def end(self, call_id: str) -> Try | None:
        """The running try of a call is over; None when none runs."""
        one = self.running.pop(call_id, None)
        if one is not None:
            self._count(one, -1)
        return one

    def refused(self, call_id: str, n: int | None) -> Try | None:
        """A try has failed; None when that is known. An edge that begins the next one at once reads
        the end of the last only after that."""
        running, before = self.running.get(call_id), self._replaced.get(call_id)
        if running is not None and running.n == n:
            return self.end(call_id)
        if before is not None and before.n == n:
            return self._replaced.pop(call_id)
        return None

    def close(self, call_id: str, at_ms: int) -> Try | None:
        """The call is over: no further try of it counts."""
        one = self.end(call_id)
        self._replaced.pop(call_id, None)
        if call_id in self._used:
            del self._used[call_id]
            self._last[call_id] = (1_000_000, at_ms)
        return one

    def last_try(self, call_id: str) -> int:
        """Number of a call's last try; 0: none."""
        return self._last.get(call_id, (0, 0))[0]

    def trunks_of(self, call_id: str) -> list[str]:
        """Trunks that a running call has tried."""
        return self._used.get(call_id, [])

    def of_contact(self, contact: str, now_ms: int) -> int:
        """Tries of a contact within the last hour."""
        return sum(at > now_ms - HOUR_MS for at in self._contacts.get(contact, ()))

    def begun(self, trunk: str, now_ms: int) -> list[tuple[int, str]]:
        """(when, edge) of the tries that a trunk saw within the last second, oldest first."""
        return _within(self._begun.get(trunk), now_ms - SECOND_MS)

    def shown(self, caller_id: str, now_ms: int) -> list[tuple[int, str]]:
        """(when, edge) of the tries that showed a number within the last hour, oldest first."""
        return _within(self._shown.get(caller_id), now_ms - HOUR_MS)

    def forget(self, now_ms: int) -> None:
        """Drops what is too old to count."""
        for one in [t for t in self.running.values() if t.began_ms < now_ms - LONGEST_MS]:
            self.close(one.call_id, now_ms)
        _drop(self._contacts, lambda times: times[-1] < now_ms - HOUR_MS)
        for call_id in _drop(self._last, lambda last: last[1] < now_ms - LONGEST_MS):
            self._used.pop(call_id, None)

    def _count(self, one: Try, by: int) -> None:
        self.on_trunk[one.trunk] += by
        self.on_trunk_of_edge[one.trunk, one.edge_id] += by
        if one.caller_id is not None:
            self.by_caller_id[one.caller_id] += by
            self.by_caller_id_of_edge[one.caller_id, one.edge_id] += by


def _within(times: deque[tuple[int, str]] | None, since_ms: int) -> list[tuple[int, str]]:
    """Those after a time. Older ones are dropped, but not by their place alone: edges' clocks
    differ."""
    if not times:
        return []
    while times and times[0][0] <= since_ms:
        times.popleft()
    return [one for one in times if one[0] > since_ms]


def _drop(by_key: OrderedDict[str, _V], old: Callable[[_V], bool]) -> list[str]:
    """Takes out the oldest entries while they are old; gives their keys."""
    dropped: list[str] = []
    while by_key:
        key = next(iter(by_key))
        if not old(by_key[key]):
            break
        del by_key[key]
        dropped.append(key)
    return dropped
