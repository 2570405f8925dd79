"""Days and times of day in Mandarin words; uncertain ones have no value.

Pure functions of the words and of the local time at which they were said. Words that leave a
choice (三点 may be night or day, 周末 is two days, 三点左右 is roughly) give nothing, because a
promise to pay or a call back is stored from what is found here.
"""

import calendar
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from ringlog.numerals import NUMERAL, number_of

_PARTS = {
    "凌晨": "night", "半夜": "night", "夜里": "night", "清晨": "morning", "早晨": "morning",
    "早上": "morning", "今早": "morning", "明早": "morning", "上午": "morning",
    "中午": "noon", "下午": "afternoon", "傍晚": "evening", "晚上": "evening",
    "今晚": "evening", "明晚": "evening",
}  # fmt: skip
_PART = "|".join(_PARTS)
_ROUGHLY = r"(?:差|多|左右|上下|前后|来|几|以后|之后|过后|后)"
_CLOCK = re.compile(
    rf"(?P<part>{_PART})?(?:差(?P<before>{NUMERAL})分钟?)?(?P<hour>{NUMERAL})"
    rf"(?:点钟|点整|点(?!儿)|:)(?:(?P<half>半)|(?P<quarter>[一三])刻|过?(?P<minute>{NUMERAL})(?P<unit>分)?)?"
    rf"(?P<rough>{_ROUGHLY})?"
)
_RANGE = re.compile(rf"[到至或~-]+(?:者|是)?(?={NUMERAL})")

_RELATIVE = re.compile(r"大后天|后天|明[天儿早晚]|今[天儿早晚]")
_AHEAD = {"大后天": 3, "后天": 2, "明": 1, "今": 0}
_DAYS = re.compile(rf"(?P<n>{NUMERAL})(?P<unit>天|周|个?(?:星期|礼拜))(?:后|以后|之后)")
_WEEKDAY = re.compile(
    r"(?P<week>下+个?|这个?|本|上+个?)?(?:星期|礼拜|周)(?P<day>[一二三四五六日天])(?!年|岁|号)"
)
_MONTH_DAY = re.compile(
    rf"(?:(?P<month>{NUMERAL})月(?:份)?|(?P<next>下个?月)|(?P<this>这个?月|本月))?"
    rf"(?P<day>{NUMERAL})[号日](?![码楼线院门店厅])"
)
_MONTH_END = re.compile(r"(?:(?P<next>下个?月)|这个?月|本月|月)(?:底|末)(?:以前|之前|前)")
_SPAN = re.compile(
    rf"(?:(?P<half>半)个?(?:小时|钟头)|(?P<hours>{NUMERAL})个?(?P<and_half>半)?(?:小时|钟头)"
    rf"|(?P<minutes>{NUMERAL})分钟|(?P<quarter>[一三])刻钟)(?:以后|之后|后)"
)


def half_day_of(text: str) -> str | None:
    """morning, noon, afternoon or evening; None: the words name none, or several."""
    found = {_PARTS[part] for part in re.findall(_PART, text)} - {"night"}
    return found.pop() if len(found) == 1 else None


def moment_of(text: str, now: datetime) -> tuple[date | None, str | None]:
    """(day, time of day as HH:MM) that the words name; each is None if ambiguous.

    `now` is the local time at which they were said. The day is never before today.
    """
    if span := _span(text):
        then = now + span
        return then.date(), f"{then:%H:%M}"
    days = set(_days(text, now.date()))
    day = days.pop() if len(days) == 1 else None
    clocks = set(_clocks(text))
    if _RANGE.search(text) or len(clocks) != 1:
        return day, None
    part, minutes = clocks.pop()
    if minutes is None:
        return day, None
    if part == "evening" and minutes >= 24 * 60 and day is not None:
        # 今晚十二点 is the first minute of the next day; 明天晚上一点 may be either.
        day = day + timedelta(days=1) if minutes == 24 * 60 else None
    return day, f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _span(text: str) -> timedelta | None:
    found = list(_SPAN.finditer(text))
    if len(found) != 1:
        return None
    match = found[0]
    if match["half"]:
        return timedelta(minutes=30)
    if match["quarter"]:
        return timedelta(minutes=15 if match["quarter"] == "一" else 45)
    n = number_of(match["hours"] or match["minutes"])
    if n is None or not 0 < n <= 600:
        return None
    if match["minutes"]:
        return timedelta(minutes=n)
    return timedelta(hours=n, minutes=30 if match["and_half"] else 0)


