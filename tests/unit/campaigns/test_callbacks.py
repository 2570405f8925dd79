"""When a customer wants to be called back: sentences, and any text at all."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringlog.campaigns.callbacks import LONGEST, callback_of
from streams.robots.slots import slots_of

CHINA = timezone(timedelta(hours=8))
NOW = datetime(2026, 11, 27, 10, 20, tzinfo=CHINA)  # a Friday


def asked(text: str, now: datetime = NOW) -> str | None:
    """The time that the words ask for, with `~` where it is rough."""
    ms = round(now.timestamp() * 1_000)
    found = callback_of(text, slots_of(text, ms, now.tzinfo or UTC), ms, now.tzinfo or UTC)
    if found is None:
        return None
    at = datetime.fromtimestamp(found.at_ms / 1_000, now.tzinfo)
    return f"{'' if found.exact else '~'}{at:%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("明天下午三点再打给我", "11-28 15:00"),
        ("半小时后", "11-27 10:50"),
        ("过两个小时再打", "11-27 12:20"),
        ("晚上八点以后", "11-27 20:00"),
        ("下周一上午", "~11-30 10:00"),
        ("等会儿再打", "~11-27 11:20"),
        ("后天上午十点", "11-29 10:00"),
        ("今天晚上七点半", "11-27 19:30"),
        ("下午再打给我", "~11-27 15:00"),
        ("十分钟后打过来", "11-27 10:30"),
        ("两点以后", "11-27 14:00"),
        ("中午十二点半", "11-27 12:30"),
        ("晚点吧", "~11-27 11:20"),
        ("你明天再打吧", "~11-28 10:00"),
        ("我在开会,下午四点左右打", "11-27 16:00"),
        ("过半个钟头", "11-27 10:50"),
        ("三点钟", "11-27 15:00"),
        ("我现在没空,你过二十分钟再打", "11-27 10:40"),
        ("下个礼拜三下午两点", "12-02 14:00"),
        ("明早九点", "11-28 09:00"),
        ("过三天再打", "~11-30 10:00"),
        ("九点", "11-27 21:00"),
        ("上午九点", "11-28 09:00"),
        ("过一个半小时", "11-27 11:50"),
        ("明天中午一点", "11-28 13:00"),
        ("三天后下午三点", "11-30 15:00"),
        ("周三下午四点", "12-02 16:00"),
        ("周末吧", "~11-28 10:00"),
        ("下周再打", "~11-30 10:00"),
        ("下个月五号上午", "~12-05 10:00"),
        ("三个月后再联系", "~02-25 10:00"),
        ("半年以后", "~05-28 10:00"),
        ("我不需要", None),
        ("你们公司有三个点", None),
        ("三年以后再说", None),
        ("", None),
    ],
)
def test_what_customers_ask_for(text: str, at: str | None) -> None:
    assert asked(text) == at


def test_days_are_read_where_the_robots_zone_is_another_one() -> None:
    zone = ZoneInfo("America/New_York")
    said = round(datetime(2026, 11, 27, 10, 20, tzinfo=zone).timestamp() * 1_000)
    for text, at in (("下周一上午十点", (11, 30)), ("十二月三号上午十点", (12, 3))):
        found = callback_of(text, {}, said, zone)
        wanted = datetime(2026, *at, 10, tzinfo=zone)
        assert found is not None and found.at_ms == round(wanted.timestamp() * 1_000)


HELD_OUT = [
    ("我正在开车,一个小时以后打给我吧", "11-27 11:20"),
    ("那就明天上午十点半", "11-28 10:30"),
    ("大后天下午两点一刻", "11-30 14:15"),
    ("今晚九点之后我有空", "11-27 21:00"),
    ("现在不方便,下午五点再联系", "11-27 17:00"),
    ("你十五分钟之后再打过来", "11-27 10:35"),
    ("明晚八点", "11-28 20:00"),
    ("一刻钟后", "11-27 10:35"),
    ("后天吧", "~11-29 10:00"),
    ("稍后再打", "~11-27 11:20"),
    ("等我下班,六点半左右", "11-27 18:30"),
    ("过两天再说", "~11-29 10:00"),
    ("明天早上八点四十", "11-28 08:40"),
    ("傍晚的时候打", "~11-27 19:00"),
    ("12月1号上午十点", "12-01 10:00"),
]
"""Written after the parser, and not used to mend it."""


def test_most_sentences_that_the_parser_never_saw_are_understood() -> None:
    wrong = [(text, at, asked(text)) for text, at in HELD_OUT if asked(text) != at]
    assert len(wrong) <= 2, wrong


DAYS = {"今天": 0, "明天": 1, "后天": 2, "大后天": 3}
PARTS = {"上午": (8, 12, 0), "下午": (1, 7, 12), "晚上": (7, 10, 12)}
HOURS = "零一二三四五六七八九十"


@given(
    st.sampled_from(list(DAYS)), st.sampled_from(list(PARTS)), st.data(),
    st.sampled_from(["", "半", "一刻", "三刻"]),
    st.sampled_from(["再打给我", "吧", "以后", "左右"]),
    st.sampled_from(["Asia/Shanghai", "Asia/Urumqi", "Europe/Paris", "America/New_York"]),
)  # fmt: skip
def test_day_part_and_hour_in_the_customers_zone(
    day: str, part: str, data: st.DataObject, rest: str, tail: str, zone: str
) -> None:
    first, last, add = PARTS[part]
    hour = data.draw(st.integers(first, min(last, 10)))
    now = datetime(2026, 3, 26, 6, 0, tzinfo=ZoneInfo(zone))
    minute = {"": 0, "半": 30, "一刻": 15, "三刻": 45}[rest]
    wanted = datetime(2026, 3, 26, hour + add, minute, tzinfo=ZoneInfo(zone)) + timedelta(
        days=DAYS[day]
    )
    text = f"{day}{part}{HOURS[hour]}点{rest}{tail}"
    ms = round(now.timestamp() * 1_000)
    found = callback_of(text, slots_of(text, ms, ZoneInfo(zone)), ms, ZoneInfo(zone))
    assert found is not None and found.at_ms == round(wanted.timestamp() * 1_000), text


@given(
    st.text(
        alphabet="今明后大天早上午下中晚过半个小时分钟点一二三十两刻以左右再打周月号0123:年",
        max_size=24,
    )
    | st.text(max_size=40),
    st.dictionaries(st.sampled_from(["date", "time", "half_day"]), st.text(max_size=12)),
    st.integers(1_700_000_000, 1_900_000_000),
    st.sampled_from(["Asia/Shanghai", "Europe/Paris", "Australia/Lord_Howe"]),
)
def test_any_text_gives_a_time_ahead_or_none(
    text: str, slots: dict[str, str], at_s: int, zone: str
) -> None:
    for known in (slots, slots_of(text, at_s * 1_000, ZoneInfo(zone))):
        found = callback_of(text, known, at_s * 1_000, ZoneInfo(zone))
        if found is not None:
            assert 0 < found.at_ms - at_s * 1_000 <= LONGEST / timedelta(milliseconds=1)
