"""The campaigns that a pool knows: their newest versions, and how many calls each has."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import heappop, heappush

from ringlog.campaigns.aggregate import superseded
from ringlog.law.site import NO_LAW, SiteLaw
from ringlog.terms import Terms
from schemas.events import Campaign, TaskRequested
from schemas.ids import contact_task_id, event_id
from streams.dispatch.policy import Policy
from streams.dispatch.site_terms import SiteTerms
from streams.dispatch.state import Touched

TermsOf = Callable[[Campaign, SiteTerms], Terms]
"""Makes terms of a campaign's record and of the site's; raises ValueError for settings that it
cannot read."""


def state_only(event: Campaign, site: SiteTerms) -> Terms:
    """The site's terms under the campaign's state."""
    return replace(site, version=event.event_id, running=event.state == "running")


class PoolCampaigns:
    """By campaign id; `order` has their records and these records' offsets in the order of their
    arrival. `paced` tells when the next call of one may begin, `law` is that of calls without one.
    """

    def __init__(self, touched: Touched, terms_of: TermsOf = state_only) -> None:
        self.order: dict[int, tuple[Campaign, int]] = {}
        self.paced: dict[str, int] = {}
        self.law = NO_LAW
        self._touched = touched
        self._n_of: dict[str, int] = {}
        self._terms_of = terms_of
        self._terms: dict[str | None, Terms] = {}
        self._calls: dict[str, int] = {}
        self._waiting: list[tuple[int, str]] = []

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

    def may_begin(self, campaign_id: str | None, terms: Terms, now_ms: int) -> bool:
        """Whether the campaign has room for another call now."""
        if not terms.running:
            return False
        if campaign_id is None:
            return True
        limit = terms.concurrency
        if limit is not None and self._calls.get(campaign_id, 0) >= limit:
            return False
        return self.paced.get(campaign_id, 0) <= now_ms

    def began(self, campaign_id: str | None, terms: Terms | None, now_ms: int) -> None:
        """Counts a call that begins; `terms` is None for one that a snapshot had."""
        if campaign_id is None:
            return
        self._calls[campaign_id] = self._calls.get(campaign_id, 0) + 1
        if terms is not None and terms.calls_per_s:
            self.paced[campaign_id] = now_ms + int(1000 / terms.calls_per_s)

    def wait(self, campaign_id: str | None, at_ms: int) -> bool:
        """Notes that a campaign waits for its pace until then; False if that is known."""
        if (at_ms, campaign_id or "") in self._waiting:
            return False
        heappush(self._waiting, (at_ms, campaign_id or ""))
        return True

    def due(self, now_ms: int) -> Iterator[str]:
        """Campaigns that waited for their pace long enough."""
        while self._waiting and self._waiting[0][0] <= now_ms:
            yield heappop(self._waiting)[1]

    def ended(self, campaign_id: str | None) -> None:
        """Counts a call that no longer holds a slot."""
        if campaign_id is not None:
            self._calls[campaign_id] = max(0, self._calls.get(campaign_id, 0) - 1)
