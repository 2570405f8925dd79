"""Which directives count: the epoch rule, by the order of each partition alone.

A directive counts if its epoch is at least the highest epoch seen before it in its own partition,
and its id is new. Leases decide who speaks, never what is accepted; so the edge, the robot workers,
history and `verify` all come to the same answer from the same records.
"""

from schemas.events import Directive


class DirectiveGate:
    """Folds all partitions of `dialogue.directives`."""

    def __init__(self) -> None:
        self._highest: dict[int, int] = {}
        self._ids: dict[str, set[str]] = {}

    def accept(self, partition: int, directive: Directive) -> bool:
        """True when the directive counts; a takeover only raises the epoch and is never True."""
        epoch = directive.epoch or 0
        if epoch < self._highest.get(partition, 0):
            return False
        self._highest[partition] = epoch
        if directive.kind == "takeover" or directive.call_id is None:
            return False
        ids = self._ids.setdefault(directive.call_id, set())
        if directive.event_id in ids:
            return False
        ids.add(directive.event_id)
        return True

    def forget(self, call_id: str) -> None:
        """The call is over; its ids need not be kept."""
        self._ids.pop(call_id, None)

    def epoch(self, partition: int) -> int:
        """Highest epoch seen in a partition."""
        return self._highest.get(partition, 0)
