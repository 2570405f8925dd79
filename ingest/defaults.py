"""What serves an external system's call: the playbook's newest version, and a robot that has it.

Folded from `playbooks` and `robots.status`, both compacted.
"""

from typing import NamedTuple

from schemas.envelope import Event
from schemas.events import Playbook, RobotStatus


class Default(NamedTuple):
    """The defaults of an external call."""

    robot_id: str | None
    pool: str | None
    playbook_version: str | None
    asr_profile: str | None = None


class Defaults:
    """Fold of the two topics."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, None]] = {}  # published ones, oldest first
        self._robots: dict[str, RobotStatus] = {}

    def evolve(self, event: Event) -> None:
        """Takes the next record of either topic."""
        if isinstance(event, RobotStatus) and event.robot_id:
            self._robots[event.robot_id] = event
        elif isinstance(event, Playbook):
            versions = self._versions.setdefault(event.playbook, {})
            versions.pop(event.version, None)
            if event.kind == "published":
                versions[event.version] = None

    @property
    def playbooks(self) -> list[str]:
        """Names that have a published version."""
        return sorted(name for name, versions in self._versions.items() if versions)

    @property
    def robots(self) -> list[str]:
        """Robots that are not removed."""
        return sorted(n for n, robot in self._robots.items() if robot.state != "removed")

    @property
    def pools(self) -> list[str]:
        """Pools that have a robot."""
        robots = (self._robots[name] for name in self.robots)
        return sorted({robot.pool for robot in robots if robot.pool is not None})

    @property
    def choices(self) -> list[tuple[str, str]]:
        """(pool, playbook) of every published playbook that an active robot of the pool has."""
        published = set(self.playbooks)
        return sorted(
            {
                (robot.pool, playbook)
                for robot in self._robots.values()
                if robot.state == "active" and robot.pool is not None
                for playbook in robot.playbooks
                if playbook in published
            }
        )

    def voice(self, robot_id: str | None) -> str:
        """A robot's voice; empty: its playbook's."""
        robot = self._robots.get(robot_id or "")
        return "" if robot is None else robot.voice

    def newest(self, playbook: str | None) -> str | None:
        """The version of a playbook that was published last."""
        return next(reversed(self._versions.get(playbook or "", {})), None)

    def of(self, playbook: str, pool: str | None, robot_id: str | None = None) -> Default:
        """The named robot, else the first active one by id that has the playbook, in that pool if
        one is named."""
        able = [
            robot
            for _, robot in sorted(self._robots.items())
            if robot.state == "active" and playbook in robot.playbooks
        ]
        best = next((r for r in able if pool is None or r.pool == pool), able[0] if able else None)
        if robot_id is not None:
            best = self._robots.get(robot_id, best)
        version = self.newest(playbook)
        if best is None:
            return Default(None, pool, version)
        return Default(best.robot_id, pool or best.pool, version, best.asr_profile or None)
