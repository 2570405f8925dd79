"""The campaigns that a pool knows: their newest versions, and how many calls each has."""

from collections.abc import Callable
from dataclasses import replace

from ringlog.campaigns.aggregate import superseded
from ringlog.law.site import NO_LAW, SiteLaw
from ringlog.terms import Terms
from schemas.events import Campaign, TaskRequested
from schemas.ids import contact_task_id, event_id
from streams.dispatch.people import PeoplePace
from streams.dispatch.policy import Policy
from streams.dispatch.site_terms import SiteTerms
from streams.dispatch.state import Touched
from streams.dispatch.task import Task

TermsOf = Callable[[Campaign, SiteTerms], Terms]
"""Makes terms of a campaign's record and of the site's; raises ValueError for settings that it
cannot read."""


def state_only(event: Campaign, site: SiteTerms) -> Terms:
    """The site's terms under the campaign's state."""
    return replace(site, version=event.event_id, running=event.state == "running")


class PoolCampaigns:
    """By campaign id; `order` has their records and these records' offsets in the order of their
    arrival. `calls` counts those of all, and of none, `people` has those of each; `law` is that of
    calls without a campaign.
    """

    def __init__(self, touched: Touched, terms_of: TermsOf = state_only) -> None:
        self.order: dict[int, tuple[Campaign, int]] = {}
        self.calls = 0
        self.people: dict[str, PeoplePace] = {}
        self.law = NO_LAW
        self._touched = touched
        self._n_of: dict[str, int] = {}
        self._terms_of = terms_of
        self._terms: dict[str | None, Terms] = {}

    def take(self, event: Campaign, offset: int) -> bool:
        """Takes a campaign's record with its offset on the topic; False for an older one, and for
        a second one of the same version, of which the first counts."""
        n = self._n_of.get(event.campaign_id or "", len(self.order))
        if n in self.order:
            known, at = self.order[n]
            if offset <= at or superseded(known, event):
                return False
        self.restore(n, event, offset)
        self._touched.campaign(n)
        return True

    def expect(self, request: TaskRequested) -> None:
        """Where the contact of a list is asked for before the campaign's record is here, such as
        after a time without dispatch, the campaign calls nobody until that comes: its law is not
        known yet. A campaign id that a request from elsewhere names may have no record at all."""
        this, contact = request.campaign_id, request.idempotency_key or ""
        if this is None or self.knows(this):
            return
        if request.task_id != contact_task_id(request.tenant_id, this, contact):
            return
        unknown = Campaign(
            event_id=event_id(request.event_id, "campaign"),
            occurred_at=request.occurred_at,
            producer=request.producer,
            tenant_id=request.tenant_id,
            campaign_id=this,
            name=this,
            state="paused",
        )
        self.take(unknown, -1)

    def restore(self, n: int, event: Campaign, offset: int) -> None:
        """Loads a snapshot's entry."""
        campaign_id = event.campaign_id or ""
        self.order[n] = (event, offset)
        self._n_of[campaign_id] = n
        self._terms.pop(campaign_id, None)

    def settings_changed(self, law: SiteLaw) -> None:
        """To be called when policy or law are others."""
        self.law = law
        self._terms.clear()

    def terms(self, campaign_id: str | None, policy: Policy) -> Terms:
        """The terms of a task; a campaign whose settings cannot be read does not call."""
        found = self._terms.get(campaign_id)
        if found is None:
            found = self._terms[campaign_id] = self._make(campaign_id, policy)
        return found

    def _make(self, campaign_id: str | None, policy: Policy) -> Terms:
        site = SiteTerms(policy, law=self.law)
        n = self._n_of.get(campaign_id or "")
        if n is None:
            return site
        event, _ = self.order[n]
        try:
            return self._terms_of(event, site)
        except ValueError:
            return replace(site, version=event.event_id, running=False)

    def knows(self, campaign_id: str | None) -> bool:
        """Whether there is a record of that campaign."""
        return campaign_id in self._n_of

    def has_ended(self, campaign_id: str | None) -> bool:
        """Whether that campaign calls nobody any more; one that is not known has not ended."""
        n = self._n_of.get(campaign_id or "")
        return n is not None and self.order[n][0].state == "ended"

    def people_of(self, campaign_id: str) -> PeoplePace:
        """The calls of a campaign."""
        found = self.people.get(campaign_id)
        if found is None:
            found = self.people[campaign_id] = PeoplePace()
        return found

    def has_room(self, campaign_id: str | None, terms: Terms, now_ms: int) -> bool:
        """Whether the campaign runs, has fewer calls than it may have, and people for another."""
        if campaign_id is None or not terms.running:
            return terms.running
        pace, limit, people = self.people_of(campaign_id), terms.concurrency, terms.people
        if limit is not None and pace.coming + pace.talking >= limit:
            return False
        return people is None or pace.may_begin(people, now_ms)

    def began(self, task: Task) -> None:
        """Counts a call that begins, or that a snapshot had."""
        self.calls += 1
        if task.campaign_id is not None:
            pace = self.people_of(task.campaign_id)
            pace.coming += not task.transferred_at
            pace.talking += bool(task.transferred_at)

    def transferred(self, task: Task, terms: Terms, now_ms: int) -> None:
        """A task's call is handed over to a person."""
        if not task.transferred_at and task.campaign_id is not None:
            took_ms = now_ms - task.assigned_at
            self.people_of(task.campaign_id).transferred(terms.people, took_ms, now_ms)
        task.transferred_at = task.transferred_at or now_ms

    def ended(self, task: Task, terms: Terms, answered: bool, now_ms: int) -> None:
        """A task's call, which a person `answered` or not, holds its slot no longer."""
        self.calls -= 1
        if task.campaign_id is not None:
            talked_ms = now_ms - task.transferred_at if task.transferred_at else None
            self.people_of(task.campaign_id).over(terms.people, answered, talked_ms, now_ms)
        task.transferred_at = 0
