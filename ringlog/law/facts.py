"""What the law asks about a call, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ringlog.law.rules import AnyRule, Consent, Purpose


@dataclass(frozen=True, slots=True)
class Answers:
    """Answered calls of a campaign that began in one span of time, and in how many of them nobody
    spoke to the customer. `until_ms` is the span's end."""

    until_ms: int
    answered: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a call to be placed. Times are milliseconds since 1970 UTC.

    What is not known counts against the call: no consent, no caller id, no word on recording.
    `barred` is the scope of an opt-out that bars the number (`schemas.donotcall`); None: none does.
    `dials` are the times at which the number was dialled, `caller_dials` those at which the caller
    id dialled anybody, oldest first; they need not go back further than the longest rule.
    `talked_at` is the end of the last conversation, `refused_at` when the customer last refused.
    `region` and `zone` are what the CRM knows of the customer's place. `campaign_rules` are further
    rules, of the same kinds, that the campaign brings. Without `declared` nobody has said anything
    of consent, recording and caller id, and rules on them are not asked: a call of no campaign.
    """

    purpose: Purpose
    barred: str | None = None
    consent: Consent = "none"
    consent_until: int | None = None
    dials: Sequence[int] = ()
    caller_id: str | None = None
    caller_dials: Sequence[int] = ()
    talked_at: int | None = None
    refused_at: int | None = None
    recorded: bool = True
    recording_notice: bool = False
    answers: Sequence[Answers] = ()
    region: str = ""
    zone: str = ""
    campaign_rules: Sequence[AnyRule] = field(default=())
    declared: bool = True


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may be placed now."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call may not be placed now. `rule` names the rule, `reason` says it in words, `source`
    where it stands. `until` is the first time at which the call would be lawful if nothing else
    changed, ms; None: time alone does not make it so. Where no calendar reaches so far, it is a
    time to ask again."""

    rule: str
    reason: str
    until: int | None
    source: str = ""
