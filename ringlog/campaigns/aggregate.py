"""The life of a campaign: commands in, versions out. Pure.

Each change is one event with the whole of the settings and the number of the version. The number
makes the id: where two people change a campaign at once, the first record counts, and the second
person is told.
"""

from dataclasses import dataclass
from typing import Literal

from ringlog.campaigns.settings import CampaignSettings
from schemas import ids
from schemas.events import Campaign

CampaignState = Literal["draft", "running", "paused", "ended"]
Command = Literal["change", "start", "pause", "resume", "stop", "complete"]

STOPPED = "campaign_stopped"
"""Why the tasks of a campaign that has ended are cancelled."""

_MOVES: dict[Command, tuple[frozenset[str], str, str]] = {
    "start": (frozenset({"draft"}), "running", "started"),
    "pause": (frozenset({"running"}), "paused", "paused"),
    "resume": (frozenset({"paused"}), "running", "resumed"),
    "stop": (frozenset({"draft", "running", "paused"}), "ended", "stopped"),
    "complete": (frozenset({"running", "paused"}), "ended", "completed"),
}
"""From which states a command leads, to which state, and the name of the action."""


class CommandRefused(Exception):
    """A command that does not fit the campaign's state; the text says why."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who gives a command, when (ms since 1970 UTC), and why."""

    actor: str
    at_ms: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CampaignChange:
    """A command: settings and name are those after it; None: as they were."""

    command: Command
    settings: CampaignSettings | None = None
    name: str | None = None


def created(
    tenant_id: str, campaign_id: str, name: str, settings: CampaignSettings, who: Who
) -> Campaign:
    """The first version of a campaign: a draft."""
    return Campaign(
        event_id=version_id(tenant_id, campaign_id, 1),
        occurred_at=who.at_ms,
        producer="api",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        pool=settings.pool,
        name=name,
        state="draft",
        playbook=settings.playbook,
        settings=settings.model_dump_json(),
        version=1,
        action="created",
        actor=who.actor,
        reason=who.reason,
    )


def decide(now: Campaign, change: CampaignChange, who: Who) -> Campaign | None:
    """The next version; None where the command was already given. Raises CommandRefused."""
    if change.command == "change":
        if now.state == "ended":
            raise CommandRefused("the campaign has ended; create another one")
        state, action = now.state, "changed"
    else:
        before, after, action = _MOVES[change.command]
        if now.state == after and change.command != "start":
            return None
        if change.command == "start" and now.state == "running":
            return None
        if now.state not in before:
            raise CommandRefused(f"a campaign that is {now.state} cannot {change.command}")
        state = after  # type: ignore[assignment] # one of the states above
    settings = change.settings
    name = now.name if change.name is None else change.name
    text = now.settings if settings is None else settings.model_dump_json()
    if change.command == "change" and text == now.settings and name == now.name:
        return None
    version = now.version + 1
    return now.model_copy(
        update={
            "event_id": version_id(now.tenant_id, now.campaign_id or "", version),
            "causation_id": now.event_id,
            "occurred_at": who.at_ms,
            "name": name,
            "state": state,
            "settings": text,
            "pool": now.pool if settings is None else settings.pool,
            "playbook": now.playbook if settings is None else settings.playbook,
            "version": version,
            "action": action,
            "actor": who.actor,
            "reason": who.reason,
        }
    )


def version_id(tenant_id: str, campaign_id: str, version: int) -> str:
    """Id of a version's event."""
    return ids.root_id("campaign", tenant_id, campaign_id, version)


def superseded(known: Campaign, event: Campaign) -> bool:
    """Whether a version makes a later record count for nothing: of two records with one version
    the first counts. Records without a version are of before there were any: of them the newest
    counts, until one with a version comes."""
    return event.version <= known.version and known.version > 0


class Campaigns:
    """Every campaign as its newest version has it: the fold of `campaigns`."""

    def __init__(self) -> None:
        self._newest: dict[str, Campaign] = {}

    def evolve(self, event: Campaign) -> bool:
        """Takes the next record; False: it changes nothing."""
        known = self._newest.get(event.campaign_id or "")
        if known is not None and superseded(known, event):
            return False
        self._newest[event.campaign_id or ""] = event
        return True

    def get(self, campaign_id: str) -> Campaign | None:
        """A campaign's newest version."""
        return self._newest.get(campaign_id)

    def all(self) -> list[Campaign]:
        """All campaigns, by id."""
        return [self._newest[key] for key in sorted(self._newest)]
