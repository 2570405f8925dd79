"""The law at the dial instant: what dispatch allowed may be forbidden by now. Fails closed."""

from collections import deque
from collections.abc import Iterable
from typing import Final

import orjson

from ingest.call.types import Identity
from ringlog.campaigns.aggregate import superseded
from ringlog.campaigns.callee_facts import campaign_facts, site_facts
from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import settings_of
from ringlog.dispositions import NOT_DIALLED
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed, Refusal
from ringlog.law.site import SiteLaw
from schemas.events import CallEvent, Campaign
from schemas.events.customers import attributes_within
from schemas.phone import Numbers

KEPT_MS: Final = 2 * 3_600_000
"""How long a dial is remembered here. Older ones stand in the assignment, which counts all."""

SOON_MS: Final = 5_000
"""When to ask again after what is not the law's: a pause, a record that is not here yet."""


SAME_MS: Final = 60_000
"""Dispatch reads of a dial a little later than an edge does. Two times so close may be one dial."""


def together(counted: Iterable[int], recent: Iterable[int]) -> list[int]:
    """All dials that two lists tell of, oldest first: what dispatch has counted, and what the edge
    has read, which has the late ones of the first. A time of one is paired with one of the other at
    most, so none is lost: at worst one counts twice."""
    left, found = deque(sorted(counted)), list[int]()
    for at_ms in sorted(recent):
        while left and left[0] < at_ms - SAME_MS:
            found.append(left.popleft())
        if left and left[0] <= at_ms + SAME_MS:
            left.popleft()
        found.append(at_ms)
    return sorted((*found, *left))


class Dialled:
    """When numbers were dialled lately, by hash and by call, whatever the pool and the edge."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, int]] = {}
        self._order: deque[tuple[int, str, str]] = deque()
        self._hash_of: dict[str, str] = {}

    def began(self, phone_hash: str, call_id: str, at_ms: int) -> None:
        """A call dials a number; of two reports the first counts."""
        if call_id in self._hash_of:
            return
        self._hash_of[call_id] = phone_hash
        self._of.setdefault(phone_hash, {})[call_id] = at_ms
        self._order.append((at_ms, phone_hash, call_id))
        while self._order and self._order[0][0] < at_ms - KEPT_MS:
            self._forget(*self._order.popleft()[1:])

    def put_off(self, call_id: str) -> None:
        """The call was not dialled after all."""
        if (phone_hash := self._hash_of.get(call_id)) is not None:
            self._of.get(phone_hash, {}).pop(call_id, None)

    def _forget(self, phone_hash: str, call_id: str) -> None:
        self._hash_of.pop(call_id, None)
        dials = self._of.get(phone_hash, {})
        dials.pop(call_id, None)
        if not dials:
            self._of.pop(phone_hash, None)

    def times(self, phone_hash: str, but_call: str) -> list[int]:
        """When the number was dialled, by other calls than that one, oldest first."""
        dials = self._of.get(phone_hash, {})
        return sorted(at_ms for call_id, at_ms in dials.items() if call_id != but_call)


class DialLaw:
    """The newest version of every campaign, the latest dials, and the site's own law."""

    def __init__(self, site: SiteLaw, numbers: Numbers) -> None:
        self._site = site
        self._numbers = numbers
        self._campaigns: dict[str, Campaign] = {}
        self._settings: dict[str, CampaignSettings | None] = {}
        self._dialled = Dialled()

    def take_campaign(self, event: Campaign) -> None:
        """A version of a campaign."""
        this = event.campaign_id or ""
        known = self._campaigns.get(this)
        if known is None or not superseded(known, event):
            self._campaigns[this] = event
            self._settings.pop(this, None)

    def take_call(self, call_id: str, event: CallEvent, at_ms: int) -> None:
        """A step of any call of ours; `at_ms` is the broker's time, by which dispatch counts."""
        if event.kind == "dialing" and event.phone:
            self._dialled.began(self._numbers.hash(event.phone), call_id, at_ms)
        elif event.kind == "ended" and event.disposition in NOT_DIALLED:
            self._dialled.put_off(call_id)

    def refusal(self, who: Identity, phone: str, now_ms: int) -> Refusal | None:
        """Why the call may not be dialled at this instant, ms since 1970 UTC; None: it may be.

        Opt-outs are asked about elsewhere, at the same instant.
        """
        recent = self._dialled.times(self._numbers.hash(phone), who.call_id)
        dials = together(who.number_dials, recent)
        attributes = _attributes(who.profile, who.campaign_id)
        if attributes is None:
            return Refusal("profile", "the customer's profile cannot be read", None)
        campaign = self._campaigns.get(who.campaign_id or "")
        if campaign is None and who.terms is None:
            said = self._site.judge(phone, site_facts(self._site, attributes, dials), now_ms)
            return None if isinstance(said, Allowed) else said
        if campaign is None or campaign.version < _version_of(who.terms):
            return Refusal("campaign", "its version is not known to the edge yet", now_ms + SOON_MS)
        if campaign.state != "running":
            return Refusal("campaign", f"the campaign is {campaign.state}", now_ms + SOON_MS)
        settings = self._settings_of(campaign)
        if settings is None:
            return Refusal("campaign", "its settings cannot be read", now_ms + SOON_MS)
        said = may_call(phone, campaign_facts(settings, attributes, dials, who.caller_id), now_ms)
        return None if isinstance(said, Allowed) else said

    def _settings_of(self, campaign: Campaign) -> CampaignSettings | None:
        this = campaign.campaign_id or ""
        if this not in self._settings:
            try:
                self._settings[this] = settings_of(campaign)
            except ValueError:
                self._settings[this] = None
        return self._settings[this]


def _version_of(terms: str | None) -> int:
    """The number in `terms` of an assignment, such as 3 of spring@3."""
    number = (terms or "").rpartition("@")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def _attributes(profile: str | None, campaign_id: str | None) -> dict[str, str] | None:
    """Of a profile as assignments have it, with the consent that the campaign's own list names, as
    dispatch reads it; None where it cannot be read."""
    if not profile:
        return {}
    try:
        found = orjson.loads(profile)
        attributes, consents = found.get("attributes", {}), found.get("consents", ())
        if not isinstance(attributes, dict):
            return None
        here = attributes_within(attributes, consents, campaign_id)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    return {str(name): str(value) for name, value in here.items()}
