"""What dispatch has decided already, as `tasks.events` tells; a rebuild follows it."""

from dataclasses import dataclass

from schemas.events import TaskEvent
from schemas.ids import event_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision about a task. Times are milliseconds since 1970 UTC; `at_ms` is when it was
    made, None where it is made now."""

    kind: str
    reason: str = ""
    retry_at: int | None = None
    at_ms: int | None = None
    robot_id: str | None = None
    edge_id: str | None = None
    expires_at: int | None = None


class Decided:
    """Every fact by its event's id; the first record of an id counts."""

    def __init__(self) -> None:
        self._facts: dict[str, Verdict] = {}

    def add(self, event: TaskEvent) -> None:
        """Takes a record of `tasks.events`."""
        if event.event_id not in self._facts:
            self._facts[event.event_id] = Verdict(
                event.kind,
                event.reason or "",
                event.retry_at,
                event.occurred_at,
                event.robot_id,
                event.edge_id,
                event.permit_expires_at,
            )

    def of(self, cause: str, *kinds: str) -> Verdict | None:
        """What was decided because of an event; None if nothing of those kinds."""
        for kind in kinds:
            found = self._facts.get(event_id(cause, kind))
            if found is not None:
                return found
        return None
