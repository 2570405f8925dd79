"""Which calls of a partition have ended and are not archived yet. Pure.

A partition's committed offset never passes the first record of a call that is not archived. So
everything that began before it is done, and after a crash the rest is found on the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ringlog.audio.recording import MAX_CALL_MS

SETTLE_MS = 3_000
"""After a call's end, until its last chunks are on the log."""

GRACE_MS = 60_000
"""After a call's end, until a leg that has not ended is taken as it is."""

NEVER_ENDED_MS = MAX_CALL_MS + 600_000
"""Age at which a call without an end is archived: its edge is long gone."""

BYTES_PER_MS = 16
"""Two legs of G.711."""

SMALLEST_BYTES = 256 << 10
"""The size that the shortest call counts as."""


@dataclass(slots=True)
class Open:
    """A call that is not archived yet. Times in ms since 1970.

    `first_ms` and `ended_ms` are Kafka's time of its first record and of its first `ended`;
    `seen_ms` is our clock when that was read, and `margin_ms` how long before its first record its
    sound is looked for.
    """

    call_id: str
    partition: int
    offset: int
    first_ms: int
    started_at: int
    answered: bool = False
    ended_ms: int | None = None
    seen_ms: int = 0
    margin_ms: int = 60_000

    def due(self, now_ms: int) -> bool:
        """Whether it is time to archive it."""
        if self.ended_ms is not None:
            return now_ms - self.seen_ms >= SETTLE_MS
        return now_ms - self.first_ms >= NEVER_ENDED_MS

    def given_up(self, now_ms: int) -> bool:
        """Whether to stop waiting for its legs' ends."""
        return self.ended_ms is None or now_ms - self.seen_ms >= GRACE_MS

    @property
    def last_ms(self) -> int:
        """Kafka's time at which it was over, or must have been."""
        return self.first_ms + NEVER_ENDED_MS if self.ended_ms is None else self.ended_ms

    @property
    def bytes(self) -> int:
        """About how much sound it has; producers' clocks may say that it has none."""
        length_ms = min(max(0, self.last_ms - self.first_ms), MAX_CALL_MS)
        return max(SMALLEST_BYTES, length_ms * BYTES_PER_MS)


class Ledger:
    """The calls of one partition of `calls.events`, whose records come in order."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._open: dict[str, Open] = {}
        self._done: dict[str, int] = {}  # call -> Kafka's time at which it was last heard of

    def know(self, call_id: str, at_ms: int) -> None:
        """A record before the committed offset: its call is archived."""
        self._done[call_id] = at_ms

    def see(
        self, offset: int, at_ms: int, call_id: str, kind: str, started_at: int, now_ms: int
    ) -> None:
        """The next record."""
        if call_id in self._done:
            self._done[call_id] = at_ms
            return
        call = self._open.get(call_id)
        if call is None:
            call = Open(call_id, self.partition, offset, at_ms, started_at)
            self._open[call_id] = call
        if kind == "answered":
            call.answered = True
        if kind == "ended" and call.ended_ms is None:
            call.ended_ms, call.seen_ms = at_ms, now_ms

    def due(self, now_ms: int) -> list[Open]:
        """Calls to archive now."""
        return [call for call in self._open.values() if call.due(now_ms)]

    def done(self, call: Open) -> None:
        """The call is archived; its later records change nothing."""
        del self._open[call.call_id]
        self._done[call.call_id] = call.last_ms

    def safe(self, position: int) -> int:
        """The offset that may be committed once everything before `position` was read."""
        return min((call.offset for call in self._open.values()), default=position)

    def forget(self, before_ms: int) -> None:
        """Drops what is known of calls that were last heard of before that: no sound is left."""
        self._done = {c: at for c, at in self._done.items() if at >= before_ms}


def choose(due: Iterable[Open], limit_bytes: int) -> list[Open]:
    """The oldest calls that are read together, at least one, of about `limit_bytes` of sound."""
    chosen: list[Open] = []
    size = 0
    for call in sorted(due, key=lambda c: (c.first_ms, c.partition, c.offset)):
        size += call.bytes
        if chosen and size > limit_bytes:
            break
        chosen.append(call)
    return chosen
