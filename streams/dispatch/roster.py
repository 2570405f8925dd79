"""A pool's robots, and for every requirement the best idle one without a search.

Each requirement keeps a heap of robots by (fit, last use, id). A robot has at most one live entry
in it; an outdated entry is corrected when it reaches the top.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from streams.dispatch.task import Requirement


@dataclass(slots=True)
class Robot:
    """A robot as configured, and its load. `offset` is of its configuration on `robots.status`,
    `n` its order of arrival in the pool, `last_used` the number of its last assignment."""

    n: int
    robot_id: str
    offset: int
    state: str
    slots: int
    skills: dict[str, int]
    playbooks: list[str]
    asr_profile: str
    last_used: int = 0
    calls: set[str] = field(default_factory=set)

    @property
    def idle(self) -> bool:
        """Whether it can take a call now."""
        return self.state == "active" and len(self.calls) < self.slots


Fit = tuple[int, int]
"""How well a robot suits a requirement; the smallest is the best."""


def mastery(robot: Robot, need: Requirement) -> int:
    """The sum of its levels in the skills in which it should be as good as can be."""
    return sum(robot.skills.get(skill, 0) for skill in need.best)


def waste(robot: Robot, need: Requirement) -> int:
    """What of its skills a task would not use: the sum of the squares of its levels beyond those
    required. Squares, since one high level is scarcer than several low ones."""
    required = dict(need.skills)
    return sum((level - required.get(skill, 0)) ** 2 for skill, level in robot.skills.items())


def fit(robot: Robot, need: Requirement) -> Fit | None:
    """By mastery, then by the least waste; None when the robot does not qualify."""
    if robot.state == "removed":
        return None
    if need.playbook is not None and need.playbook not in robot.playbooks:
        return None
    for skill, level in need.skills:
        has = robot.skills.get(skill)
        if has is None or has < level:
            return None
    skilled = mastery(robot, need)
    return None if skilled < need.least else (-skilled, waste(robot, need))


@dataclass(slots=True, eq=False)
class Candidates:
    """The robots that qualify for one requirement. `parked`: none was idle at the last look.
    `masters`: the highest mastery among those that work, and how many slots have it; None: not
    known."""

    need: Requirement
    fits: dict[str, Fit] = field(default_factory=dict)
    heap: list[tuple[Fit, int, str]] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    parked: bool = False
    masters: tuple[int, int] | None = None

    def push(self, robot: Robot) -> None:
        """Lists an idle robot that qualifies."""
        if robot.robot_id not in self.listed:
            self.listed.add(robot.robot_id)
            heappush(self.heap, (self.fits[robot.robot_id], robot.last_used, robot.robot_id))


class Roster:
    """All robots of a pool. `wake` is called with the requirements that a newly idle robot may
    serve."""

    MANY = 512

    def __init__(self, wake: Callable[[Candidates], None]) -> None:
        self.robots: dict[str, Robot] = {}
        self._wake = wake
        self._candidates: dict[Requirement, Candidates] = {}
        self._matches: dict[str, list[Candidates]] = {}
        self._best_level: dict[str, int] | None = None
        self._playbooks: set[str] = set()
        self._limit = self.MANY
        self._idle: list[Robot] = []
        """Robots that were idle when they were last looked at, each once."""
        self._idle_ids: set[str] = set()

    def put(self, robot: Robot) -> None:
        """Adds a robot, or takes over its changed configuration."""
        self.robots[robot.robot_id] = robot
        self._best_level = None
        self._matches[robot.robot_id] = []
        for found in self._candidates.values():
            self._match(found, robot)
        self.changed(robot)

    def changed(self, robot: Robot) -> None:
        """To be called when a robot may have become idle."""
        if robot.idle:
            if robot.robot_id not in self._idle_ids:
                self._idle_ids.add(robot.robot_id)
                self._idle.append(robot)
            for found in self._matches[robot.robot_id]:
                found.push(robot)
                if found.parked:
                    found.parked = False
                    self._wake(found)

    def some_idle(self) -> bool:
        """Whether any robot can take a call now."""
        while self._idle:
            if self._idle[-1].idle:
                return True
            self._idle_ids.discard(self._idle.pop().robot_id)
        return False

    def best(self, found: Candidates) -> Robot | None:
        """The idle robot that fits best, of equals the least recently used, then by id; parks the
        requirement when there is none."""
        heap = found.heap
        while heap:
            top = heap[0]
            robot = self.robots.get(top[2])
            fitting = found.fits.get(top[2])
            if robot is None or fitting is None or not robot.idle:
                heappop(heap)
                found.listed.discard(top[2])
                continue
            key = (fitting, robot.last_used, top[2])
            if key == top:
                return robot
            heapreplace(heap, key)
        found.parked = True
        return None

    def unservable(self, need: Requirement) -> str | None:
        """Why no robot of the pool, idle or not, qualifies; None when one does."""
        if self._best_level is None:
            self._summarise()
        best = self._best_level or {}
        if not any(robot.state != "removed" for robot in self.robots.values()):
            return "unknown pool: it has no robot"
        for skill, level in need.skills:
            if best.get(skill, -1) < level:
                return f"no robot has skill {skill} at level {level} or more"
        if need.playbook is not None and need.playbook not in self._playbooks:
            return f"no robot has playbook {need.playbook}"
        if not self.candidates(need).fits:
            return "no robot has all the skills and the playbook together"
        return None

    def candidates(self, need: Requirement) -> Candidates:
        """The requirement's candidates, made on first sight by one look at every robot."""
        found = self._candidates.get(need)
        if found is None:
            found = self._candidates[need] = Candidates(need)
            for robot in self.robots.values():
                self._match(found, robot)
                if robot.idle and robot.robot_id in found.fits:
                    found.push(robot)
        return found

    def masters(self, found: Candidates) -> tuple[int, int]:
        """The highest mastery among the robots that work, idle or not, and their slots."""
        if found.masters is None:
            top = slots = 0
            for robot_id, (skilled, _) in found.fits.items():
                robot = self.robots[robot_id]
                if robot.state != "active" or not robot.slots:
                    continue
                if -skilled > top:
                    top, slots = -skilled, 0
                slots += robot.slots if -skilled == top else 0
            found.masters = (top, slots)
        return found.masters

    def crowded(self) -> bool:
        """Whether there are enough requirements to forget unused ones."""
        return len(self._candidates) > self._limit

    def forget(self, used: Callable[[Candidates], bool]) -> None:
        """Forgets the requirements that nothing uses."""
        self._candidates = {need: c for need, c in self._candidates.items() if used(c)}
        self._limit = max(self.MANY, 2 * len(self._candidates))
        for robot_id, matches in self._matches.items():
            self._matches[robot_id] = [c for c in matches if c.need in self._candidates]

    def __iter__(self) -> Iterator[Robot]:
        return iter(self.robots.values())

    def _match(self, found: Candidates, robot: Robot) -> None:
        fitting = fit(robot, found.need)
        found.masters = None
        before = found.fits.pop(robot.robot_id, None)
        if fitting != before:
            # Its entry may lie too deep now: list it again; the old one is corrected.
            found.listed.discard(robot.robot_id)
        if fitting is None:
            return
        found.fits[robot.robot_id] = fitting
        self._matches[robot.robot_id].append(found)

    def _summarise(self) -> None:
        self._best_level, self._playbooks = {}, set()
        for robot in self.robots.values():
            if robot.state == "removed":
                continue
            self._playbooks.update(robot.playbooks)
            for skill, level in robot.skills.items():
                if level > self._best_level.get(skill, -1):
                    self._best_level[skill] = level
