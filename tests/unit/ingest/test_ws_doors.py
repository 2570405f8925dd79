"""Doors and URLs: whatever a handshake says, it passes, gets a page, or is refused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from websockets.datastructures import Headers

from ingest.ws.doors import doors_of
from ingest.ws.doors.base import DoorClosed, Handshake, Page
from ingest.ws.doors.twilio import signature
from ingest.ws.server import _asked
from ringlog.settings import Settings

HOME = Path("unused")
TOKEN = "token"
URL = "wss://media.example.com/lines"
ASCII = st.characters(min_codepoint=33, max_codepoint=126)
CONFIG = Settings(
    home=HOME, twilio_auth_token=SecretStr(TOKEN), audiohook_api_key=SecretStr("key"),
    audiohook_secret=SecretStr("c2VjcmV0"),
)  # fmt: skip


def check(name: str, target: str, headers: dict[str, str]) -> Page | None:
    doors = doors_of(CONFIG, URL, lambda call_id: False, lambda phone: "c")
    handshake = Handshake(target, Headers(headers))
    page = doors[name].check(handshake, 1_700_000_000.0)
    if page is None:
        doors[name].greet(handshake)
    return page


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["twilio", "audiohook"]),
    st.sampled_from(["", "/", "/answer", "/answer?", "?", "x"]),
    st.text(ASCII, max_size=60),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(["X-API-KEY", "Signature", "Signature-Input", "Audiohook-Session-Id",
                         "Audiohook-Organization-Id", "X-Twilio-Signature"]),
        st.text(ASCII, max_size=40), max_size=5,
    ),
)  # fmt: skip
def test_any_handshake_is_answered(
    name: str, path: str, more: str, signed: bool, headers: dict[str, str]
) -> None:
    target = f"/media/{name}{path}{more}"
    if signed:
        for scheme in ("https", "wss"):
            public = f"{scheme}://media.example.com/lines/{name}{path}{more}"
            try:
                check(name, target, headers | {"X-Twilio-Signature": signature(TOKEN, public)})
            except DoorClosed as closed:
                assert closed.status >= 400 and closed.reason
    try:
        check(name, target, headers)
    except DoorClosed as closed:
        assert closed.status >= 400 and closed.reason


def test_a_proxys_path_is_what_was_signed() -> None:
    signed = signature(TOKEN, "wss://media.example.com/lines/twilio")
    assert check("twilio", "/media/twilio", {"X-Twilio-Signature": signed}) is None
    url = "https://media.example.com/lines/twilio/answer?CallSid=CA1&campaign_id=a%22%3E"
    page = check(
        "twilio", "/media/twilio/answer?CallSid=CA1&campaign_id=a%22%3E",
        {"X-Twilio-Signature": signature(TOKEN, url)},
    )  # fmt: skip
    assert page is not None and 'url="wss://media.example.com/lines/twilio"' in page.body
    assert "value='a\"&gt;'" in page.body, "what a URL says is text in the TwiML"


def test_too_many_fields_are_refused() -> None:
    config = Settings(home=HOME, audiohook_api_key=SecretStr("key"))
    door = doors_of(config, URL, lambda call_id: False, lambda phone: "c")["audiohook"]
    headers = {"X-API-KEY": "key", "Audiohook-Session-Id": "s", "Audiohook-Organization-Id": "o"}
    assert door.check(Handshake("/media/audiohook?playbook=p", Headers(headers)), 0.0) is None
    with pytest.raises(DoorClosed):
        door.check(Handshake("/media/audiohook?" + "a=b&" * 100, Headers(headers)), 0.0)


def test_a_secret_that_is_no_base64_is_refused() -> None:
    with pytest.raises(ValidationError, match="audiohook_secret"):
        Settings(home=HOME, audiohook_secret=SecretStr("!"))


@settings(max_examples=300, deadline=None)
@given(st.text(ASCII, max_size=80) | st.text(ASCII, max_size=60).map(lambda t: f"/media/{t}"))
def test_any_target_names_a_call_or_nothing(target: str) -> None:
    asked = _asked(target)
    assert asked is None or isinstance(asked.call_id, str)
