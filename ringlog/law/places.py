"""Where a number rings: country, states and time zones that it may be in. Pure.

A mobile number travels with its owner, so what the CRM knows of a customer's place is added to what
the number says, and a call must be lawful in all of them.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
import yaml
from phonenumbers import PhoneNumber, PhoneNumberType, shortnumberinfo
from phonenumbers.timezone import time_zones_for_number

MAX_ZONES: Final = 8
"""A number in more time zones than that names no place (a freephone number lies in forty)."""

_CALLED: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
"""Types of numbers that people have. Premium rate, shared cost, freephone, pagers, voicemail and
company numbers are none of them."""

_NO_ZONE: Final = "Etc/Unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a callee may be. `regions` are ISO 3166-2 codes such as US-FL; empty: not known.
    `zones` are never empty."""

    country: str
    regions: frozenset[str]
    zones: tuple[ZoneInfo, ...]


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why a number is never called, or not without knowing more. `rule` is a word for it."""

    rule: str
    reason: str


@lru_cache(maxsize=65_536)
def place_of(number: str, region: str = "", zone: str = "") -> Place | NoPlace:
    """Where an E.164 number and its owner may be.

    `region` (ISO 3166-2) and `zone` (IANA) are what the CRM knows of the customer; what cannot be
    read there is an error, since it may be the very thing that forbids the call.
    """
    parsed = _parsed(number)
    if isinstance(parsed, NoPlace):
        return parsed
    country = phonenumbers.region_code_for_number(parsed) or ""
    regions = _states_of(parsed) if country == "US" else frozenset[str]()
    if region:
        if not region.startswith(f"{country}-") or not 4 <= len(region) <= 6:
            return NoPlace("place", f"the customer's region is not one of {country}")
        regions |= {region}
    names = [z for z in time_zones_for_number(parsed) if z != _NO_ZONE]
    if zone:
        names = [zone, *(names if len(names) <= MAX_ZONES else ())]
    if not names or len(names) > MAX_ZONES:
        return NoPlace("place", "the number's time zone is not known; give the customer's")
    try:
        zones = tuple(ZoneInfo(name) for name in dict.fromkeys(names))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return NoPlace("place", "the customer's time zone is not a zone of the tz database")
    return Place(country, regions, zones)


def _parsed(number: str) -> PhoneNumber | NoPlace:
    bad = NoPlace("number", "the number is not valid in E.164 form")
    if not number.startswith("+") or not number[1:].isascii() or not number[1:].isdigit():
        return bad
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return bad
    country = phonenumbers.region_code_for_number(parsed)
    digits = phonenumbers.national_significant_number(parsed)
    if country and shortnumberinfo.connects_to_emergency_number(digits, country):
        return NoPlace("emergency", "emergency numbers are never called")
    if country is None or not phonenumbers.is_valid_number(parsed):
        return bad
    if phonenumbers.number_type(parsed) not in _CALLED:
        return NoPlace("number_type", "premium, shared-cost and service numbers are never called")
    return parsed


@lru_cache(maxsize=1)
def _areas() -> dict[int, frozenset[str]]:
    file = Path(__file__).with_name("us_areas.yaml")
    found: dict[int, set[str]] = {}
    for state, areas in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        for area in areas:
            found.setdefault(area, set()).add(f"US-{state}")
    return {area: frozenset(states) for area, states in found.items()}


def _states_of(number: PhoneNumber) -> frozenset[str]:
    """Of the area code (North American Numbering Plan); empty for one without a state."""
    return _areas().get((number.national_number or 0) // 10_000_000, frozenset())
