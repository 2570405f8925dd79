"""What holds for a task whose campaign is not on `campaigns`: the site's policy and law, as
terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringlog.campaigns.callee_facts import site_facts
from ringlog.dispositions import NOT_DIALLED
from ringlog.law.facts import Allowed
from ringlog.law.site import NO_LAW, SiteLaw
from ringlog.terms import NO_COUNTS, Callee, CallSetup, Counts, Demand, People, Permission
from streams.dispatch.policy import Policy

INDUSTRY = "industry:"
"""Begins a tag that names the customer's industry, which is also the name of a skill."""

AT_ANY_TIME = Permission(0)


@dataclass(frozen=True, slots=True)
class SiteTerms:
    """Terms of the site's policy; `running` is False for a campaign that must not call."""

    policy: Policy
    version: str = ""
    running: bool = True
    concurrency: int | None = None
    calls_per_s: float | None = None
    people: People | None = None
    law: SiteLaw = NO_LAW

    def permission(
        self, callee: Callee, dials: Sequence[int], now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        """By the site's law of calls that belong to no campaign."""
        facts = site_facts(self.law, callee.attributes, dials)
        said = self.law.judge(callee.phone, facts, now_ms)
        if isinstance(said, Allowed):
            return AT_ANY_TIME
        return Permission(said.until, said.rule, said.reason)

    def setup(self, task_id: str) -> CallSetup:
        """The trunk's caller id, the robot's recogniser, any wording."""
        return CallSetup()

    def demand(self, callee: Callee, skills: Mapping[str, int]) -> Demand:
        """A customer of high value gets the best robot of their industry, or where no tag names one
        the best in the skills that the request asks for."""
        policy = self.policy
        rise = float(callee.purchase_intent >= policy.boost_intent)
        rise += callee.level in policy.boost_levels
        rise += sum(policy.tag_weights.get(tag, 0.0) for tag in callee.tags)
        high = callee.level in policy.specialist_levels or any(
            tag in policy.specialist_tags for tag in callee.tags
        )
        if not high:
            return Demand(rise=rise)
        industries = (t.removeprefix(INDUSTRY) for t in callee.tags if t.startswith(INDUSTRY))
        best = tuple(sorted(industries)) or tuple(sorted(skills))
        return Demand({}, best, policy.specialist_wait_ms if best else 0, rise)

    def retry_at(self, disposition: str, dials: int, now_ms: int) -> int | None:
        """After one wait for every cause, until the dials are used up."""
        if disposition not in NOT_DIALLED and dials >= self.policy.max_dials:
            return None
        return now_ms + self.policy.retry_ms
