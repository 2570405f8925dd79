"""Twilio's messages and signatures: what is understood, what is refused, and nothing crashes."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sound.types import PCMU, format_of
from ingest.ws.dialects.base import ControlMessage, Sound, Wanted, WsRefused
from ingest.ws.dialects.twilio import TwilioDialect
from ingest.ws.doors.twilio import signature, signed_urls

START = {
    "event": "start", "sequenceNumber": "1",
    "start": {
        "streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
    },
}  # fmt: skip


def start(**more: Any) -> str:
    return json.dumps(START | {"start": START["start"] | more})  # type: ignore[operator]


def started(proven: bool = True) -> TwilioDialect:
    dialect = TwilioDialect(proven)
    list(dialect.take(start()))
    return dialect


def media(chunk: object, payload: object = base64.b64encode(bytes(160)).decode()) -> str:
    part = {"track": "inbound", "chunk": chunk, "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": "2", "media": part})


def test_the_signature_of_twilios_documentation() -> None:
    posted = {
        "CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234",
        "From": "+14158675309", "To": "+18005551212",
    }  # fmt: skip
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, posted) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_one_url_is_signed_in_several_forms() -> None:
    forms = set(signed_urls("wss://media.example.com/media/twilio"))
    assert forms == {
        f"wss://media.example.com{port}/media/twilio{slash}"
        for port in ("", ":443")
        for slash in ("", "/")
    }
    assert "ws://[::1]:8090/x" in set(signed_urls("ws://[::1]:8090/x"))


def test_the_call_is_named_by_start() -> None:
    assert list(TwilioDialect(True).take(start())) == [Wanted("CA1", None)]
    given = {"call_id": "c-1", "token": "t", "other": "x"}
    assert list(TwilioDialect(False).take(start(customParameters=given))) == [Wanted("c-1", "t")]
    opening = {"customer_id": "c", "campaign_id": "a", "playbook": "p"}
    (wanted,) = TwilioDialect(True).take(start(customParameters=opening))
    assert isinstance(wanted, Wanted) and wanted.session is not None
    assert (wanted.session.call_id, wanted.session.codec) == ("CA1", "pcmu")


@pytest.mark.parametrize(
    "message",
    [
        start(callSid=None), start(accountSid=5), start(tracks=["outbound"]),
        start(mediaFormat={"encoding": "audio/x-l16"}), start(customParameters=["x"]),
        start(customParameters={"call_id": 1}), start(customParameters={"customer_id": "c"}),
        media("1"), '{"event":"start"}', b"\0",
    ],
)  # fmt: skip
def test_a_start_that_is_none_is_refused(message: str | bytes) -> None:
    with pytest.raises(WsRefused):
        list(TwilioDialect(True).take(message))


def test_another_account_is_refused() -> None:
    assert list(TwilioDialect(True, "AC1").take(start()))
    with pytest.raises(WsRefused, match="account"):
        list(TwilioDialect(True, "AC2").take(start()))


def test_gaps_and_repeats() -> None:
    dialect = started()
    assert list(dialect.take(media("1"))) == [Sound(bytes(160), 0)]
    assert list(dialect.take(media("4"))) == [Sound(bytes(160), 2)]
    assert list(dialect.take(media("3"))) == []
    list(dialect.take('{"event":"mark","sequenceNumber":"9","mark":{"name":"x"}}'))
    assert dialect.lost_messages == 6


@pytest.mark.parametrize(
    "message",
    [media("x"), media(-1), media(True), media("9" * 30), media("1", "!"), media("1", 5), start(),
     '{"event":"media","sequenceNumber":"2"}', '{"event":"mark","sequenceNumber":"x","mark":{}}',
     '{"event":"dtmf","sequenceNumber":"2","dtmf":{"digit":"x"}}'],
)  # fmt: skip
def test_a_message_that_is_none_is_refused(message: str) -> None:
    with pytest.raises(WsRefused):
        list(started().take(message))


def test_words() -> None:
    dialect = started()
    assert json.loads(dialect.sound(b"\1\2")) == {
        "event": "media", "streamSid": "MZ1", "media": {"payload": "AQI="}
    }  # fmt: skip
    assert dialect.word(ControlMessage("clear")) == '{"event":"clear","streamSid":"MZ1"}'
    assert dialect.word(ControlMessage("dtmf", digits="1")) is None
    with pytest.raises(WsRefused):
        dialect.opened(format_of("l16"))
    assert "ringlog-hello" in str(dialect.opened(PCMU))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["inbound", "1", "2", "AAAA", "MZ1", "audio/x-mulaw"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["streamSid", "callSid", "accountSid", "tracks", "customParameters", "mediaFormat",
             "encoding", "track", "chunk", "payload", "digit", "name", "call_id", "customer_id"]
        ),
        inner, max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(st.one_of(
    st.text(max_size=40), st.binary(max_size=10),
    st.builds(lambda event, seq, part: json.dumps(
        {"event": event, "sequenceNumber": seq, event: part}),
        st.sampled_from(["start", "media", "dtmf", "mark", "stop", "connected", "x"]),
        st.sampled_from(["1", "2", "", None]), JSON),
), max_size=4))  # fmt: skip
def test_anything_is_understood_passed_over_or_refused(
    after_start: bool, messages: list[str | bytes]
) -> None:
    dialect = started() if after_start else TwilioDialect(True)
    for message in messages:
        try:
            for heard in dialect.take(message):
                assert not isinstance(heard, Sound) or heard.lost >= 0
        except WsRefused:
            pass
