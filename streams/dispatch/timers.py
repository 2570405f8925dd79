"""The times that a pool has set. They count only once their record is read from the inbox."""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

from schemas.ids import timer_id
from streams.dispatch.task import Task

TimerName = Literal["start", "retry", "deadline", "permit", "lease", "specialist"]

WAKE = "wake"
"""Name of the timer that belongs to no task: its record only lets the pool go on."""

OF_CALLS = frozenset({"permit", "lease"})
"""Timers that a record of `calls.events` may cancel. They fire only once everything written there
before they fell due is in the inbox."""


@dataclass(frozen=True, slots=True, order=True)
class Timer:
    """A due timer: its record has `event_id`, caused by `set_by`."""

    due_ms: int
    task_id: str
    name: str
    set_by: str

    @property
    def event_id(self) -> str:
        """Id of the timer's record."""
        return timer_id(self.set_by, self.name, self.due_ms)


class Timers:
    """A pool's timers in the order in which they fall due."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []

    def set(self, task: Task, name: TimerName, due_ms: int, set_by: str) -> None:
        """Sets or resets a task's timer of that name."""
        task.timers[name] = (due_ms, set_by)
        heappush(self._heap, Timer(due_ms, task.task_id, name, set_by))

    def wake(self, pool: str, due_ms: int) -> None:
        """Sets a timer whose record has no effect of its own."""
        heappush(self._heap, Timer(due_ms, pool, WAKE, f"{pool}/{WAKE}"))

    def restore(self, task: Task) -> None:
        """Loads the timers of a task read from a snapshot."""
        for name, (due_ms, set_by) in task.timers.items():
            heappush(self._heap, Timer(due_ms, task.task_id, name, set_by))

    def take_due(self, tasks: dict[str, Task], now_ms: int) -> list[Timer]:
        """Timers that fell due, each once; those that were unset meanwhile are dropped."""
        due = []
        while self._heap and self._heap[0].due_ms <= now_ms:
            timer = heappop(self._heap)
            if timer.name == WAKE:
                due.append(timer)
                continue
            task = tasks.get(timer.task_id)
            if task is not None and task.timers.get(timer.name) == (timer.due_ms, timer.set_by):
                due.append(timer)
        return due


def accept(task: Task, name: str, event_id: str) -> int | None:
    """When a record's timer was due, if it is the one that is set; unsets it."""
    found = task.timers.get(name)
    if found is None or timer_id(found[1], name, found[0]) != event_id:
        return None
    del task.timers[name]
    return found[0]
