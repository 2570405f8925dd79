"""A dry run: what would become of every contact if the campaign called now. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from ringlog.campaigns.contacts import Faulty
from ringlog.campaigns.terms import CampaignTerms
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed
from ringlog.law.rules import site_rule_book
from ringlog.terms import Callee
from schemas.events import CampaignContact

BarredIn = Callable[[CampaignContact], str | None]
"""The scope of an opt-out that bars a contact's number; None: none does."""

_WORDS = {
    "hours": "outside hours",
    "attempts": "dialled as often as may be",
    "rest": "left in peace after a conversation or a refusal",
    "consent": "without the consent that it takes",
    "recording": "not told that the call is recorded",
    "caller_id": "without a caller id",
    "abandoned": "held back: too many answered calls were abandoned",
    "do_not_call": "on the do-not-call list",
    "country": "in countries without rules",
}
"""What kinds of rules say of those whom they keep from being called."""


@dataclass(slots=True)
class Rehearsal:
    """Counts of a dry run. `later` has the first lawful time of those whom time alone keeps, by
    rule; `never` those whom it does not."""

    at_ms: int
    rows: int = 0
    ready: int = 0
    invalid: int = 0
    duplicates: int = 0
    later: Counter[str] = field(default_factory=Counter)
    opens: dict[str, int] = field(default_factory=dict)
    never: Counter[str] = field(default_factory=Counter)

    def words(self, zone: str) -> str:
        """One sentence; times are in `zone`, or UTC."""
        kinds: Counter[tuple[str, str]] = Counter()
        for rule, n in self.later.items():
            wall = datetime.fromtimestamp(self.opens[rule] / 1_000, ZoneInfo(zone or "UTC"))
            now = datetime.fromtimestamp(self.at_ms / 1_000, ZoneInfo(zone or "UTC"))
            shown = f"{wall:%H:%M}" if wall.date() == now.date() else f"{wall:%Y-%m-%d %H:%M}"
            kinds[(_words(rule), f" until {shown}")] += n
        for rule, n in self.never.items():
            kinds[(_words(rule), "")] += n
        parts = [f"{n:,} {what}{until}" for (what, until), n in kinds.most_common()]
        if self.invalid:
            parts.append(f"{self.invalid:,} rows not valid")
        if self.duplicates:
            parts.append(f"{self.duplicates:,} on the list twice")
        told = f"{self.ready:,} of {self.rows:,} would be called"
        return "; ".join([told, ", ".join(parts)]) if parts else told


def rehearse(
    contacts: Iterable[CampaignContact | Faulty],
    terms: CampaignTerms,
    barred: BarredIn,
    now_ms: int,
    found: Rehearsal | None = None,
) -> Rehearsal:
    """What would become of the contacts at a time, added to what was `found` of those before them.
    Earlier dials are not looked at."""
    found = found or Rehearsal(now_ms)
    for contact in contacts:
        found.rows += 1
        if isinstance(contact, Faulty):
            found.duplicates += contact.duplicate
            found.invalid += not contact.duplicate
            continue
        if barred(contact) is not None:
            found.never["do_not_call"] += 1
            continue
        said = may_call(contact.phone, terms.facts(callee_of(contact), ()), now_ms)
        if isinstance(said, Allowed):
            found.ready += 1
        elif said.until is None:
            found.never[said.rule] += 1
        else:
            found.later[said.rule] += 1
            found.opens[said.rule] = min(said.until, found.opens.get(said.rule, said.until))
    return found


def callee_of(contact: CampaignContact) -> Callee:
    """A contact as terms look at it, before anything else is known of the customer."""
    return Callee(
        phone=contact.phone,
        tenant_id=contact.tenant_id,
        customer_id=contact.customer_id or "",
        level=contact.attributes.get("level", "normal"),
        tags=tuple(sorted(contact.tags)),
        attributes=contact.attributes,
    )


def _words(rule: str) -> str:
    found = site_rule_book().find(rule)
    kind = "hours" if rule == "campaign-windows" else found.kind if found else rule
    return _WORDS.get(kind, f"refused by {rule}")
