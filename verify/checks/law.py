"""Every dial was inside the law: the rules evaluated anew, from the data alone.

It shares the rules, the calendars and the tables of numbers with `ringlog.law`, but not its
evaluation, and nothing of dispatch: dials are counted from `calls.events`, across pools.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import orjson

from ringlog.campaigns.settings import CampaignSettings
from ringlog.dispositions import NOT_DIALLED
from ringlog.law.days import NoCalendar, day_names
from ringlog.law.places import NoPlace, Place, place_of
from ringlog.law.rules import (
    AttemptsRule,
    CallerIdRule,
    ConsentRule,
    HoursRule,
    RecordingRule,
    RestRule,
    site_rule_book,
)
from ringlog.law.site import NO_LAW, SiteLaw
from schemas.events.customers import attributes_within
from schemas.phone import Numbers
from verify.check import Check, Context, Result
from verify.checks.permits import dialled_by_us
from verify.in_force import LawsInForce, VersionsInForce
from verify.record import LogRecord

_WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Breach = tuple[str, str]
"""What kind of rule was broken, and how."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A dial as the law sees it: `before` are earlier dials of the number, ms."""

    place: Place
    at_ms: int
    settings: CampaignSettings
    attributes: Mapping[str, str]
    before: tuple[int, ...]

    def local(self, at_ms: int) -> list[datetime]:
        """The clocks on the walls of all zones where the customer may be."""
        return [datetime.fromtimestamp(at_ms / 1_000, zone) for zone in self.place.zones]

    def time(self, name: str) -> int | None:
        """A time that the customer's record has; one that is none counts as for ever."""
        text = self.attributes.get(name, "").strip()
        if not text:
            return None
        return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 2**62


class Law(Check):
    """Folds dials, ends, permits, and the versions of campaigns and laws of the site that pools
    knew. Dials of tasks whose campaign has no record go by the law of the site."""

    name = "law"
    title = "no dial outside the law of its campaign, or of the site"
    unit = "dials"
    topics = frozenset({"calls.events", "tasks.events", "dispatch.inbox"})

    def __init__(self, numbers: Numbers | None) -> None:
        """Without `numbers`, which needs the site key, two spellings are two numbers."""
        super().__init__()
        self._numbers = numbers
        self._dials: dict[str, LogRecord] = {}
        self._ended: dict[str, str] = {}
        self._permits: dict[str, LogRecord] = {}
        self._in_force = VersionsInForce()
        self._laws = LawsInForce()

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if not record.first:
            return
        match record.topic:
            case "dispatch.inbox":
                self._in_force.take(record)
                self._laws.take(record)
            case "tasks.events":
                if event["kind"] == "assigned":
                    self._permits.setdefault(event["call_id"], record)
            case _ if event["kind"] == "ended":
                self._ended.setdefault(event["call_id"], event["disposition"] or "")
            case _ if dialled_by_us(event) and event["phone"]:
                self._dials.setdefault(event["call_id"], record)

    def finish(self, context: Context) -> Result:
        times: dict[str, list[int]] = {}
        for dial in sorted(self._dials.values(), key=lambda dial: dial.timestamp_ms):
            line = self._line(dial.event["phone"])
            before = times.setdefault(line, [])
            if self._ended.get(dial.event["call_id"], "") in NOT_DIALLED:
                continue  # the edge asked once more, and put it off
            if dial.judged:
                self._judge(dial, tuple(before))
            before.append(dial.timestamp_ms)
        return self.result

    def _line(self, phone: str) -> str:
        return phone if self._numbers is None else self._numbers.hash(phone)

    def _judge(self, dial: LogRecord, before: tuple[int, ...]) -> None:
        permit = self._permits.get(dial.event["call_id"])
        if permit is None:
            return  # `permits` tells
        event = permit.event
        at = event["occurred_at"]
        phone, dialled_at = dial.event["phone"], dial.timestamp_ms
        attributes = _attributes(event["profile"], event["campaign_id"])
        known = self._in_force.at(event["pool"], event["campaign_id"], at)
        settings = [s for version in known if (s := self._in_force.settings(version)) is not None]
        if known and not settings:
            return  # `campaigns` tells
        found = [breach(phone, dialled_at, s, attributes, before) for s in settings]
        if not known:
            laws = self._laws.at(event["pool"], at)
            if NO_LAW.level in {law.level for law in laws}:
                return
            found = [
                breach(
                    phone, dial.timestamp_ms, _settings_of(law), attributes, before, law.declared
                )
                for law in laws
            ]
        self.result.looked_at += 1
        worst = next((said for said in found if said is not None), None)
        if worst is not None and None not in found:
            self.result.violate(
                worst[0], worst[1], permit.where, dial.where,
                call_id=event["call_id"], task_id=event["task_id"],
                campaign_id=event["campaign_id"],
            )  # fmt: skip


