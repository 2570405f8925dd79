"""Published playbooks, robots, and results per wording, folded from their topics."""

from ringlog.yaml_source import InvalidFile
from schemas.envelope import Event
from schemas.events import Playbook, RobotStatus, VariantWindow
from streams.robots.loading import Script, load
from streams.robots.understanding import Understander
from streams.robots.wording import VariantCounts

TOPICS = ("playbooks", "robots.status", "analytics.variant_windows")


class Library:
    """The robots and their playbooks. `refused` says why a published playbook is not used."""

    def __init__(self) -> None:
        self.robots: dict[str, RobotStatus] = {}
        self.counts = VariantCounts()
        self.refused: dict[str, str] = {}
        self._scripts: dict[tuple[str, str], tuple[Script, Understander]] = {}
        self._latest: dict[str, str] = {}

    def evolve(self, event: Event) -> None:
        """Folds one record of `TOPICS`; never fails on a bad playbook."""
        match event:
            case RobotStatus():
                self.robots[event.robot_id or ""] = event
            case VariantWindow():
                self.counts.evolve(event)
            case Playbook():
                self._playbook(event)

    def _playbook(self, event: Playbook) -> None:
        key = event.playbook, event.version
        if event.kind == "withdrawn":
            # Calls that run it go on; new ones get the latest of the others.
            others = [v for n, v in self._scripts if n == event.playbook and v != event.version]
            if others:
                self._latest[event.playbook] = others[-1]
            return
        try:
            script = load(event.body, "@".join(key))
        except InvalidFile as error:
            self.refused["@".join(key)] = str(error)
            return
        self._scripts[key] = script, Understander.of(script.playbook)
        self._latest[event.playbook] = event.version

    @property
    def names(self) -> list[str]:
        """Names of the playbooks that can be used."""
        return sorted(self._latest)

    def script(self, name: str | None, version: str | None) -> tuple[Script, Understander] | None:
        """A playbook in the requested or else the latest version; None if there is none."""
        if name is None:
            return None
        exact = self._scripts.get((name, version or ""))
        return exact or self._scripts.get((name, self._latest.get(name, "")))

    def default_playbook(self, robot_id: str | None) -> str | None:
        """The first playbook of a robot, for a call that names none."""
        robot = self.robots.get(robot_id or "")
        return robot.playbooks[0] if robot is not None and robot.playbooks else None

    def voice(self, robot_id: str | None, script: Script) -> str:
        """The robot's voice, or else the playbook's."""
        robot = self.robots.get(robot_id or "")
        return (robot.voice if robot is not None else "") or script.playbook.voice
