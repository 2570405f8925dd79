"""A customer's values within a spoken prompt: how they read, what is refused, what is published."""

from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringlog.audio.prompts import prompt_path, prompt_sha256
from ringlog.numerals import number_of
from ringlog.settings import Settings, root
from ringlog.yaml_source import InvalidFile
from streams.robots.library import Library
from streams.robots.loading import Script, load
from streams.robots.publish import _make_prompts
from streams.robots.spoken import MOST_YUAN, Filled, fill, pieces_needed, vocabulary
from tests.unit.robots.robot_talk import Log, published

BOOK = (root() / "playbooks" / "collections.yaml").read_text(encoding="utf-8")


def read(kind: str, value: object) -> str | None:
    filled = fill(f"{{v:{kind}}}", {"attributes": {"v": value}})
    return None if filled is None else "|".join(filled.pieces)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0", "零|元"),
        ("2", "两|元"),
        ("10", "十|元"),
        ("12", "十|二|元"),
        ("101", "一百|零|一|元"),
        ("110", "一百|一十|元"),
        ("200", "两百|元"),
        ("1005", "一千|零|五|元"),
        ("2020", "两千|零|二十|元"),
        ("10001", "一|万|零|一|元"),
        ("20000", "两|万|元"),
        ("110000", "十|一|万|元"),
        ("1,234.50", "一千|两百|三十|四|元|五|角"),
        ("3.05", "三|元|零|五|分"),
        ("0.2", "两|角"),
        (5000, "五千|元"),
    ],
)
def test_amounts_read_as_people_say_them(value: object, said: str) -> None:
    assert read("amount", value) == said


@pytest.mark.parametrize(
    "value",
    ["-1", "1.234", "NaN", "Infinity", "", "五千", "1e30", str(MOST_YUAN), True, None, 1.5],
)
def test_what_is_no_amount_is_not_read(value: object) -> None:
    assert read("amount", value) is None


@given(st.integers(0, MOST_YUAN * 100 - 1))
def test_every_amount_is_made_of_the_vocabulary_and_means_itself(cents: int) -> None:
    said = read("amount", str(Decimal(cents) / 100))
    assert said is not None
    pieces = said.split("|")
    assert set(pieces) <= set(vocabulary("amount"))
    yuan = "".join(pieces).partition("元")[0] if "元" in pieces else ""
    assert (number_of(yuan) if yuan else 0) == cents // 100


def test_dates_and_digits() -> None:
    assert read("date", "2026-12-31") == "十二月|三十一号"
    assert read("date", "2026-02-30") is None
    assert read("digits", "6217") == "六|二|幺|七"
    assert read("digits", "62a") is None
    assert read("digits", "１２") is None


def test_the_text_around_is_kept_and_a_lone_comma_is_no_part() -> None:
    profile = {"attributes": {"amount_due": "1200", "due_date": "2026-12-05"}}
    text = "您应还{amount_due:amount}，{due_date:date}到期。"
    assert fill(text, profile) == Filled(
        "您应还一千两百元十二月五号到期。",
        ("您应还", "一千", "两百", "元", "十二月", "五号", "到期。"),
    )
    assert fill(text, {}) is None
    assert pieces_needed("您好") == ("您好",)
    needed = pieces_needed(text)
    assert needed[:2] == ("您应还", "到期。") and set(vocabulary("date")) <= set(needed)


# -- in a playbook


def changed(prompt: str, language: str = "zh-CN") -> str:
    """The collections playbook with another prompt of what is due."""
    before, _, rest = BOOK.partition("  amount:\n")
    assert rest
    after = rest.partition("  promised:")[2]
    return f"{before.replace('zh-CN', language)}  amount:\n{prompt}  promised:{after}"


GOOD = """\
    discloses: true
    text: 您应还{due:amount}，请问您什么时候可以还款
    otherwise: 请以您的账单为准
"""


@lru_cache
def script() -> Script:
    return load(changed(GOOD))


def asked(profile: str) -> tuple[str | None, list[str]]:
    """What a confirmed customer hears who asks how much it is."""
    library = Library()
    library.evolve(published(script()))
    log = Log(library=library)
    log.dial(profile, playbook="collections", robot_id="r1")
    log.play(log.answer())
    log.play(log.say("是的我是本人"))
    (said,) = [d for d in log.say("我要还多少钱") if d.kind == "say"]
    return said.text, said.prompt_parts


def test_a_customer_hears_their_own_amount_piece_by_piece() -> None:
    text, parts = asked('{"attributes": {"due": "1200"}}')
    assert text == "您应还一千两百元，请问您什么时候可以还款"
    voice = script().playbook.voice
    pieces = ["您应还", "一千", "两百", "元", "，请问您什么时候可以还款"]
    assert parts == [prompt_sha256(voice, piece) for piece in pieces]


@pytest.mark.parametrize("profile", ["{}", '{"attributes": {"due": "a lot"}}'])
def test_without_the_value_the_other_text_is_heard(profile: str) -> None:
    assert asked(profile) == ("请以您的账单为准", [])


def test_publishing_makes_every_piece(tmp_path: Path) -> None:
    config = Settings(home=tmp_path)
    voice = script().playbook.voice
    _make_prompts(config, script(), [voice], lambda _: None)
    _, parts = asked('{"attributes": {"due": "98765432.10"}}')
    assert parts
    assert all(prompt_path(config, part).is_file() for part in parts)
    assert prompt_path(config, prompt_sha256(voice, "请以您的账单为准")).is_file()


@pytest.mark.parametrize(
    ("prompt", "language", "fault"),
    [
        (GOOD.replace("    discloses: true\n", ""), "zh-CN", "speaks a value of the customer"),
        (GOOD.partition("    otherwise")[0], "zh-CN", "nothing to say to a customer without"),
        (GOOD.replace("账单", "{due:amount}"), "zh-CN", "nothing to say to a customer without"),
        (GOOD.replace(":amount", ""), "zh-CN", "does not say how it is read out"),
        (GOOD.replace(":amount", ":money"), "zh-CN", "does not say how it is read out"),
        (GOOD, "en-GB", "in Mandarin only"),
    ],
)
def test_an_unsafe_value_is_refused(prompt: str, language: str, fault: str) -> None:
    with pytest.raises(InvalidFile, match=fault):
        load(changed(prompt, language))
