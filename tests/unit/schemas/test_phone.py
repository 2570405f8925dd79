"""One line, one number: every spelling has one E.164 form and one hash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.phone import InvalidNumber, Numbers, e164

MOBILE = "13800138000"
NUMBERS = Numbers("CN", b"site key")


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c in "+0123456789()-" else c for c in text)


@st.composite
def spellings(draw: st.DrawFn, national: str = MOBILE) -> str:
    """A number as people write it: prefix, separators between digits, scripts."""
    prefix = draw(st.sampled_from(["", "+86", "0086", "+86 ", "(+86)", "tel:+86"]))
    separators = st.sampled_from(["", "", " ", "-", "\u2013", "\u3000", "."])
    digits = "".join(d + draw(separators) for d in national[:-1]) + national[-1]
    text = prefix + digits
    return _full_width(text) if draw(st.booleans()) and not text.startswith("tel:") else text


@given(spellings())
def test_R1_every_spelling_of_a_line_has_one_hash(text: str) -> None:
    assert e164(text, "CN") == f"+86{MOBILE}"
    assert NUMBERS.hash(text) == NUMBERS.hash(f"+86{MOBILE}")


@pytest.mark.parametrize(
    "text",
    ["+8613800138000", "+86 138-0013-8000", "8613800138000", "0086 13800138000", "013800138000"],
)
def test_R1_the_spellings_of_the_field_report(text: str) -> None:
    assert e164(text, "CN") == "+8613800138000"


def test_R1_a_landline_is_one_line_too() -> None:
    forms = {e164(text, "CN") for text in ("02168881234", "+862168881234", "(021) 6888-1234")}
    assert forms == {"+862168881234"}


@pytest.mark.parametrize("text", ["110", "120", "119", "911", "112", "10086", "12345"])
def test_emergency_and_short_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidNumber):
        e164(text, "CN")


@given(spellings())
def test_an_old_hash_still_protects(text: str) -> None:
    old = Numbers("CN", b"site key")._digest(MOBILE)
    assert old in NUMBERS.hashes(text)


@given(st.text(max_size=80))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        assert e164(text, "CN").startswith("+")
    except InvalidNumber:
        assert len(NUMBERS.hash(text)) == 64


def test_a_refusal_never_repeats_the_number() -> None:
    for text in ("1380013800", "+8699912345678", "13800138000x"):
        with pytest.raises(InvalidNumber) as refused:
            e164(text, "CN")
        assert text.strip("+x") not in str(refused.value)
