"""One task on its way: queued, waiting for its time, assigned, on the phone."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import floor

from schemas.events.tasks import Priority

PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")
"""By rank: index 0 is served most."""


class State(StrEnum):
    """Where a task stands. A task that is over is not kept."""

    WAITING = "waiting"  # for its time: not_before, or a retry
    QUEUED = "queued"
    LINE_BUSY = "line_busy"  # for another call to the same number to end
    ASSIGNED = "assigned"  # permit given, nobody has dialled yet
    CALLING = "calling"
    ENDING = "ending"  # we ended the call; the log tells which `ended` counts


OPEN = frozenset({State.WAITING, State.QUEUED, State.LINE_BUSY})
"""States in which a task has no call."""

HOLDING = frozenset({State.ASSIGNED, State.CALLING})
"""States in which a task holds a robot's slot."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a robot needs for a task: levels by skill (sorted), and a playbook if one is named.

    With `best` the robot should be as good as can be in these skills, and must be as good as
    `least`, by the sum of its levels.
    """

    skills: tuple[tuple[str, int], ...]
    playbook: str | None
    best: tuple[str, ...] = ()
    least: int = 0
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = (self.skills, self.playbook, self.best, self.least)
        object.__setattr__(self, "_hash", hash(key))  # every look-up of a line asks for it

    def __hash__(self) -> int:
        return self._hash


@dataclass(slots=True)
class Task:
    """A task and its current attempt. `seq` is its order of arrival in the pool.

    `timers` maps a name to (due_ms, id of the event that set it).
    """

    seq: int
    task_id: str
    tenant_id: str
    customer_id: str
    campaign_id: str | None
    phone: str
    phone_hash: str | None
    priority: Priority
    rank: int
    requirement: Requirement
    deadline: int | None
    profile: str
    profile_version: int
    state: State
    last_event_id: str
    attempt: int = 1
    dials: int = 0
    call_id: str | None = None
    robot_id: str | None = None
    edge_id: str | None = None
    lease_until: int = 0
    answered: bool = False
    cancel_requested: bool = False
    timers: dict[str, tuple[int, str]] = field(default_factory=dict)
    undialled: int = 0
    """Attempts that the edge put off before a telephone rang."""
    tags: tuple[str, ...] = ()
    asked: tuple[tuple[str, int], ...] = ()
    """Skills of the request alone, sorted."""
    wait_ms: int = 0
    """How long it waits for a better robot at most, once its turn has come."""
    turn: bool = False
    """Its turn has come: it waits for a better robot, or goes to the next that is free."""
    dialled_at: int = 0
    assigned_at: int = 0
    newer: str = ""
    """The customer's profile as it became during the call, JSON; the next attempt goes by it."""
    newer_version: int = 0
    transferred_at: int = 0
    """When its call was handed over to a person; 0: it was not."""

    @property
    def line(self) -> str:
        """The key that no two calls of a pool may share."""
        return self.phone_hash or self.phone


def rank_of(priority: Priority, rise: float) -> int:
    """Index into PRIORITIES of a score: 0, 1 or 2 for low, medium and high, and what level,
    intention and tags add to it. From 2 on it is high, from 1 on medium."""
    score = len(PRIORITIES) - 1 - PRIORITIES.index(priority) + rise
    return min(max(0, len(PRIORITIES) - 1 - floor(score)), len(PRIORITIES) - 1)
