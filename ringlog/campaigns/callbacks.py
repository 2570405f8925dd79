"""When a customer wants to be called back, from their words. Pure.

A robot writes down only what is certain (`date`, `time`, `half_day` of a turn); a promise to pay
needs that. A call back may be rough: 下午四点左右 is four, 等会儿 is in an hour, because calling at
about the right time is what was asked for, and the call is placed within the law all the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from ringlog.numerals import NUMERAL, number_of

LONGEST: Final = timedelta(days=400)
"""A wish for later than that is a slip of the tongue, or of the recogniser."""

MAX_CHARACTERS: Final = 400

_HALF_DAYS: Final = {"morning": time(10), "noon": time(12, 30), "afternoon": time(15),
                     "evening": time(19)}  # fmt: skip
"""What half a day means when no hour is said."""

_PARTS: Final = {"早上": "morning", "上午": "morning", "早": "morning", "中午": "noon",
                 "下午": "afternoon", "傍晚": "evening", "晚上": "evening", "晚": "evening",
                 "今晚": "evening", "明晚": "evening", "明早": "morning",
                 "今早": "morning"}  # fmt: skip
_PART = "|".join(sorted(_PARTS, key=len, reverse=True))

_SPAN: Final = re.compile(
    rf"(?P<past>过|再过)?(?:(?P<half>半)个?(?P<half_unit>小时|钟头|月|年)"
    rf"|(?P<n>{NUMERAL})个?(?P<and_half>半)?(?P<unit>分钟|小时|钟头|刻钟|天|星期|礼拜|周|月|年))"
    r"(?P<after>以后|之后|过后|后(?!天))?"
)
_UNITS: Final = {"分钟": timedelta(minutes=1), "小时": timedelta(hours=1),
                 "钟头": timedelta(hours=1), "刻钟": timedelta(minutes=15),
                 "天": timedelta(days=1), "星期": timedelta(days=7), "礼拜": timedelta(days=7),
                 "周": timedelta(days=7), "月": timedelta(days=30),
                 "年": timedelta(days=365)}  # fmt: skip
_CLOCK: Final = re.compile(
    rf"(?P<part>{_PART})?(?P<hour>{NUMERAL})(?:点钟|点整|点(?!儿)|:)"
    rf"(?:(?P<half>半)|(?P<quarter>[一三])刻|(?P<minute>{NUMERAL})分?)?"
)
_DAY: Final = re.compile(r"大后天|后天|明[天儿早晚]|今[天儿早晚]")
_AHEAD: Final = {"大": 3, "后": 2, "明": 1, "今": 0}
_WEEK: Final = re.compile(
    r"(?P<next>下+)个?(?:星期|礼拜|周)(?P<of_next>[一二三四五六日天末])?(?!期)"
    r"|(?P<this>这个?|本)?(?:星期|礼拜|周)(?P<day>[一二三四五六日天末])"
)
_WEEKDAYS: Final = {name: n for n, name in enumerate("一二三四五六日")} | {"天": 6, "末": 5}
_MONTH: Final = re.compile(
    rf"(?:(?P<month>{NUMERAL})月(?:份)?|(?P<next>下个?月)|这个?月|本月)?(?P<day>{NUMERAL})[号日]"
    rf"(?![码楼线院门店厅])|(?P<all>下个?月)"
)
_SOON: Final = re.compile(r"一会儿?|等会儿?|待会儿?|稍后|晚点|晚一点|回头")


@dataclass(frozen=True, slots=True)
class Appointment:
    """When the customer wants the call. `exact`: they named a time or a span."""

    at_ms: int
    exact: bool


def callback_of(
    text: str, slots: Mapping[str, str], said_ms: int, zone: tzinfo
) -> Appointment | None:
    """The time that a customer asked for, in their zone; None: they named none.

    `slots` are those that the robot is certain of. The time lies after `said_ms`.
    """
    now = datetime.fromtimestamp(said_ms / 1_000, UTC).astimezone(zone)
    text = text[:MAX_CHARACTERS]
    wanted = _wanted(text, slots, now)
    if wanted is None:
        return None
    at, exact = wanted
    # Adding to a wall clock would skip or repeat the hour in which clocks are moved.
    ahead = at.astimezone(UTC) - now.astimezone(UTC)
    if not timedelta(0) < ahead <= LONGEST:
        return None
    return Appointment(round(at.timestamp() * 1_000), exact)


def _wanted(text: str, slots: Mapping[str, str], now: datetime) -> tuple[datetime, bool] | None:
    if span := _span(text):
        whole = (now.astimezone(UTC) + span).astimezone(now.tzinfo)
        if not span.days:
            return whole, True
        day: date | None = whole.date()
    else:
        day = _day(text, slots, now)
    clock = _certain(slots) or _clock(text, day is None, now)
    if clock is not None:
        if day is None:
            today = _at(now.date(), clock, now)
            return (today if today > now else _at(_next(now), clock, now)), True
        return _at(day, clock, now), True
    part = slots.get("half_day") or _part(text)
    if part in _HALF_DAYS:
        clock = _HALF_DAYS[part]
        if day is None:
            today = _at(now.date(), clock, now)
            return (today if today > now else _at(_next(now), clock, now)), False
        return _at(day, clock, now), False
    if day is not None and day > now.date():
        return _at(day, time(10), now), False
    if _SOON.search(text):
        return now + timedelta(hours=1), False
    return None


def _span(text: str) -> timedelta | None:
    for match in _SPAN.finditer(text):
        if not (match["past"] or match["after"]):
            continue
        if match["half"]:
            whole = _UNITS[match["half_unit"]]
            return timedelta(days=whole.days // 2) if whole.days > 1 else whole / 2
        n = number_of(match["n"])
        if n is None or not 0 < n <= 1_000:
            continue
        unit = _UNITS[match["unit"]]
        return unit * n + (unit / 2 if match["and_half"] else timedelta(0))
    return None


def _certain(slots: Mapping[str, str]) -> time | None:
    try:
        return time.fromisoformat(slots["time"]) if "time" in slots else None
    except ValueError:
        return None


def _clock(text: str, any_day: bool, now: datetime) -> time | None:
    """The first time of day in the words. Without a part of the day, an hour of the day is meant:
    nobody asks to be called at three in the night."""
    for match in _CLOCK.finditer(text):
        hour = number_of(match["hour"])
        if hour is None or hour > 24:
            continue
        minute = _minute(match)
        if minute is None:
            continue
        part = _PARTS.get(match["part"] or "") or _part(text)
        if hour < 12 and (
            part in ("afternoon", "evening") or (part == "noon" and hour < 3)
            or (part is None and hour < 8)
            or (part is None and any_day and hour < 10 and hour * 60 + minute <= _minutes(now))
        ):  # fmt: skip
            hour += 12
        return time(hour % 24, minute)
    return None


def _minute(match: re.Match[str]) -> int | None:
    if match["half"]:
        return 30
    if match["quarter"]:
        return 15 if match["quarter"] == "一" else 45
    if match["minute"] is None:
        return 0
    value = number_of(match["minute"].lstrip("零〇") or "零")
    return value if value is not None and value < 60 else None


def _part(text: str) -> str | None:
    found = re.search(_PART, _SOON.sub("", text))
    return _PARTS[found[0]] if found else None


def _day(text: str, slots: Mapping[str, str], now: datetime) -> date | None:
    try:
        if "date" in slots:
            return date.fromisoformat(slots["date"])
    except ValueError:
        return None
    if found := _DAY.search(text):
        return now.date() + timedelta(days=_AHEAD[found[0][0]])
    if found := _WEEK.search(text):
        return _weekday(found, now.date())
    found = _MONTH.search(text)
    return _of_month(found, now.date()) if found else None


def _weekday(match: re.Match[str], today: date) -> date:
    """A day of this week or a later one; 下周 alone is its Monday. A day of this week that has been
    is the one of the next."""
    monday = today - timedelta(days=today.weekday())
    if match["next"]:
        n = _WEEKDAYS[match["of_next"]] if match["of_next"] else 0
        return monday + timedelta(days=7 * len(match["next"]) + n)
    day = monday + timedelta(days=_WEEKDAYS[match["day"]])
    return day if day >= today else day + timedelta(days=7)


def _of_month(match: re.Match[str], today: date) -> date | None:
    """A day by its number, in the month that is named or the next that has it ahead."""
    following = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
    if match["all"]:
        return following
    day = number_of(match["day"])
    month = number_of(match["month"]) if match["month"] else None
    if day is None or (match["month"] and month is None):
        return None
    if match["next"]:
        return _date(following.year, following.month, day)
    if month is not None:
        found = _date(today.year, month, day)
        return found if found and found >= today else _date(today.year + 1, month, day)
    return (
        _date(today.year, today.month, day)
        if day >= today.day
        else _date(following.year, following.month, day)
    )


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _next(now: datetime) -> date:
    return now.date() + timedelta(days=1)


def _minutes(at: datetime) -> int:
    return at.hour * 60 + at.minute


def _at(day: date, clock: time, now: datetime) -> datetime:
    return datetime.combine(day, clock, now.tzinfo)
