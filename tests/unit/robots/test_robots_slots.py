"""D1: days, times of day and amounts at their right value, or none where words leave a choice."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.numerals import number_of
from streams.robots.profile_values import zone_of
from streams.robots.slots import CHINA, slots_of

TUESDAY_MS = int(datetime(2026, 11, 24, 10, tzinfo=CHINA).timestamp() * 1000)
LETTERS = "零一二三四五六七八九十百千万两半点刻分差号月日周下这上今明后天早晚午前元块多:0123456789"


def values(text: str, at_ms: int = TUESDAY_MS) -> tuple[str | None, str | None, str | None]:
    """(date, time, amount)"""
    found = slots_of(text, at_ms)
    return found.get("date"), found.get("time"), found.get("amount")


@pytest.mark.parametrize(
    ("text", "day", "clock"),
    [
        ("今晚八点", "2026-11-24", "20:00"),
        ("明早九点", "2026-11-25", "09:00"),
        ("晚上一点", None, "01:00"),
        ("晚上十二点", None, "00:00"),
        ("中午一点", None, "13:00"),
        ("凌晨一点", None, "01:00"),
        ("下午三点一刻", None, "15:15"),
        ("下午三点四十五", None, "15:45"),
        ("下周三", "2026-12-02", None),
        ("这周五", "2026-11-27", None),
        ("一个半小时以后", "2026-11-24", "11:30"),
        ("十五号", "2026-12-15", None),
        ("月底", None, None),
        # neighbours
        ("后天下午", "2026-11-26", None),
        ("大后天", "2026-11-27", None),
        ("下下周一", "2026-12-07", None),
        ("本月底", None, None),
        ("月底之前", "2026-11-30", None),
        ("下个月底前", "2026-12-31", None),
        ("三号", "2026-12-03", None),
        ("两点半", None, None),
        ("差五分八点", None, None),
        ("晚上差五分八点", None, "19:55"),
        ("晚上八点差五分", None, None),
        ("半小时后", "2026-11-24", "10:30"),
        ("十四个小时之后", "2026-11-25", "00:00"),
        ("一刻钟后", "2026-11-24", "10:15"),
        ("明天", "2026-11-25", None),
        ("周末", None, None),
        ("今晚十二点", "2026-11-25", "00:00"),
        ("明天晚上一点", None, "01:00"),
        ("凌晨十二点", None, "00:00"),
        ("中午十二点", None, "12:00"),
        ("下午12点", None, None),
        ("20:30", None, "20:30"),
        ("二十点三十分", None, "20:30"),
        ("下午三点零五", None, "15:05"),
        ("下午三点五", None, None),
        ("下午三点六十一分", None, None),
        ("下午三四点", None, None),
        ("下午三点左右", None, None),
        ("下午三点以后", None, None),
        ("下午三点到五点", None, None),
        ("明天或者后天", None, None),
        ("周一", "2026-11-30", None),
        ("周二", None, None),
        ("这周一", None, None),
        ("上周五", None, None),
        ("昨天", None, None),
        ("三天后", "2026-11-27", None),
        ("两三天后", None, None),
        ("两周后", "2026-12-08", None),
        ("下个月十五号", "2026-12-15", None),
        ("十二月三号", "2026-12-03", None),
        ("一月三号", "2027-01-03", None),
        ("二月三十号", None, None),
        ("五号楼", None, None),
        ("快一点", None, None),
        ("便宜一点", None, None),
        ("大声一点", None, None),
        ("请您现在方便接电话吗九点", None, None),
    ],
)
def test_D1_days_and_times(text: str, day: str | None, clock: str | None) -> None:
    assert values(text)[:2] == (day, clock)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("两三百块", None), ("三千五", "3500"), ("一万二", "12000"), ("一千二百五", "1250"),
        ("两万", "20000"), ("三百多", None), ("五千元", "5000"), ("5,000元", "5000"),
        ("1.5万", "15000"), ("十几块", None), ("几百块", None), ("大概三百块", None),
        ("三百块左右", None), ("五块五", None), ("三百来块", None), ("不到五百块", None),
        ("先还三千五吧", "3500"), ("一百五十个", None), ("一三八零零一三八零零零", None),
        ("三百块或者五百块", None), ("三百块钱", "300"), ("一万零五元", "10005"),
    ],
)  # fmt: skip
def test_D1_amounts(text: str, amount: str | None) -> None:
    assert values(text)[2] == amount


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("明天下午三点", {"date": "2026-11-25", "half_day": "afternoon", "time": "15:00"}),
        ("预约后天上午", {"date": "2026-11-26", "half_day": "morning"}),
        ("可以", {}),
    ],
)
def test_slots(text: str, slots: dict[str, str]) -> None:
    assert slots_of(text, TUESDAY_MS) == slots
    assert slots_of(" ".join(text), TUESDAY_MS) == slots


def test_D1_days_are_those_of_the_customers_zone() -> None:
    new_york = zone_of({"attributes": {"zone": "America/New_York"}})
    assert new_york == ZoneInfo("America/New_York")
    assert slots_of("今天", TUESDAY_MS, new_york)["date"] == "2026-11-23"
    assert slots_of("半小时后", TUESDAY_MS, new_york)["time"] == "21:30"
    for profile in ({}, {"attributes": {"zone": "../etc"}}, {"attributes": {"zone": "Mars/One"}}):
        assert zone_of(profile) == CHINA


@pytest.mark.parametrize("day", ["2026-01-31", "2026-12-31", "2028-02-29"])
def test_month_ends_are_no_trap(day: str) -> None:
    at = int(datetime.fromisoformat(f"{day}T10:00:00+08:00").timestamp() * 1000)
    for text in ("三十号", "下个月三十一号", "月底前", "三天后", "二月二十九号"):
        found = values(text, at)[0]
        assert found is None or found >= day


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet=LETTERS, max_size=14)
    | st.text(max_size=60),
    st.integers(0, 4_000_000_000_000),
)  # fmt: skip
def test_D1_any_words_give_a_valid_value_or_none(text: str, at_ms: int) -> None:
    found = slots_of(text, at_ms)
    assert found == slots_of(text, at_ms)
    today = datetime.fromtimestamp(at_ms / 1000, CHINA).date().isoformat()
    if "date" in found:
        assert datetime.fromisoformat(found["date"]).date().isoformat() >= today
    if "time" in found:
        assert f"{time.fromisoformat(found['time']):%H:%M}" == found["time"]
    assert int(found.get("amount", "0")) >= 0


@pytest.mark.parametrize(
    ("text", "number"),
    [("二十", 20), ("十", 10), ("一百零二", 102), ("三千五", 3500), ("两万三千", 23_000), ("五", 5),
     ("二零二五", 2025), ("138", 138), ("九十九", 99), ("一万零五", 10_005), ("三百五", 350),
     ("一千零五十", 1050), ("十五万", 150_000), ("1.5万", 15_000), ("二十五", 25),
     ("元", None), ("", None), ("两三百", None), ("七八", None), ("百", None), ("三百五千", None),
     ("十十", None), ("一万万", None), ("零", 0), ("九" * 30, None)],
)  # fmt: skip
def test_numbers(text: str, number: int | None) -> None:
    assert number_of(text) == number
