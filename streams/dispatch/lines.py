"""The waiting lines: one per requirement and priority, each in order of arrival.

Per priority a heap holds the heads of the lines that a robot might serve. Lines whose robots are
all busy are left out until one becomes idle, so that a decision never looks at them.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from streams.dispatch.roster import Candidates, Robot, Roster
from streams.dispatch.task import PRIORITIES, Requirement, State, Task

RANKS = range(len(PRIORITIES))


@dataclass(slots=True, eq=False)
class Line:
    """One line. `offered` is the head under which the line stands in the heap of heads."""

    number: int
    rank: int
    candidates: Candidates
    heap: list[int] = field(default_factory=list)
    offered: int | None = None


class Lines:
    """All lines of a pool; `by_seq` are the pool's tasks by order of arrival."""

    def __init__(self, by_seq: dict[int, Task]) -> None:
        self.roster = Roster(self._wake)
        self._by_seq = by_seq
        self._lines: dict[Requirement, list[Line]] = {}
        self._by_number: dict[int, Line] = {}
        self._next = 0
        self._heads: list[list[tuple[int, int]]] = [[] for _ in RANKS]

    def add(self, task: Task) -> None:
        """Puts a queued task into its line, at the place of its arrival."""
        line = self._of(task.requirement)[task.rank]
        heappush(line.heap, task.seq)
        if not line.candidates.parked and (line.offered is None or task.seq < line.offered):
            self._offer(line, task.seq)

    def first(self, rank: int) -> tuple[Task, Robot] | None:
        """The first task of a priority that an idle robot can serve, and the best such robot."""
        heads = self._heads[rank]
        while heads:
            seq, number = heads[0]
            line = self._by_number.get(number)
            if line is None or line.offered != seq:
                heappop(heads)  # offered again under another head, or forgotten
                continue
            candidates = line.candidates
            robot = None if candidates.parked else self.roster.best(candidates)
            task = None if robot is None else self._head(line)
            if task is None or robot is None:
                heappop(heads)
                line.offered = None
            elif task.seq != seq:
                line.offered = task.seq
                heapreplace(heads, (task.seq, number))
            else:
                return task, robot
        return None

    def _of(self, need: Requirement) -> list[Line]:
        lines = self._lines.get(need)
        if lines is None:
            if self.roster.crowded():
                self._forget_empty()
            candidates = self.roster.candidates(need)
            lines = [Line(self._next + rank, rank, candidates) for rank in RANKS]
            self._next += len(RANKS)
            self._lines[need] = lines
            self._by_number.update((line.number, line) for line in lines)
        return lines

    def _head(self, line: Line) -> Task | None:
        """The first task that still stands here; drops those that left."""
        heap = line.heap
        while heap:
            task = self._by_seq.get(heap[0])
            if task is not None and task.state is State.QUEUED and task.rank == line.rank:
                return task
            heappop(heap)
        return None

    def _offer(self, line: Line, seq: int) -> None:
        line.offered = seq
        heappush(self._heads[line.rank], (seq, line.number))

    def _wake(self, candidates: Candidates) -> None:
        for line in self._lines.get(candidates.need, ()):
            if line.heap and line.offered is None:
                self._offer(line, line.heap[0])  # corrected when it reaches the top

    def _forget_empty(self) -> None:
        for need, lines in list(self._lines.items()):
            if all(self._head(line) is None for line in lines):
                del self._lines[need]
                for line in lines:
                    del self._by_number[line.number]
        self.roster.forget(lambda candidates: candidates.need in self._lines)
