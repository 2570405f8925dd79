"""Values of a customer's profile within a spoken prompt: amounts, dates, digits.

A prompt's sound is made before the call, a customer's values are not known then. So each value is
read out in Mandarin from a few dozen pieces that every voice can have (一千 二百 三十 四 元), and
the edge joins the pieces. `{amount_due:amount}` in a text stands for an attribute and its kind.
Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from streams.robots.profile_values import value_of

SPOKEN: Final = re.compile(r"\{([a-z][a-z0-9_]{0,39}):(amount|date|digits)\}")

MOST_YUAN: Final = 10**8
"""Amounts from here on are no consumer's."""

_DIGITS: Final = "零一二三四五六七八九"
_UNITS: Final = ("", "十", "百", "千")
_READ_ALONE: Final = "零幺二三四五六七八九"
"""Digits one by one, as on the telephone: 幺 is not taken for 七."""

MOST_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class Filled:
    """A text with its values: as it is written, and the pieces that it is spoken in."""

    text: str
    pieces: tuple[str, ...]


def vocabulary(kind: str) -> tuple[str, ...]:
    """Every piece that a kind of value is made of."""
    match kind:
        case "amount":
            counted = (f"{n}{unit}" for unit in "百千" for n in _DIGITS[1:] + "两" if n != "二")
            tens = ("十", *(f"{n}十" for n in _DIGITS[1:]))
            return (*_DIGITS, "两", *tens, *counted, "万", "元", "角", "分")
        case "date":
            months = (f"{_number(n)}月" for n in range(1, 13))
            return (*months, *(f"{_number(n)}号" for n in range(1, 32)))
        case _:
            return tuple(_READ_ALONE)


def has_values(text: str) -> bool:
    """Whether a prompt's text has values to speak."""
    return SPOKEN.search(text) is not None


def pieces_needed(text: str) -> tuple[str, ...]:
    """Everything that must have a sound so that the text can be spoken: the whole text where it has
    no values, otherwise its fixed parts and the pieces of its kinds of value."""
    if not has_values(text):
        return (text,)
    kinds = dict.fromkeys(kind for _, kind in SPOKEN.findall(text))
    fixed = (part for part, _, _ in _parts(text) if part)
    return tuple(dict.fromkeys((*fixed, *(p for kind in kinds for p in vocabulary(kind)))))


def fill(text: str, profile: Mapping[str, Any]) -> Filled | None:
    """The text for a customer; None when the profile lacks a value, or has one that cannot be read
    out."""
    written, pieces = "", list[str]()
    for part, name, kind in _parts(text):
        if part:
            written += part
            pieces.append(part)
            continue
        value = value_of(profile, name)
        read = None if value is None else _read_out(kind, value)
        if read is None:
            return None
        written += "".join(read)
        pieces += read
    return Filled(written, tuple(pieces))


def _parts(text: str) -> list[tuple[str, str, str]]:
    """(fixed text, "", "") or ("", attribute, kind), in order. Fixed text without a word to say,
    such as a comma, belongs to no part."""
    out, at = [], 0
    for match in SPOKEN.finditer(text):
        out.append((text[at : match.start()], "", ""))
        out.append(("", match[1], match[2]))
        at = match.end()
    out.append((text[at:], "", ""))
    return [p for p in out if p[1] or re.search(r"\w", p[0])]


def _read_out(kind: str, value: str) -> list[str] | None:
    match kind:
        case "amount":
            return _amount(value)
        case "date":
            return _date(value)
        case _:
            sayable = value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS
            return [_READ_ALONE[int(digit)] for digit in value] if sayable else None


def _amount(value: str) -> list[str] | None:
    """Yuan, with 角 and 分 where there are any: 1234.50 is 一千 二百 三十 四 元 五 角."""
    try:
        amount = Decimal(value.replace(",", ""))
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < MOST_YUAN or amount != round(amount, 2):
        return None
    cents = int(amount * 100)
    yuan, jiao, fen = cents // 100, cents // 10 % 10, cents % 10
    said = [*_counted(yuan), "元"] if yuan or not cents else []
    if jiao:
        said += [_few(jiao), "角"]
    if fen:
        said += [*(["零"] if yuan and not jiao else []), _few(fen), "分"]
    return said


def _few(n: int) -> str:
    return "两" if n == 2 else _DIGITS[n]


def _counted(n: int) -> list[str]:
    """Pieces of a number below 10^8 before a unit: 2 is 两, 200 两百, 20 二十, 20000 两 万."""
    if n <= 2:
        return [("零", "一", "两")[n]]
    high, low = divmod(n, 10_000)
    said = [*_below_10000(high, alone=True), "万"] if high else []
    if high and low and low < 1_000:
        said.append("零")
    return said + (_below_10000(low, alone=not high) if low else [])


def _below_10000(n: int, *, alone: bool) -> list[str]:
    if n == 2 and alone:
        return ["两"]
    said, gap = list[str](), False
    for power in (3, 2, 1, 0):
        digit = n // 10**power % 10
        if not digit:
            gap = gap or bool(said)
            continue
        if gap:
            said.append("零")
            gap = False
        if power == 1 and digit == 1 and not said and alone:
            said.append("十")
        elif power >= 2 and digit == 2:
            said.append("两" + _UNITS[power])
        else:
            said.append(_DIGITS[digit] + _UNITS[power])
    return said


def _number(n: int) -> str:
    """A number up to 99 in one word."""
    tens, ones = divmod(n, 10)
    return (
        ("" if tens < 2 else _DIGITS[tens])
        + ("十" if tens else "")
        + (_DIGITS[ones] if ones or not tens else "")
    )


def _date(value: str) -> list[str] | None:
    """Month and day of an ISO 8601 date."""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    return [f"{_number(day.month)}月", f"{_number(day.day)}号"]
