"""Signatures of webhooks: the specification's own example, and whatever is not signed."""

import base64

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ringlog.webhooks import (
    ID,
    SIGNATURE,
    TIMESTAMP,
    WINDOW_S,
    NotSigned,
    headers_of,
    keys_of,
    signature,
    verified_id,
)

KEY, OTHER = b"k" * 32, b"o" * 32
NOW = 1_700_000_000


def test_the_example_of_the_specification_holds() -> None:
    (key,) = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    given = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body) == given


def test_what_one_of_the_keys_has_signed_is_good() -> None:
    headers = headers_of(KEY, "m1", NOW, b"body")
    assert verified_id([OTHER, KEY], headers, b"body", NOW + WINDOW_S) == "m1"
    several = headers | {SIGNATURE: f"v1,AAAA {headers[SIGNATURE]} v1a,x"}
    assert verified_id([KEY], several, b"body", NOW) == "m1"


@pytest.mark.parametrize(
    ("changed", "body", "now_s"),
    [
        ({}, b"body!", NOW),
        ({}, b"body", NOW + WINDOW_S + 1),
        ({}, b"body", NOW - WINDOW_S - 1),
        ({ID: "m2"}, b"body", NOW),
        ({ID: ""}, b"body", NOW),
        ({ID: "m.1"}, b"body", NOW),
        ({TIMESTAMP: str(NOW + 1)}, b"body", NOW),
        ({TIMESTAMP: f"{NOW}.0"}, b"body", NOW),
        ({SIGNATURE: ""}, b"body", NOW),
        ({SIGNATURE: "v1,é"}, b"body", NOW),
    ],
)
def test_anything_else_is_not(changed: dict[str, str], body: bytes, now_s: int) -> None:
    with pytest.raises(NotSigned):
        verified_id([KEY], headers_of(KEY, "m1", NOW, b"body") | changed, body, now_s)


def test_no_key_verifies_nothing() -> None:
    with pytest.raises(NotSigned):
        verified_id([], headers_of(KEY, "m1", NOW, b""), b"", NOW)


@pytest.mark.parametrize("secret", ["whsec_short", "whsec_!!", base64.b64encode(b"x").decode()])
def test_a_weak_or_broken_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        keys_of(secret)


@effort(max_examples=100, deadline=None)
@given(st.text(), st.text(), st.text(), st.binary())
def test_any_headers_are_refused(one: str, two: str, three: str, body: bytes) -> None:
    with pytest.raises(NotSigned):
        verified_id([KEY], {ID: one, TIMESTAMP: two, SIGNATURE: three}, body, NOW)
