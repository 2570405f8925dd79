"""When a rule's windows are open in a callee's zone, and when they open next. Pure.

Windows are by the clock on the wall: `begin <= wall < end`. Where clocks are put back an hour comes
twice and counts both times; where they are put forward a window that begins in the lost hour opens
right after it.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
AHEAD_DAYS = 40
"""How far ahead an opening is looked for."""

_FURTHEST_EAST, _FURTHEST_WEST = timedelta(hours=15), timedelta(hours=13)
"""No zone of the present is further from UTC."""

Windows = Callable[[date], tuple[tuple[int, int], ...]]
"""The windows of a local date, in minutes since midnight."""


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    """The clock on the wall at a time."""
    return datetime.fromtimestamp(at_ms // 1_000, zone)


def is_open(at_ms: int, zone: ZoneInfo, windows: Windows) -> bool:
    """Whether a window is open at a time."""
    wall = local(at_ms, zone)
    minute = wall.hour * 60 + wall.minute
    return any(begin <= minute < end for begin, end in windows(wall.date()))


def next_opening(at_ms: int, zone: ZoneInfo, windows: Windows) -> int | None:
    """The first time from `at_ms` on at which a window is open, ms; None: not within
    `AHEAD_DAYS`."""
    if is_open(at_ms, zone, windows):
        return at_ms
    today = local(at_ms, zone).date()
    for ahead in range(AHEAD_DAYS):
        day = today + timedelta(days=ahead)
        if not windows(day):
            continue
        for opening in _openings(day, zone, windows):
            if opening > at_ms and is_open(opening, zone, windows):
                return opening
    return None


def next_midnight(at_ms: int, zone: ZoneInfo) -> int:
    """The first time at which the callee's calendar shows a later date, ms."""
    day = local(at_ms, zone).date() + timedelta(days=1)
    return next(_minutes_of(day, zone))


def _openings(day: date, zone: ZoneInfo, windows: Windows) -> Iterator[int]:
    """Times at which a window of a date may open, in their order."""
    if _steady(day, zone):
        begin = _ms(datetime(day.year, day.month, day.day, tzinfo=zone))
        yield from (begin + minute * MINUTE_MS for minute, _ in sorted(windows(day)))
    else:
        yield from _minutes_of(day, zone)


def _steady(day: date, zone: ZoneInfo) -> bool:
    """Whether no clock is moved from the noon before to the noon after a date."""
    noons = [datetime(d.year, d.month, d.day, 12, tzinfo=zone) for d in _around(day)]
    return len({noon.utcoffset() for noon in noons}) == 1


def _around(day: date) -> tuple[date, date, date]:
    one = timedelta(days=1)
    return day - one, day, day + one


def _minutes_of(day: date, zone: ZoneInfo) -> Iterator[int]:
    """Every minute of a local date, in UTC's order. A date may have fewer or more than 1,440; one
    that a zone skipped has none, and the first of the next date comes instead."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at = _ms(midnight - _FURTHEST_EAST)
    last = _ms(midnight + timedelta(days=1) + _FURTHEST_WEST)
    found = False
    while at < last:
        shown = local(at, zone).date()
        if shown == day or (shown > day and not found):
            found = True
            yield at
        at += MINUTE_MS


def _ms(at: datetime) -> int:
    return round(at.timestamp()) * 1_000
