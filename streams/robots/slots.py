"""Values that a customer names: a day, a time of day, an amount. A value that is not certain is
left out, because what a customer promised is stored from it."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from ringlog.numerals import NUMERAL, number_of
from streams.robots.times import half_day_of, moment_of

CHINA = timezone(timedelta(hours=8))

LONGEST_TEXT = 500
"""Characters of an utterance in which values are looked for."""

_AMOUNT = re.compile(
    rf"(?P<rough>大概|大约|差不多|不到|最多|最少|至少|将近|几乎|[几多])?(?P<number>{NUMERAL})"
    r"(?P<roughly>多|几|来|左右|上下|出头|以上|以下)?(?P<unit>块钱|块|元|人民币)?"
    r"(?P<after>多|左右|上下|以上|以下|[零一二两三四五六七八九\d])?(?P<end>$|[^\w]|[吧了呢的啊呀可行])?"
)


def slots_of(text: str, at_ms: int, zone: tzinfo = CHINA) -> dict[str, str]:
    """Values in a text that was said at a time (ms since 1970), in the customer's zone: `date`
    (ISO 8601), `half_day`, `time` (HH:MM), `amount` (whole yuan)."""
    plain = "".join(unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).split())
    now = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    day, time = moment_of(plain, now)
    amounts = set(_amounts(plain))
    amount = amounts.pop() if len(amounts) == 1 else None
    found = {
        "date": None if day is None else day.isoformat(),
        "half_day": half_day_of(plain),
        "time": time,
        "amount": None if amount is None else str(amount),
    }
    return {name: value for name, value in found.items() if value is not None}


def _amounts(text: str) -> list[int | None]:
    """Each amount named; None for a rough one."""
    found: list[int | None] = []
    for match in _AMOUNT.finditer(text):
        number = match["number"]
        whole = any(unit in number for unit in "百千万")
        if match["unit"] is None and not (whole and (match["end"] is not None or match["roughly"])):
            continue  # a number of something else
        rough = match["rough"] or match["roughly"] or match["after"]
        found.append(None if rough else number_of(number))
    return found
