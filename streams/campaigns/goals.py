"""When a campaign is complete: enough contacts reached its goals, or its last day is over. Pure.

A contact counts by what their last call came to, as the robot's turns tell: one who promised, was
called again and refused, counts no more.
"""

from collections import Counter
from collections.abc import Iterable

from ringlog.campaigns.aggregate import CampaignChange, CommandRefused, Who, decide
from ringlog.campaigns.settings import CampaignSettings
from schemas.events import Campaign, Turn
from schemas.events.dialogue import REPROMPT
from streams.campaigns.checkpoint import Note
from streams.campaigns.release import PRODUCER, ListRelease

KIND = "outcome"
"""Of the notes in a checkpoint."""


class Goals:
    """What the contacts of every campaign came to: a fold of `dialogue.turns`."""

    def __init__(self, release: ListRelease) -> None:
        self._release = release
        self._outcomes: dict[tuple[str, str], str] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._asked: set[str] = set()

    def evolve(self, event: object) -> None:
        """Takes the next record; a repeated one changes nothing."""
        if not isinstance(event, Turn) or event.outcome in (None, REPROMPT):
            return
        who = event.customer_id or event.call_id
        if event.campaign_id and who and self._release.campaigns.get(event.campaign_id) is not None:
            self._note(event.campaign_id, who, event.outcome or "")
            self._changed.add((event.campaign_id, who))

    def _note(self, campaign_id: str, who: str, outcome: str) -> None:
        counts = self._counts.setdefault(campaign_id, Counter())
        before = self._outcomes.get((campaign_id, who))
        if before is not None:
            counts[before] -= 1
        self._outcomes[campaign_id, who] = outcome
        counts[outcome] += 1

    def reached(self, campaign_id: str, settings: CampaignSettings) -> int:
        """How many contacts came to one of the campaign's goals."""
        counts = self._counts.get(campaign_id, Counter())
        return sum(counts[goal] for goal in settings.goals)

    def decide(self, now_ms: int) -> list[Campaign]:
        """The versions that complete campaigns, each once. Another version of the same number may
        be first on the log; then it is judged anew."""
        out = []
        for campaign in self._release.campaigns.all():
            settings = self._release.settings_of(campaign.campaign_id or "")
            if settings is None or campaign.state not in ("running", "paused"):
                continue
            why = self._complete(campaign.campaign_id or "", settings, now_ms)
            if why is None:
                continue
            try:
                event = decide(campaign, CampaignChange("complete"), Who(PRODUCER, now_ms, why))
            except CommandRefused:
                continue
            if event is not None and event.event_id not in self._asked:
                self._asked.add(event.event_id)
                out.append(event)
        return out

    def _complete(self, campaign_id: str, settings: CampaignSettings, now_ms: int) -> str | None:
        if settings.ends_ms is not None and now_ms >= settings.ends_ms:
            return f"it was to end at {settings.ends_at}"
        found = self.reached(campaign_id, settings)
        if settings.goal_count is not None and found >= settings.goal_count:
            return f"{found} contacts reached its goals: {', '.join(settings.goals)}"
        return None

    def changes(self) -> dict[Note, str | None]:
        """What changed since the last call."""
        found: dict[Note, str | None] = {
            (KIND, "|".join(key)): self._outcomes[key] for key in self._changed
        }
        self._changed.clear()
        return found

    def restore(self, notes: Iterable[tuple[Note, str]]) -> None:
        """Takes up the state that `changes` told of, in an empty one."""
        for (kind, name), outcome in notes:
            if kind == KIND:
                campaign_id, _, who = name.partition("|")
                self._note(campaign_id, who, outcome)
