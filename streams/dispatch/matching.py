"""Which waiting task is next, and which robot and edge it goes to."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from schemas.catalogue import CALL_PARTITIONS
from streams.dispatch.fairness import Fairness
from streams.dispatch.inputs import Liveness
from streams.dispatch.lines import RANKS, TURN, Lines
from streams.dispatch.roster import Robot, mastery
from streams.dispatch.state import Up
from streams.dispatch.task import HOLDING, Requirement, Task

ALL_PARTITIONS = frozenset(range(CALL_PARTITIONS))

Pair = tuple[Task, Robot]


class Matching:
    """Lines, robots and edges of a pool. `mean_call_ms` is a moving mean of how long calls hold
    their robot."""

    def __init__(self, by_seq: dict[int, Task]) -> None:
        self.lines = Lines(by_seq)
        self.roster = self.lines.roster
        self.fairness = Fairness()
        self.up = Up()
        self.staffed = False
        """Whether somebody speaks for the robots of every partition."""
        self.mean_call_ms = 60_000
        self._edge_load: dict[str, int] = {}
        self._held: dict[Requirement, int] = {}

    def note(self, record: Liveness) -> None:
        """An edge or a worker came or went."""
        self.up.note(record)
        self.staffed = self.up.covers(ALL_PARTITIONS)

    @property
    def edge(self) -> str | None:
        """The edge that takes the next call; None where none has room."""
        return self.up.least_loaded(self._edge_load)

    def choose(self, weights: Sequence[int], stands: Callable[[Task], bool]) -> Pair | None:
        """The next task to be served, and the robot that fits it best.

        `stands` takes a task out of its line for which it says False. First come the tasks that
        had their turn, then it is the turn of a priority.
        """
        if not self.roster.some_idle():
            return None  # the lines stay as they are, and need not be offered again
        pair = self._first(TURN, stands)
        if pair is not None:
            return pair
        found = {rank: pair for rank in RANKS if (pair := self._first(rank, stands)) is not None}
        return found[self.fairness.pick(tuple(found), weights)] if found else None

    def _first(self, rank: int, stands: Callable[[Task], bool]) -> Pair | None:
        while (pair := self.lines.first(rank)) is not None:
            if stands(pair[0]):
                return pair
        return None

    def better_soon(self, task: Task, robot: Robot) -> bool:
        """Whether a better robot than the best idle one will be free before the task's wait is
        over, behind those that wait for it already.

        If calls last 60 s on average and 3 slots are of the best robots, one of them becomes free
        every 20 s.
        """
        need = task.requirement
        if task.turn or not need.best or not task.wait_ms:
            return False
        top, slots = self.roster.masters(self.roster.candidates(need))
        if mastery(robot, need) >= top:
            return False
        waiting = self._held.get(replace(need, least=top), 0)
        return (waiting + 1) * self.mean_call_ms <= task.wait_ms * slots

    def hold(self, task: Task) -> None:
        """The task's turn has come, and it waits for one of the best robots."""
        need = task.requirement
        top, _ = self.roster.masters(self.roster.candidates(need))
        task.turn, task.requirement = True, replace(need, least=top)
        self.restore_held(task)
        self.lines.add(task)

    def restore_held(self, task: Task) -> None:
        """Counts a task that waits for one of the best robots."""
        if task.requirement.least:
            self._held[task.requirement] = self._held.get(task.requirement, 0) + 1

    def unhold(self, task: Task) -> None:
        """The task waits no longer for one of the best robots."""
        if task.requirement.least:
            left = self._held.get(task.requirement, 1) - 1
            self._held[task.requirement] = left
            if not left:
                del self._held[task.requirement]
            task.requirement = replace(task.requirement, least=0)

    def began(self, task: Task) -> None:
        """Counts a call at its edge."""
        if task.state in HOLDING and task.edge_id is not None:
            self._edge_load[task.edge_id] = self._edge_load.get(task.edge_id, 0) + 1

    def moved(self, task: Task, edge_id: str) -> None:
        """Another edge has the task's call from now on."""
        if task.state in HOLDING and task.edge_id is not None:
            self._edge_load[task.edge_id] = max(0, self._edge_load.get(task.edge_id, 0) - 1)
        task.edge_id = edge_id
        self.began(task)

    def ended(self, task: Task, now_ms: int) -> None:
        """The task's call holds its robot no longer; to be called while its state still says so."""
        if task.edge_id is not None:
            self._edge_load[task.edge_id] = max(0, self._edge_load.get(task.edge_id, 0) - 1)
        mean = self.mean_call_ms
        self.mean_call_ms = max(1_000, mean + (now_ms - task.assigned_at - mean) // 16)