def _settings_of(law: SiteLaw) -> CampaignSettings:
    """The law of the site as a campaign's that declares nothing."""
    return CampaignSettings(playbook="none", purpose=law.purpose)


def breach(
    phone: str,
    at_ms: int,
    settings: CampaignSettings,
    attributes: Mapping[str, str],
    before: tuple[int, ...],
    declared: bool = True,
) -> Breach | None:
    """The first rule that a dial broke; None: it was lawful. Not `declared`: by the rules that ask
    nothing which only a campaign declares.

    `attributes` are the customer's, `before` the times of earlier dials of the number, ms. Opt-outs
    are judged by their own check, and shares of abandoned calls by none.
    """
    place = place_of(phone, attributes.get("region", ""), attributes.get("zone", ""))
    if isinstance(place, NoPlace):
        return "place", place.reason
    case = _Case(place, at_ms, settings, attributes, before)
    rules = site_rule_book().of(place.country, place.regions, declared)
    if rules is None:
        return "place", f"there are no rules for calls to {place.country}"
    dates = sorted(wall.date() for wall in case.local(at_ms))
    for rule in (*rules, *settings.rules):
        if rule.applies(settings.purpose, dates[0], dates[-1]):
            for kind, text in _broken(rule, case):
                return kind, f"{rule.id}: {text}"
    return None


def _broken(rule: Any, case: _Case) -> Iterator[Breach]:
    at, settings = case.at_ms, case.settings
    match rule:
        case HoursRule():
            for wall in case.local(at):
                if not _open(rule, wall, case.place):
                    yield "hours", f"it was {wall:%Y-%m-%d %H:%M} where the customer is"
        case AttemptsRule(of="number"):
            if _times(rule, case) >= rule.most:
                yield "attempts", f"more than {rule.most} dials of the number within {rule.within}"
        case RestRule():
            since = case.time("talked_at" if rule.after == "talked" else "refused_at")
            if since is not None and since > at - rule.for_ms:
                yield "rest", f"the customer {rule.after} less than {rule.for_} before"
        case ConsentRule():
            consent = case.attributes.get("consent", "").strip().lower() or settings.consent
            until = case.time("consent_until")
            if consent not in rule.any_of or (until is not None and not at < until < 2**62):
                yield "consent", f"there was no consent for {settings.purpose}: {consent}"
        case RecordingRule():
            if not settings.recording_notice:
                yield "recording", "the customer was not told of the recording"
        case CallerIdRule():
            if not settings.caller_ids:
                yield "caller_id", "the customer saw no number to call back"


def _open(rule: HoursRule, wall: datetime, place: Place) -> bool:
    names = _names(rule, wall.date(), place)
    windows: list[str] = next((rule.days[n] for n in names if n in rule.days), [])
    clock = f"{wall:%H:%M}"
    return any(begin <= clock < end for begin, end in (w.split("-") for w in windows))


def _names(rule: HoursRule, day: date, place: Place) -> tuple[str, ...]:
    if not rule.needs_calendar:
        return _WEEK[day.weekday()], "any"
    try:
        return day_names(day, place.country, place.regions)
    except NoCalendar:
        return ()


def _times(rule: AttemptsRule, case: _Case) -> int:
    """Earlier dials that a cap counts: of the same calendar day in any zone, or of a span."""
    if rule.within_ms is not None:
        return sum(at > case.at_ms - rule.within_ms for at in case.before)
    today = case.local(case.at_ms)
    return max(
        sum(case.local(at)[n].date() == today[n].date() for at in case.before)
        for n in range(len(today))
    )


def _attributes(profile: str | None, campaign_id: str | None) -> dict[str, str]:
    """A customer's, with the consent that the campaign's own list names."""
    try:
        found = orjson.loads(profile or "{}")
        return attributes_within(found["attributes"], found.get("consents", ()), campaign_id)
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}
