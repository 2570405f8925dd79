"""Who serves a foreign system's call: the playbook's newest version, and a robot that has it.

Folded from `playbooks` and `robots.status`, both compacted.
"""

from typing import NamedTuple

from schemas.envelope import Event
from schemas.events import Playbook, RobotStatus


class Default(NamedTuple):
    """What a foreign call is given where it names nothing."""

    robot_id: str | None
    pool: str | None
    playbook_version: str | None


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

    def of(self, playbook: str, pool: str | None) -> Default:
        """The first active robot, by id, that has the playbook; of that pool if there is one."""
        able = [
            robot
            for _, robot in sorted(self._robots.items())
            if robot.state == "active" and playbook in robot.playbooks
        ]
        best = next((r for r in able if pool is None or r.pool == pool), able[0] if able else None)
        version = next(reversed(self._versions.get(playbook, {})), None)
        if best is None:
            return Default(None, pool, version)
        return Default(best.robot_id, pool or best.pool, version)
