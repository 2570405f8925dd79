"""What kind of day it is: public holiday, working day, weekend. Pure, by two libraries' tables.

Mainland China moves working days to weekends, which `chinesecalendar` knows year by year from the
State Council's notices; for the rest there is `holidays`.
"""

from datetime import date
from functools import lru_cache

import chinese_calendar
import holidays

from ringlog.law.rules import HoursRule

_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class NoCalendar(LookupError):
    """No table knows the public holidays of that year and country."""


def day_names(day: date, country: str, regions: frozenset[str]) -> tuple[str, ...]:
    """The names of a day, the most special first (`rules.DayKind`); raises NoCalendar.

    A holiday of any of the regions is one; without a region, of any region of the country.
    """
    holiday, working = _kind(day, country, regions)
    names = ("holiday",) if holiday else ()
    return (*names, _NAMES[day.weekday()], "working" if working else "free", "any")


def windows(
    rule: HoursRule, day: date, country: str, regions: frozenset[str]
) -> tuple[tuple[int, int], ...]:
    """The rule's windows of a day, in minutes since midnight; none where the day is closed, also
    where no calendar knows it."""
    if not rule.needs_calendar:
        names: tuple[str, ...] = (_NAMES[day.weekday()], "any")
    else:
        try:
            names = day_names(day, country, regions)
        except NoCalendar:
            return ()
    return next((rule.minutes[name] for name in names if name in rule.minutes), ())


def calendar_known(rule: HoursRule, day: date, country: str, regions: frozenset[str]) -> bool:
    """Whether a calendar knows a day, or the rule needs none."""
    try:
        return not rule.needs_calendar or bool(day_names(day, country, regions))
    except NoCalendar:
        return False


@lru_cache(maxsize=16_384)
def _kind(day: date, country: str, regions: frozenset[str]) -> tuple[bool, bool]:
    """(is a public holiday, is worked)."""
    if country == "CN":
        try:
            holiday, _ = chinese_calendar.get_holiday_detail(day)
            festival = day in chinese_calendar.holidays
        except NotImplementedError:
            raise NoCalendar(f"the public holidays of {day.year} in {country}") from None
        return festival, not holiday
    festival = any(day in table for table in _tables(country, regions, day.year))
    return festival, day.weekday() < 5 and not festival


@lru_cache(maxsize=1_024)
def _tables(country: str, regions: frozenset[str], year: int) -> list[holidays.HolidayBase]:
    known = holidays.list_supported_countries()
    if country not in known:
        raise NoCalendar(f"the public holidays of {country}")
    places = {region.partition("-")[2] for region in regions} or set(known[country])
    return [
        holidays.country_holidays(country, subdiv=place, years=year)
        for place in (None, *sorted(places & set(known[country])))
    ]