def _clocks(text: str) -> Iterator[tuple[str, int | None]]:
    """(part of the day, minutes since its midnight) of each time; None: it leaves a choice.

    Minutes of 24 hours and more lie behind the midnight that ends the evening.
    """
    for match in _CLOCK.finditer(text):
        part, hour = match["part"] or "", number_of(match["hour"])
        if part == "" and match["hour"] == "一" and not (match["half"] or match["quarter"]):
            continue  # 快一点 and 便宜一点 name no time
        minute = _minute(match)
        full = None if hour is None else _hour(part, hour)
        known = full is not None and minute is not None and match["rough"] is None
        before = number_of(match["before"]) if match["before"] else 0
        if not known or before is None or before > 59:
            yield _PARTS.get(part, ""), None
        else:
            yield _PARTS.get(part, ""), (full or 0) * 60 + (minute or 0) - before


def _minute(match: re.Match[str]) -> int | None:
    if match["half"]:
        return 30
    if match["quarter"]:
        return 15 if match["quarter"] == "一" else 45
    text = match["minute"]
    if text is None:
        return 0
    value = number_of(text.lstrip("零〇") or "零")
    # 三点五 may be half past or five past.
    sure = match["unit"] or len(text) > 1
    return value if sure and value is not None and value < 60 else None


def _hour(part: str, hour: int) -> int | None:
    """The hour of the day, 0 to 28 (over 24: after the midnight that ends an evening)."""
    if hour == 0 or 13 <= hour <= 24:
        fits = part in ("", "晚上", "今晚", "明晚", "下午") or hour == 0
        return hour if fits else None
    match _PARTS.get(part), part:
        case "night", _:
            if hour == 12:
                return 0
            return hour if hour <= 5 else None
        case "morning", "上午":
            return hour if hour >= 4 else None
        case "morning", _:
            return hour if hour < 12 else None
        case "noon", _:
            return {11: 11, 12: 12, 1: 13, 2: 14}.get(hour)
        case "afternoon", _:
            return hour + 12 if hour <= 11 else None
        case "evening", "傍晚":
            return hour + 12 if 4 <= hour <= 8 else None
        case "evening", _:
            return hour + 12 if 5 <= hour <= 12 else hour + 24
    return None


def _days(text: str, today: date) -> Iterator[date | None]:
    """Each day named; None for one that is past or unknown."""
    for match in _RELATIVE.finditer(text):
        word = match[0]
        yield today + timedelta(days=_AHEAD[word if word in _AHEAD else word[0]])
    for match in _DAYS.finditer(text):
        n = number_of(match["n"])
        each = 1 if match["unit"] == "天" else 7
        yield None if n is None or n > 366 else today + timedelta(days=n * each)
    for match in _WEEKDAY.finditer(text):
        yield _weekday(match["week"] or "", "一二三四五六日".find(match["day"].replace("天", "日")),
                       today)  # fmt: skip
    for match in _MONTH_DAY.finditer(text):
        yield _month_day(match, today)
    for match in _MONTH_END.finditer(text):
        month = _month_after(today) if match["next"] else today
        yield month.replace(day=calendar.monthrange(month.year, month.month)[1])


def _weekday(week: str, wanted: int, today: date) -> date | None:
    monday = today - timedelta(days=today.weekday())
    if week.startswith("下"):
        return monday + timedelta(days=7 * week.count("下") + wanted)
    if week.startswith(("这", "本")):
        day = monday + timedelta(days=wanted)
        return day if day >= today else None
    if week.startswith("上") or wanted == today.weekday():
        return None  # 星期二, said on a Tuesday, is today or a week from now
    return today + timedelta(days=(wanted - today.weekday()) % 7)


def _month_day(match: re.Match[str], today: date) -> date | None:
    day = number_of(match["day"])
    month = number_of(match["month"]) if match["month"] else None
    if day is None or not 1 <= day <= 31 or (match["month"] and month is None):
        return None
    if month is not None:
        found = _date(today.year, month, day)
        return found if found and found >= today else _date(today.year + 1, month, day)
    if match["next"]:
        later = _month_after(today)
        return _date(later.year, later.month, day)
    found = _date(today.year, today.month, day)
    if match["this"]:
        return found if found and found >= today else None
    if day >= today.day:
        return found
    later = _month_after(today)
    return _date(later.year, later.month, day)


def _month_after(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
