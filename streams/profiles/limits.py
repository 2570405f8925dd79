"""What one profile holds at most; it travels with every request and call."""

import re
from collections.abc import Iterable

MAX_TAGS, MAX_PROMISES, MAX_TEXT = 32, 10, 120
"""Tags, promises, and characters of a text."""

MAX_TAGS_BYTES, MAX_PROMISES_BYTES = 4_096, 2_048
"""Of tags and promises in bytes of UTF-8, all together."""

MAX_OPTOUTS = 16
"""Campaigns and tenants of opt-outs that one profile names; the list itself has all."""

MAX_CONSENTS, MAX_CONSENTS_BYTES = 8, 1_024
"""Campaigns whose lists' consents one profile holds, those loaded last; and bytes of their ids."""

MAX_ATTRIBUTES, ATTRIBUTE = 16, re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Attributes kept, by names that a playbook can write."""

MAX_EMPTIED = 16
"""Emptied attributes whose time is kept, so that an older record does not bring them back."""

LONGEST_ATTRIBUTE = 60
"""Characters; a longer one is a note and no value, and stays in `customers.changes`."""

LONGEST_SOURCE = 60
"""Characters of a source's name."""

MAX_ABSORBED = 16
"""Customers merged into one that the profile names."""


def short(text: str, longest: int = MAX_TEXT) -> str:
    """Cut to its limit, without control characters: in JSON each takes six bytes."""
    return "".join(c for c in text[: 4 * longest] if c.isprintable())[:longest]


def bounded(texts: Iterable[str], at_most: int, max_bytes: int) -> tuple[str, ...]:
    """The first distinct non-empty texts, as many as the limits allow."""
    found: dict[str, None] = {}
    for text in map(short, texts):
        max_bytes -= len(text.encode()) if text not in found else 0
        if len(found) == at_most or max_bytes < 0:
            break
        if text:
            found[text] = None
    return tuple(found)
