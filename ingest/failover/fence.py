"""Whether this edge may still act on its calls. Pure.

Another edge takes its calls over after a time without its heartbeats. So it acts only while the
last heartbeat that it has read back was sent less than three quarters of that time ago. An
acknowledgement proves nothing: a stalled edge may get one after its calls were taken.
"""


class Fence:
    """The heartbeats of one process: when each was sent, and which came back."""

    def __init__(self, worker: str, takeover_ms: int) -> None:
        self._worker = worker
        self._holds_us = takeover_ms * 1_000 * 3 // 4
        self._sent_us: dict[int, int] = {}
        self._proven_us: int | None = None

    def sent(self, n: int, at_us: int) -> None:
        """The `n`-th heartbeat is about to be sent, by the loop's clock."""
        self._sent_us[n] = at_us

    def came_back(self, worker: str, n: int) -> None:
        """A heartbeat was read from the log."""
        if worker != self._worker or n not in self._sent_us:
            return
        self._proven_us = self._sent_us[n]
        self._sent_us = {m: at_us for m, at_us in self._sent_us.items() if m > n}

    def holds(self, now_us: int) -> bool:
        """Whether no other edge can have claimed our calls by now."""
        return self._proven_us is not None and now_us - self._proven_us < self._holds_us
