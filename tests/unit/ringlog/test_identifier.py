"""Ids that name paths (row R4): refused at the door, or they work everywhere."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from ringlog.identifier import Id

IDS: TypeAdapter[str] = TypeAdapter(Id)


@pytest.mark.parametrize(
    "text",
    ["a/b", "..", ".", "a?b", "a#b", "50%", "a%2Fb", "../../x", "a\\b", "a b", "a|b", "", "a\n",
     "a\x00b", "\u202eabc", "a\u200bb", "\u3000", "x" * 129],
)  # fmt: skip
def test_R4_an_id_that_would_name_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        IDS.validate_python(text)


@pytest.mark.parametrize("text", ["客户一", "call-1", "a.b", "...", "sip:7@host", "é", "x" * 128])
def test_R4_other_ids_are_taken(text: str) -> None:
    assert IDS.validate_python(text) == text


@given(st.text(min_size=1, max_size=40))
def test_R4_an_id_is_one_segment_of_a_path_and_comes_back(text: str) -> None:
    try:
        taken = IDS.validate_python(text)
    except ValidationError:
        return
    url = URL("http://h/media/sessions/" + quote(taken, safe=""), encoded=True)
    assert url.raw_path.count("/") == 3 and not url.query_string and not url.fragment
    assert unquote(url.raw_path.rpartition("/")[2]) == taken
