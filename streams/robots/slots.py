"""Slots from words: days, times of day, amounts. Small on purpose; no network, no clock."""

import re
from datetime import UTC, datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8))

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "幺": 1}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_NUMBER = r"[零〇一二两三四五六七八九十百千万\d]+"
_AMOUNT = re.compile(rf"({_NUMBER})(?:元|块)")
_DAYS = re.compile(rf"({_NUMBER})天(?:后|以后|之后)")
_HOUR = re.compile(rf"(上午|早上|中午|下午|晚上)?({_NUMBER})点(半)?")
_HALF_DAYS = {"上午": "morning", "早上": "morning", "中午": "noon", "下午": "afternoon",
              "晚上": "evening"}  # fmt: skip
_RELATIVE = {"大后天": 3, "后天": 2, "明天": 1, "今天": 0}
_WEEKDAY = re.compile(r"(?:星期|礼拜|周)([一二三四五六日天])")


def number_of(text: str) -> int | None:
    """The value of a numeral in characters or digits (二十 is 20, 三千五 is 3500); None: no number.

    >>> number_of("一百零二")
    102
    """
    if text.isdecimal() and text.isascii():
        return int(text)
    if not any(c in _UNITS or c == "万" for c in text):
        digits = [_DIGITS[c] for c in text if c in _DIGITS]
        return int("".join(map(str, digits))) if len(digits) == len(text) and digits else None
    total = section = 0
    digit: int | None = None
    unit = 1
    for c in text:
        if c in _DIGITS:
            digit = _DIGITS[c]
            unit = 1 if digit == 0 else unit
        elif c in _UNITS:
            unit = _UNITS[c]
            section += (1 if digit is None else digit) * unit
            digit = None
        elif c == "万":
            total, section = (total + section + (digit or 0)) * 10_000, 0
            digit, unit = None, 10_000
        else:
            return None
    # In 三千五 the last digit counts the next smaller unit.
    return total + section + (digit or 0) * (unit // 10 if unit > 10 else 1)


def slots_of(text: str, at_ms: int) -> dict[str, str]:
    """Slots in a text that was said at a time (ms since 1970): `date` (ISO 8601), `half_day`,
    `time` (HH:MM), `amount`. Days are counted in China's time zone."""
    found: dict[str, str] = {}
    today = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(CHINA).date()
    if (ahead := _days_ahead(text, today.weekday())) is not None:
        found["date"] = (today + timedelta(days=ahead)).isoformat()
    if match := _HOUR.search(text):
        hour = number_of(match[2])
        # 快一点 is no time of day; 上午一点 is.
        if hour is not None and hour <= 24 and (match[1] or match[2] != "一"):
            late = match[1] in ("下午", "晚上") and hour < 12
            found["time"] = f"{(hour + 12 * late) % 24:02d}:{'30' if match[3] else '00'}"
    half = next((name for word, name in _HALF_DAYS.items() if word in text), None)
    if half is not None:
        found["half_day"] = half
    if (match := _AMOUNT.search(text)) and (amount := number_of(match[1])) is not None:
        found["amount"] = str(amount)
    return found


def _days_ahead(text: str, weekday: int) -> int | None:
    for word, days in _RELATIVE.items():
        if word in text:
            return days
    if match := _DAYS.search(text):
        return number_of(match[1])
    if match := _WEEKDAY.search(text):
        wanted = "一二三四五六日".find(match[1].replace("天", "日"))
        return (wanted - weekday) % 7 or 7
    return None
