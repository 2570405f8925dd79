"""A campaign's version as terms that dispatch goes by."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import ValidationError

from ringlog.campaigns.callee_facts import campaign_facts
from ringlog.campaigns.choices import caller_id_of, variant_of
from ringlog.campaigns.settings import CAUSES, CampaignSettings, TagRule
from ringlog.dispositions import NOT_DIALLED
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed, Facts
from ringlog.law.rules import Purpose, site_rule_book
from ringlog.terms import (
    NO_COUNTS,
    Callee,
    CallSetup,
    Counts,
    Demand,
    People,
    Permission,
    Terms,
)
from schemas.events import Campaign

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

    @property
    def people(self) -> People | None:
        """Those who take its transfers, with the strictest cap on dropped calls that any place has
        for its purpose."""
        settings = self.settings
        return _people(settings.people, settings.pacing == "adaptive", settings.purpose)

    def permission(
        self, callee: Callee, dials: Sequence[int], now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        """By the law and the campaign's own windows and caps."""
        said = may_call(callee.phone, self.facts(callee, dials, counts), now_ms)
        if isinstance(said, Allowed):
            return Permission(now_ms)
        return Permission(said.until, said.rule, said.reason)

    def facts(self, callee: Callee, dials: Sequence[int], counts: Counts = NO_COUNTS) -> Facts:
        """What the law is asked about. Opt-outs are dispatch's own."""
        caller_id = caller_id_of(self.settings, callee.task_id)
        return campaign_facts(self.settings, callee.attributes, dials, caller_id, counts)

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


@lru_cache(maxsize=256)
def _people(count: int | None, adaptive: bool, purpose: Purpose) -> People | None:
    if count is None:
        return None
    rules = site_rule_book().abandoned(purpose)
    return People(
        count,
        adaptive,
        most=min(rule.most for rule in rules),
        within_ms=max(rule.within_ms for rule in rules),
        least=min(rule.least for rule in rules),
    )


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
