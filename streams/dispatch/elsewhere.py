"""What a pool knows of the others' calls: whom they are calling now, keyed by number."""

from dataclasses import dataclass

from streams.dispatch.state import Index, Recent, Touched

LONGEST_MS = 2 * 3_600_000
"""No call runs longer: one whose end never came holds its number no longer then."""

AT_ONCE = 4
"""Calls that one step looks at, at most, for such ones."""


@dataclass(frozen=True, slots=True)
class OthersCall:
    """A running call of another pool: when it was dialled, and which line it holds."""

    call_id: str
    line: str
    dialled_at: int


class Elsewhere:
    """The other pools' running calls, and `over`, the ids of the last that ended. A number that one
    of them calls is not called here."""

    def __init__(self, touched: Touched) -> None:
        self.order: dict[int, OthersCall] = {}
        self.next_n = 0
        self.oldest = 0
        """No running call has a lower number."""
        self.over = Recent(touched.elsewhere_over)
        self._n_of: dict[str, int] = {}
        self._on_line = Index()
        self._touched = touched

    def busy(self, line: str, now_ms: int) -> bool:
        """Whether another pool calls that line."""
        calls = (self.order[self._n_of[call_id]] for call_id in self._on_line.of(line))
        return any(call.dialled_at > now_ms - LONGEST_MS for call in calls)

    def began(self, call: OthersCall) -> bool:
        """A call of another pool dials; of two reports the first counts, also where the second
        comes after the call's end. Whether this is it."""
        if call.call_id in self._n_of or call.call_id in self.over:
            return False
        self._touched.elsewhere(self.next_n)
        self.restore(self.next_n, call)
        self.next_n += 1
        return True

    def restore(self, n: int, call: OthersCall) -> None:
        """Loads a snapshot's entry."""
        self.order[n] = call
        self._n_of[call.call_id] = n
        self._on_line.add(call.line, call.call_id)

    def given_up(self, now_ms: int) -> list[OthersCall]:
        """Calls whose end never came, a few at a time; they count as over from now on."""
        out = []
        for n in range(self.oldest, min(self.oldest + AT_ONCE, self.next_n)):
            call = self.order.get(n)
            if call is not None:
                if call.dialled_at > now_ms - LONGEST_MS:
                    break
                self.ended(call.call_id)
                out.append(call)
            self.oldest = n + 1
        return out

    def ended(self, call_id: str) -> OthersCall | None:
        """The call is over; None for one that is not known."""
        n = self._n_of.pop(call_id, None)
        if n is None:
            return None
        call = self.order.pop(n)
        self._on_line.discard(call.line, call_id)
        self._touched.elsewhere(n)
        self.over.add(call_id)
        return call
