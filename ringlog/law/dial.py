"""Whether a call may be placed: `may_call`. Pure, and it fails closed: what is not known, no rule
of a country, no zone, no calendar, no consent, refuses the call."""

from collections.abc import Iterator
from datetime import date

from ringlog.law.days import calendar_known, windows
from ringlog.law.facts import Allowed, Facts, Refusal
from ringlog.law.hours import is_open, local, next_midnight, next_opening
from ringlog.law.places import NoPlace, Place, place_of
from ringlog.law.rules import (
    DAY_MS,
    AbandonedRule,
    AnyRule,
    AttemptsRule,
    CallerIdRule,
    ConsentRule,
    HoursRule,
    RecordingRule,
    RestRule,
    RuleBook,
    site_rule_book,
)
from schemas.times import LAST_MS

MAX_STEPS = 20
"""How often another rule may put the next lawful time off, until that time is only a time to ask
again."""

_OURS = "Ringlog's own: who asked not to be called is not called"


def may_call(
    number: str, facts: Facts, now_ms: int, book: RuleBook | None = None
) -> Allowed | Refusal:
    """Whether a number (E.164) may be dialled at a time (ms since 1970 UTC).

    The refusal names a rule that time cannot change before one that passes; `until` is when all of
    them have passed.
    """
    if now_ms >= LAST_MS:
        return Refusal("time", "no calendar reaches that far", None)
    place = place_of(number, facts.region, facts.zone)
    if isinstance(place, NoPlace):
        return Refusal(place.rule, place.reason, None)
    if facts.barred is not None:
        reason = f"the number is on the do-not-call list ({facts.barred})"
        return Refusal("do_not_call", reason, None, _OURS)
    rules = (book or site_rule_book()).of(place.country, place.regions, facts.declared)
    if rules is None:
        return Refusal("country", f"there are no rules for calls to {place.country}", None)
    rules = (*rules, *facts.campaign_rules)
    now = list(_refusals(rules, place, facts, now_ms))
    if not now:
        return Allowed()
    first = next((refusal for refusal in now if refusal.until is None), now[0])
    until = _all_passed(rules, place, facts, now)
    return Refusal(first.rule, first.reason, until, first.source)


def _all_passed(
    rules: tuple[AnyRule, ...], place: Place, facts: Facts, refusals: list[Refusal]
) -> int | None:
    """When no rule refuses any more; None if one refuses for ever. Each `until` is the rule's own
    first lawful time, so the latest of them is never too late."""
    at = 0
    for _ in range(MAX_STEPS):
        for refusal in refusals:
            if refusal.until is None:
                return None
            at = max(at, refusal.until)
        refusals = list(_refusals(rules, place, facts, at))
        if not refusals:
            break
    return at


def _refusals(rules: tuple[AnyRule, ...], place: Place, facts: Facts, at: int) -> Iterator[Refusal]:
    dates = [local(at, zone).date() for zone in place.zones]
    first, last = min(dates), max(dates)
    for rule in rules:
        if rule.applies(facts.purpose, first, last):
            refusal = _refusal(rule, place, facts, at)
            if refusal is not None:
                yield refusal


def _refusal(rule: AnyRule, place: Place, facts: Facts, at: int) -> Refusal | None:
    match rule:
        case HoursRule():
            return _hours(rule, place, at)
        case AttemptsRule():
            return _attempts(rule, place, facts, at)
        case RestRule():
            return _rest(rule, facts, at)
        case ConsentRule():
            return _consent(rule, facts, at)
        case AbandonedRule():
            return _abandoned(rule, facts, at)
        case RecordingRule():
            if facts.recorded and not facts.recording_notice:
                reason = "the call is recorded and the customer is not told so"
                return Refusal(rule.id, reason, None, rule.source)
        case CallerIdRule():
            if not facts.caller_id:
                reason = "the customer would see no number to call back"
                return Refusal(rule.id, reason, None, rule.source)
    return None


def _hours(rule: HoursRule, place: Place, at: int) -> Refusal | None:
    def of(day: date) -> tuple[tuple[int, int], ...]:
        return windows(rule, day, place.country, place.regions)

    closed = [zone for zone in place.zones if not is_open(at, zone, of)]
    if not closed:
        return None
    wall = local(at, closed[0])
    reason = f"it is {wall:%H:%M} on {wall:%A} {wall:%Y-%m-%d} where the customer is"
    if not calendar_known(rule, wall.date(), place.country, place.regions):
        reason += f", and no calendar of {place.country} knows that day"
    openings = [next_opening(at, zone, of) for zone in closed]
    opens = max(at + DAY_MS if opening is None else opening for opening in openings)
    return Refusal(rule.id, reason, opens, rule.source)


def _attempts(rule: AttemptsRule, place: Place, facts: Facts, at: int) -> Refusal | None:
    if rule.of == "caller_id" and not facts.caller_id:
        return Refusal(rule.id, "the caller id is not known", None, rule.source)
    dials = facts.dials if rule.of == "number" else facts.caller_dials
    if len(dials) < rule.most:
        return None
    oldest = dials[-rule.most]
    what = "the number was dialled" if rule.of == "number" else "the caller id dialled"
    if rule.within_ms is not None:
        until = oldest + rule.within_ms
        span = rule.within
    else:
        same = [z for z in place.zones if local(oldest, z).date() >= local(at, z).date()]
        until = max((next_midnight(at, zone) for zone in same), default=at)
        span = "one day"
    if until <= at:
        return None
    return Refusal(rule.id, f"{what} {rule.most} times within {span}", until, rule.source)


def _rest(rule: RestRule, facts: Facts, at: int) -> Refusal | None:
    since = facts.talked_at if rule.after == "talked" else facts.refused_at
    if since is None or since + rule.for_ms <= at:
        return None
    what = "talked to us" if rule.after == "talked" else "refused"
    return Refusal(
        rule.id, f"the customer {what} less than {rule.for_} ago", since + rule.for_ms, rule.source
    )


def _consent(rule: ConsentRule, facts: Facts, at: int) -> Refusal | None:
    past = facts.consent_until is not None and facts.consent_until <= at
    if facts.consent in rule.any_of and not past:
        return None
    needed = " or ".join(sorted(rule.any_of))
    reason = f"a {facts.purpose} call needs consent ({needed}), and " + (
        "it has run out" if past else f"there is {facts.consent}"
    )
    return Refusal(rule.id, reason, None, rule.source)


def _abandoned(rule: AbandonedRule, facts: Facts, at: int) -> Refusal | None:
    """By spans of time: one counts until all of it is too old. The next span to go says when the
    share is worth another look."""
    counted = [a for a in facts.answers if a.until_ms + rule.within_ms > at]
    answered = sum(a.answered for a in counted)
    abandoned = sum(a.abandoned for a in counted)
    if abandoned <= rule.most * max(answered, rule.least):
        return None
    share = f"{abandoned} of {answered} answered calls"
    until = min(a.until_ms for a in counted) + rule.within_ms
    return Refusal(
        rule.id, f"in {share} of the campaign nobody spoke to the customer", until, rule.source
    )
