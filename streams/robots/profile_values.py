"""Values of a customer's profile in what the robot says and in how it reads a day."""

import re
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from streams.robots.playbook import OutboundMessage
from streams.robots.slots import CHINA

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")

LONGEST_VALUE = 60
"""Characters of an attribute that goes into a message; a longer one is no value for people."""


def filled(message: OutboundMessage, profile: Mapping[str, Any]) -> str | None:
    """The message's text with the profile's values; `otherwise` where one is missing.

    An attribute is put in as it is: braces in it are no placeholders.
    """
    values = {name: value_of(profile, name) for name in PLACEHOLDER.findall(message.text)}
    if any(value is None for value in values.values()):
        return message.otherwise
    return PLACEHOLDER.sub(lambda match: values[match[1]] or "", message.text)


def zone_of(profile: Mapping[str, Any]) -> tzinfo:
    """The customer's time zone: the attribute `zone` (Asia/Urumqi), else China's."""
    name = value_of(profile, "zone")
    try:
        return CHINA if name is None else ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return CHINA


def value_of(profile: Mapping[str, Any], name: str) -> str | None:
    """An attribute of the customer, if it is one for people."""
    attributes = profile.get("attributes")
    value = attributes.get(name) if isinstance(attributes, Mapping) else None
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    text = str(value).strip()
    return text if text and len(text) <= LONGEST_VALUE and text.isprintable() else None
