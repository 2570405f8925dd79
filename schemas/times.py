"""Times as callers write them, with the mistakes that callers make: seconds, no zone."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_MS: Final = 946_684_800_000
"""2000-01-01: no call was made before."""

LAST_MS: Final = 4_102_444_800_000
"""2100-01-01."""

_MAX_CHARACTERS: Final = 64


def checked_ms(value: object, zone: str = "") -> int:
    """Milliseconds since 1970 UTC of a number of milliseconds or of ISO 8601 text.

    Text that names no zone is of `zone` (IANA name). Raises ValueError with the unit in its text.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("a time is ISO 8601 text with a zone, or milliseconds since 1970")
    return _in_range(value if isinstance(value, int) else _of_text(value, zone))


def _of_text(text: str, zone: str) -> int:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"a time has at most {_MAX_CHARACTERS} characters")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "not a time; write ISO 8601 with a zone, such as 2026-01-31T09:00:00+08:00"
        ) from None
    if at.tzinfo is None:
        if not zone:
            raise ValueError(
                "the time names no zone; append Z or an offset such as +08:00, "
                "or set RINGLOG_ZONE for the whole site"
            )
        try:
            at = at.replace(tzinfo=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("RINGLOG_ZONE is not a time zone of this system") from None
    try:
        return round((at - _EPOCH) / timedelta(milliseconds=1))
    except OverflowError:
        raise ValueError("the time is out of range") from None


def _in_range(ms: int) -> int:
    if FIRST_MS <= ms <= LAST_MS:
        return ms
    for unit, factor in (("seconds", 1_000), ("microseconds", 1 / 1_000), ("nanoseconds", 1e-6)):
        if abs(ms) < 10**21 and FIRST_MS <= ms * factor <= LAST_MS:
            raise ValueError(f"this looks like {unit}; give milliseconds since 1970 UTC")
    raise ValueError("out of range: give milliseconds since 1970 UTC, from 2000 to 2100")
