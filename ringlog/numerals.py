"""Chinese numerals as integers; rough numbers are left out."""

import re

NUMERAL = r"(?:\d+(?:\.\d+)?万|\d{1,3}(?:,\d{3})+|\d+|[零〇一二两三四五六七八九十百千万幺]+)"
"""A regular expression for what `number_of` may be able to read."""

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "幺": 1}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_TEN_THOUSANDS = re.compile(r"(\d{1,9})(?:\.(\d{1,4}))?万")
_LONGEST = 20
"""Characters of the longest numeral that is read."""


def number_of(text: str) -> int | None:
    """The value of a numeral in characters or digits (二十 is 20, 三千五 is 3500, 1.5万 is 15000).

    None for anything else, including rough numbers: 两三百, 七八.

    >>> number_of("一百零二")
    102
    """
    if not text or len(text) > _LONGEST:
        return None
    if text.isascii():
        plain = text.replace(",", "")
        return int(plain) if plain.isdecimal() else None
    if match := _TEN_THOUSANDS.fullmatch(text):
        return int(match[1]) * 10_000 + int((match[2] or "").ljust(4, "0"))
    if not any(c in _UNITS or c == "万" for c in text):
        return _spelled(text)
    high, found, low = text.rpartition("万")
    if not found:
        return _section(text, 1)
    above = _section(high, 1)
    if above is None or "万" in high:
        return None
    if not low:
        return above * 10_000
    below = _section(low, 10_000)
    return None if below is None else above * 10_000 + below


def _spelled(text: str) -> int | None:
    """Digit by digit: 二零二五. Two digits without a zero, such as 七八, are a rough number."""
    digits = [_DIGITS[c] for c in text if c in _DIGITS]
    if len(digits) != len(text) or (len(digits) == 2 and 0 not in digits):
        return None
    return int("".join(map(str, digits)))


def _section(text: str, above: int) -> int | None:
    """A value under 10,000 written with 千, 百, 十; a last digit counts the next smaller unit.

    `above` is the unit that stands before it: 10,000 for the 二 of 一万二, else 1.
    """
    total, digit, smallest, zero = 0, None, above if above > 1 else 10_000, False
    for c in text:
        if c in _UNITS:
            unit = _UNITS[c]
            if unit >= smallest or digit == 0 or (digit is None and unit != 10):
                return None
            total += (1 if digit is None else digit) * unit
            digit, smallest, zero = None, unit, False
        elif c in _DIGITS:
            if _DIGITS[c] == 0:
                if digit is not None:
                    return None
                zero = True
            elif digit is not None:
                return None  # 两三百 is two or three hundred
            else:
                digit = _DIGITS[c]
        else:
            return None
    if digit is None:
        return None if zero or not text else total
    # In 三千五 the last digit counts hundreds; in 三千零五 and 五 it counts ones.
    plain = zero or smallest == 10 or (total == 0 and above == 1)
    return total + digit * (1 if plain else smallest // 10)
