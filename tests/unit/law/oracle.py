"""The law once more, slowly: every rule judged by itself at one time, from the YAML as it stands.

Nothing of `ringlog.law` is used but its files, so a fault there is not repeated here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import chinese_calendar
import holidays
import yaml

from ringlog.law.rules import FOLDER

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

SETS: list[dict[str, Any]] = [
    yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))
]


@dataclass
class Person:
    """A number with what the test knows of it by hand."""

    number: str
    country: str
    states: tuple[str, ...]
    zones: tuple[str, ...]


PEOPLE = (
    Person("+8613800138000", "CN", (), ("Asia/Shanghai",)),
    Person("+13055550123", "US", ("FL",), ("America/New_York",)),
    Person("+12145550123", "US", ("TX",), ("America/Chicago",)),
    Person("+16175550123", "US", ("MA",), ("America/New_York",)),
    Person("+14014440123", "US", ("RI",), ("America/New_York",)),
    Person("+12085550123", "US", ("ID",), ("America/Boise", "America/Los_Angeles")),
    Person("+18085550123", "US", ("HI",), ("Pacific/Honolulu",)),
    Person("+33612345678", "FR", (), ("Europe/Paris",)),
    Person("+34612345678", "ES", (), ("Europe/Madrid", "Atlantic/Canary")),
    Person("+393123456789", "IT", (), ("Europe/Rome",)),
    Person("+4915123456789", "DE", (), ("Europe/Berlin",)),
)


@dataclass
class Known:
    """What is known of a call, as the oracle looks at it."""

    purpose: str
    consent: str = "written"
    barred: bool = False
    dials: Sequence[int] = ()
    talked_at: int | None = None
    refused_at: int | None = None
    notice: bool = True
    caller_id: str | None = "+12125550100"
    answered: int = 0
    abandoned: int = 0
    extra: list[dict[str, Any]] = field(default_factory=list)


def wall(at_ms: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(
        ZoneInfo(zone)
    )


@lru_cache
def tables(country: str, states: tuple[str, ...]) -> list[holidays.HolidayBase]:
    known = holidays.list_supported_countries()[country]
    places = [None, *(states or known)]
    return [
        holidays.country_holidays(country, subdiv=place, years=range(2024, 2029))
        for place in places
        if place is None or place in known
    ]


def festival(day: date, person: Person) -> bool:
    if person.country == "CN":
        return bool(day in chinese_calendar.holidays)
    return any(day in table for table in tables(person.country, person.states))


def worked(day: date, person: Person) -> bool:
    if person.country == "CN":
        return bool(chinese_calendar.is_workday(day))
    return day.weekday() < 5 and not festival(day, person)


def lawful(person: Person, known: Known, at_ms: int) -> bool:
    """Whether the call may be placed."""
    if known.barred:
        return False
    rules = [
        rule
        for found in SETS
        if found["place"] in ("*", person.country, *(f"US-{s}" for s in person.states))
        or person.country in found.get("members", ())
        for rule in found["rules"]
    ]
    return all(_keeps(rule, person, known, at_ms) for rule in [*rules, *known.extra])


def _keeps(rule: dict[str, Any], person: Person, known: Known, at: int) -> bool:
    if rule.get("purposes") and known.purpose not in rule["purposes"]:
        return True
    if "since" in rule and all(wall(at, z).date() < rule["since"] for z in person.zones):
        return True
    match rule["kind"]:
        case "hours":
            return all(_open(rule["days"], person, wall(at, zone)) for zone in person.zones)
        case "attempts":
            if rule["within"] == "day":
                return all(
                    sum(wall(d, z).date() >= wall(at, z).date() for d in known.dials) < rule["most"]
                    for z in person.zones
                )
            return bool(sum(d > at - _ms(rule["within"]) for d in known.dials) < rule["most"])
        case "rest":
            since = known.talked_at if rule["after"] == "talked" else known.refused_at
            return since is None or at >= since + _ms(rule["for"])
        case "consent":
            return known.consent in rule["any_of"]
        case "recording":
            return known.notice
        case "caller_id":
            return known.caller_id is not None
        case "abandoned":
            return bool(known.abandoned <= rule["most"] * max(known.answered, rule["least"]))
    raise AssertionError(rule["kind"])


def _ms(text: str) -> int:
    return int(text[:-1]) * (3_600_000 if text[-1] == "h" else 86_400_000)


def _open(days: dict[str, list[str]], person: Person, at: datetime) -> bool:
    names = [DAYS[at.weekday()], "any"]
    if {"holiday", "working", "free"} & days.keys():
        working = "working" if worked(at.date(), person) else "free"
        names.insert(1, working)
        if festival(at.date(), person):
            names.insert(0, "holiday")
    windows = next((days[name] for name in names if name in days), [])
    shown = f"{at:%H:%M}"
    return any(begin <= shown < end for begin, end in (w.split("-") for w in windows))
