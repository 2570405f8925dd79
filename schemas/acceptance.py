"""Which directives count: one rule for edge, robot workers, history and all other readers.

A directive counts if its epoch is at least the highest seen before it in its own partition, and its
id is new. Leases decide who speaks, never what is accepted, so all readers of the same records
reach the same answer.
"""

from typing import Literal

from schemas.events import Directive

NO_EPOCH = -1
"""Epoch of a directive that names none: below every real one."""

Standing = Literal["accepted", "barrier", "stale", "duplicate"]


class Acceptance:
    """Folds the partitions of `dialogue.directives`, each in its own order."""

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self._ids: dict[str, set[str]] = {}

    def evolve(self, partition: int, directive: Directive) -> Standing:
        """Folds one directive of a partition. A stale one does not use up its id."""
        epoch = NO_EPOCH if directive.epoch is None else directive.epoch
        if epoch < self.epochs.get(partition, NO_EPOCH):
            return "stale"
        self.epochs[partition] = epoch
        if directive.kind == "takeover":
            return "barrier"
        ids = self._ids.setdefault(directive.call_id or "", set())
        if directive.directive_id in ids:
            return "duplicate"
        ids.add(directive.directive_id)
        return "accepted"

    def has(self, call_id: str, directive_id: str) -> bool:
        """Whether a directive was accepted."""
        return directive_id in self._ids.get(call_id, ())

    def forget(self, call_id: str) -> None:
        """Drops the ids of a call that is long over."""
        self._ids.pop(call_id, None)
