"""What a customer's record tells the law, for calls of a campaign and for those of none."""

from collections.abc import Mapping, Sequence
from typing import get_args

from ringlog.campaigns.settings import CampaignSettings
from ringlog.law.facts import Facts
from ringlog.law.rules import Consent
from ringlog.law.site import SiteLaw
from ringlog.terms import NO_COUNTS, Counts
from schemas.times import LAST_MS


def campaign_facts(
    settings: CampaignSettings,
    attributes: Mapping[str, str],
    dials: Sequence[int],
    caller_id: str | None,
    counts: Counts = NO_COUNTS,
) -> Facts:
    """What the law is asked about a call of a campaign that shows `caller_id`. Opt-outs are asked
    about elsewhere."""
    return Facts(
        purpose=settings.purpose,
        consent=consent_of(attributes, settings.consent),
        consent_until=_time(attributes, "consent_until"),
        dials=dials,
        caller_id=caller_id,
        caller_dials=counts.caller_dials.get(caller_id or "", ()),
        talked_at=_time(attributes, "talked_at"),
        refused_at=_time(attributes, "refused_at"),
        recording_notice=settings.recording_notice,
        answers=counts.answers,
        region=attributes.get("region", ""),
        zone=attributes.get("zone", ""),
        campaign_rules=settings.rules,
    )


def site_facts(law: SiteLaw, attributes: Mapping[str, str], dials: Sequence[int]) -> Facts:
    """What the law is asked about a call of no campaign."""
    return Facts(
        purpose=law.purpose,
        consent=consent_of(attributes, "none"),
        consent_until=_time(attributes, "consent_until"),
        dials=dials,
        talked_at=_time(attributes, "talked_at"),
        refused_at=_time(attributes, "refused_at"),
        region=attributes.get("region", ""),
        zone=attributes.get("zone", ""),
        declared=law.declared,
    )


def consent_of(attributes: Mapping[str, str], otherwise: Consent) -> Consent:
    """The consent that a customer's record names. A word that is none of ours is no consent."""
    said = attributes.get("consent", "").strip().lower()
    if not said:
        return otherwise
    found: Consent
    for found in get_args(Consent):
        if said == found:
            return found
    return "none"


def _time(attributes: Mapping[str, str], name: str) -> int | None:
    """Milliseconds since 1970 in an attribute; one that cannot be read counts as now and ever: a
    consent has run out, a conversation has only just been."""
    text = attributes.get(name, "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 14:
        return int(text)
    return 0 if name == "consent_until" else LAST_MS
