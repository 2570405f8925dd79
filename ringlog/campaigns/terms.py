"""A campaign's version as terms that dispatch goes by."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError

from ringlog.campaigns.choices import caller_id_of, variant_of
from ringlog.campaigns.settings import CAUSES, CampaignSettings, TagRule
from ringlog.dispositions import NOT_DIALLED
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed, Facts
from ringlog.law.rules import Consent
from ringlog.terms import Callee, CallSetup, Demand, Permission, Terms
from schemas.events import Campaign
from schemas.times import LAST_MS

LEVEL_PREFIX = "level:"
"""The tag by which settings name a customer's level."""


@dataclass(frozen=True, slots=True)
class CampaignTerms:
    """`ringlog.terms.Terms` of one campaign. What it does not say, the site's terms say."""

    version: str
    running: bool
    settings: CampaignSettings
    site: Terms

    @property
    def concurrency(self) -> int | None:
        """Calls in one pool at once, at most."""
        return self.settings.concurrency

    @property
    def calls_per_s(self) -> float | None:
        """Permits in one pool a second, at most."""
        return self.settings.calls_per_s

    def permission(self, callee: Callee, dials: Sequence[int], now_ms: int) -> Permission:
        """By the law and the campaign's own windows and caps."""
        said = may_call(callee.phone, self.facts(callee, dials), now_ms)
        if isinstance(said, Allowed):
            return Permission(now_ms)
        return Permission(said.until, said.rule, said.reason)

    def facts(self, callee: Callee, dials: Sequence[int]) -> Facts:
        """What the law is asked about. Opt-outs are dispatch's own."""
        attributes, settings = callee.attributes, self.settings
        return Facts(
            purpose=settings.purpose,
            consent=consent_of(attributes, settings.consent),
            consent_until=_time(attributes, "consent_until"),
            dials=dials,
            caller_id=caller_id_of(settings, callee.task_id),
            talked_at=_time(attributes, "talked_at"),
            refused_at=_time(attributes, "refused_at"),
            recording_notice=settings.recording_notice,
            region=attributes.get("region", ""),
            zone=attributes.get("zone", ""),
            campaign_rules=settings.rules,
        )

    def setup(self, task_id: str) -> CallSetup:
        """The caller id and the variant that fall to the task, and the campaign's recogniser."""
        settings = self.settings
        return CallSetup(
            caller_id_of(settings, task_id), variant_of(settings, task_id), settings.asr_profile
        )

    def demand(self, callee: Callee, skills: Mapping[str, int]) -> Demand:
        """The site's demand, with what the campaign's tags weigh and ask for."""
        found = self.site.demand(callee, skills)
        rules = list(self._tag_rules(callee))
        if not rules:
            return found
        needed = dict(found.skills)
        for rule in rules:
            for skill, level in rule.skills.items():
                needed[skill] = max(level, needed.get(skill, 0))
        best = {skill for rule in rules if rule.best for skill in rule.skills}
        return Demand(
            skills=needed,
            best=tuple(sorted({*found.best, *best})),
            wait_ms=self.settings.specialist_wait_ms if best else found.wait_ms,
            rise=found.rise + sum(rule.weight for rule in rules),
        )

    def _tag_rules(self, callee: Callee) -> list[TagRule]:
        named = dict.fromkeys((*callee.tags, LEVEL_PREFIX + callee.level))
        return [self.settings.tags[tag] for tag in named if tag in self.settings.tags]

    def retry_at(self, disposition: str, dials: int, now_ms: int) -> int | None:
        """By the curve of the cause, within the contact's budget, to which calls for which no
        telephone rang do not count. What is no cause of the campaign's is the site's to judge."""
        if disposition not in NOT_DIALLED and dials >= self.settings.budget:
            return None
        cause = CAUSES.get(disposition)
        if cause is None:
            return self.site.retry_at(disposition, dials, now_ms)
        wait = self.settings.retries.wait(cause, dials)
        return None if wait is None else now_ms + wait


def terms_of(event: Campaign, site: Terms) -> CampaignTerms:
    """The terms of a campaign's version; raises ValueError if its settings cannot be read."""
    return CampaignTerms(
        version=f"{event.campaign_id}@{event.version}",
        running=event.state == "running",
        settings=settings_of(event),
        site=site,
    )


def settings_of(event: Campaign) -> CampaignSettings:
    """The settings in a version; raises ValueError that names the first field at fault."""
    try:
        data = json.loads(event.settings)
        return CampaignSettings.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"settings: {str(error)[:200]}") from None


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
