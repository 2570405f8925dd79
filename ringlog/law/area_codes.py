"""Writes `us_areas.yaml`: the area codes of each state, from the metadata of `phonenumbers`.

`python -m ringlog.law.area_codes`. The library's own look-up (`phonenumbers.geocoder`) would cost
every process 100 MB of memory for the names of all places of the world.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import phonenumbers
import yaml

FILE = Path(__file__).with_name("us_areas.yaml")

STATES = {
    "Alabama": "AL", "Alaska": "AK", "Arizona": "AZ", "Arkansas": "AR", "California": "CA",
    "Colorado": "CO", "Connecticut": "CT", "Delaware": "DE", "Florida": "FL", "Georgia": "GA",
    "Hawaii": "HI", "Idaho": "ID", "Illinois": "IL", "Indiana": "IN", "Iowa": "IA", "Kansas": "KS",
    "Kentucky": "KY", "Louisiana": "LA", "Maine": "ME", "Maryland": "MD", "Massachusetts": "MA",
    "Michigan": "MI", "Minnesota": "MN", "Mississippi": "MS", "Missouri": "MO", "Montana": "MT",
    "Nebraska": "NE", "Nevada": "NV", "New Hampshire": "NH", "New Jersey": "NJ",
    "New Mexico": "NM", "New York": "NY", "North Carolina": "NC", "North Dakota": "ND",
    "Ohio": "OH", "Oklahoma": "OK", "Oregon": "OR", "Pennsylvania": "PA", "Rhode Island": "RI",
    "South Carolina": "SC", "South Dakota": "SD", "Tennessee": "TN", "Texas": "TX", "Utah": "UT",
    "Vermont": "VT", "Virginia": "VA", "Washington State": "WA", "West Virginia": "WV",
    "Wisconsin": "WI", "Wyoming": "WY", "Washington D.C.": "DC",
}  # fmt: skip
"""The library's names of the states, and their codes (ISO 3166-2)."""

_STEP = 7
"""Every seventh exchange of an area code is asked: a state never has fewer in a row."""


def area_codes() -> dict[str, list[int]]:
    """Area codes by state; one that lies in two states is with both."""
    from phonenumbers import geocoder

    found: dict[str, set[int]] = defaultdict(set)
    for area in range(200, 1000):
        for number in _numbers(area):
            place = geocoder.description_for_number(number, "en").rpartition(", ")[2]
            state = STATES.get(place, place)
            if state in STATES.values():
                found[state].add(area)
    return {state: sorted(areas) for state, areas in sorted(found.items())}


def _numbers(area: int) -> Iterator[phonenumbers.PhoneNumber]:
    for exchange in range(200, 1000, _STEP):
        number = phonenumbers.PhoneNumber(
            country_code=1, national_number=area * 10_000_000 + exchange * 10_000 + 1234
        )
        if phonenumbers.region_code_for_number(number) == "US":
            yield number


if __name__ == "__main__":
    FILE.write_text(
        "# Area codes by state. Written by `python -m ringlog.law.area_codes`; not edited.\n"
        + yaml.safe_dump(area_codes(), default_flow_style=None, width=95),
        encoding="utf-8",
    )
