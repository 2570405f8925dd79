"""The waiting lines: one per campaign, requirement and priority, each in order of arrival.

Per priority a heap holds the heads of the lines that a robot might serve. Lines whose robots are
all busy are left out until one becomes idle, and those of a campaign that may not begin a call
until it may, so that a decision never looks at them. Tasks whose turn has come already, and which
wait for a better robot, stand in lines of their own, before all priorities.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from streams.dispatch.roster import Candidates, Robot, Roster
from streams.dispatch.task import PRIORITIES, Requirement, State, Task

RANKS = range(len(PRIORITIES))
TURN = len(PRIORITIES)
"""The rank of the tasks whose turn has come."""

Group = str | None
"""The campaign of a line's tasks."""


@dataclass(slots=True, eq=False)
class Line:
    """One line. `offered` is the head under which the line stands in the heap of heads."""

    number: int
    rank: int
    group: Group
    candidates: Candidates
    heap: list[int] = field(default_factory=list)
    offered: int | None = None


class Lines:
    """All lines of a pool; `by_seq` are the pool's tasks by order of arrival."""

    def __init__(self, by_seq: dict[int, Task]) -> None:
        self.roster = Roster(self._wake)
        self._by_seq = by_seq
        self._lines: dict[Requirement, dict[Group, list[Line]]] = {}
        self._of_candidates: dict[Candidates, list[Line]] = {}
        self._by_number: dict[int, Line] = {}
        self._next = 0
        self._heads: list[list[tuple[int, int]]] = [[] for _ in (*RANKS, TURN)]
        self._by_group: dict[Group, dict[int, Line]] = {}
        self._shut: set[Group] = set()

    def add(self, task: Task) -> None:
        """Puts a queued task into its line, at the place of its arrival."""
        line = self._of(task)
        heappush(line.heap, task.seq)
        if line.candidates.parked or line.group in self._shut:
            return
        if line.offered is None or task.seq < line.offered:
            self._offer(line, task.seq)

    def first(self, rank: int) -> tuple[Task, Robot] | None:
        """The first task of a rank that an idle robot can serve, and the robot that fits best."""
        heads = self._heads[rank]
        while heads:
            seq, number = heads[0]
            line = self._by_number.get(number)
            if line is None or line.offered != seq:
                heappop(heads)  # offered again under another head, or forgotten
                continue
            if line.group in self._shut:
                heappop(heads)
                line.offered = None
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

    def shut(self, group: Group) -> None:
        """Leaves out the lines of a campaign until `open`."""
        self._shut.add(group)

    def is_shut(self, group: Group) -> bool:
        """Whether the lines of a campaign are left out."""
        return group in self._shut

    def open(self, group: Group) -> None:
        """Takes in the lines of a campaign again."""
        self._shut.discard(group)
        for line in self._by_group.get(group, {}).values():
            if line.heap and line.offered is None and not line.candidates.parked:
                self._offer(line, line.heap[0])

    @property
    def left_out(self) -> list[Group]:
        """The campaigns whose lines are left out."""
        return list(self._shut)

    def _of(self, task: Task) -> Line:
        need = task.requirement
        of_group = self._lines.get(need)
        if of_group is None:
            if self.roster.crowded():
                self._forget_empty()
            of_group = self._lines[need] = {}
        lines = of_group.get(task.campaign_id)
        if lines is None:
            candidates = self.roster.candidates(need)
            lines = of_group[task.campaign_id] = [
                Line(self._next + rank, rank, task.campaign_id, candidates)
                for rank in (*RANKS, TURN)
            ]
            self._of_candidates.setdefault(candidates, []).extend(lines)
            self._next += len(lines)
            numbered = {line.number: line for line in lines}
            self._by_number |= numbered
            self._by_group.setdefault(task.campaign_id, {}).update(numbered)
        return lines[rank_in_line(task)]

    def _head(self, line: Line) -> Task | None:
        """The first task that still stands here; drops those that left."""
        heap, need = line.heap, line.candidates.need
        while heap:
            task = self._by_seq.get(heap[0])
            if (
                task is not None
                and task.state is State.QUEUED
                and rank_in_line(task) == line.rank
                and (task.requirement is need or task.requirement == need)
            ):
                return task
            heappop(heap)
        return None

    def _offer(self, line: Line, seq: int) -> None:
        line.offered = seq
        heappush(self._heads[line.rank], (seq, line.number))

    def _wake(self, candidates: Candidates) -> None:
        for line in self._of_candidates.get(candidates, ()):
            if line.heap and line.offered is None and line.group not in self._shut:
                self._offer(line, line.heap[0])  # corrected when it reaches the top

    def _forget_empty(self) -> None:
        for need, of_group in list(self._lines.items()):
            for group, lines in list(of_group.items()):
                if all(self._head(line) is None for line in lines):
                    del of_group[group]
                    for line in lines:
                        del self._by_number[line.number], self._by_group[group][line.number]
                        self._of_candidates[line.candidates].remove(line)
            if not of_group:
                del self._lines[need]
        self._of_candidates = {c: lines for c, lines in self._of_candidates.items() if lines}
        self.roster.forget(lambda candidates: candidates.need in self._lines)


def rank_in_line(task: Task) -> int:
    """The rank of the lines in which a task stands."""
    return TURN if task.turn else task.rank
