"""How a rebuild follows what was decided about tasks without a call, at the time of then."""

from collections.abc import Iterator
from heapq import heappop, heappush

from schemas.ids import call_id as id_of_call
from streams.dispatch.decided import Decided, Verdict
from streams.dispatch.task import Task

OF_OPEN = ("assigned", "queued", "refused", "failed", "cancelled")
"""Decisions about a task without a call that follow from its own last event."""


class Hindsight:
    """What the fold has not reached yet: by time, and by call for decisions that begin one."""

    def __init__(self, decided: Decided) -> None:
        self.decided = decided
        self._ahead: list[tuple[int, str, str]] = []
        self._of_call: dict[str, tuple[str, str]] = {}
        self._folded: set[str] = set()

    def repeats(self, record: str) -> bool:
        """Whether the fold has followed a request or a timer before. What was decided because of it
        is done: the task may be over, or further on."""
        return record in self._folded

    def followed(self, record: str) -> None:
        """The fold follows a request or a timer."""
        self._folded.add(record)

    def next(self, task: Task) -> Verdict | None:
        """What was decided next about a task without a call."""
        return self.decided.of(task.last_event_id, *OF_OPEN)

    def expect(self, task: Task) -> None:
        """To be called after every event of a task."""
        fact = self.next(task)
        if fact is not None and fact.at_ms is not None:
            heappush(self._ahead, (fact.at_ms, task.last_event_id, task.task_id))
            call_id = id_of_call(task.task_id, task.attempt)
            self._of_call[call_id] = (task.last_event_id, task.task_id)

    def due(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """(id of the task's event that it follows, task_id) of decisions up to a time."""
        while self._ahead and self._ahead[0][0] <= now_ms:
            _, last_event_id, task_id = heappop(self._ahead)
            yield last_event_id, task_id

    def of_call(self, call_id: str) -> tuple[str, str] | None:
        """The same of the decision that began a call."""
        return self._of_call.get(call_id)

    def began(self, call_id: str) -> None:
        """The fold has reached that call."""
        self._of_call.pop(call_id, None)
