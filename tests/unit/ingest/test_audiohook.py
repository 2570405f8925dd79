"""AudioHook's messages and signatures: numbers, states, media, and nothing crashes."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers

from ingest.sound.types import format_of
from ingest.ws.dialects.audiohook import GATHERED_FRAMES, NULL_ID, AudioHookDialect
from ingest.ws.dialects.base import ControlMessage, Heard, Reply, Sound, Wanted, WsRefused
from ingest.ws.doors.audiohook import SignatureRefused, checked_nonce

EXTERNAL = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
BOTH = EXTERNAL | {"channels": ["external", "internal"]}
L16 = BOTH | {"format": "L16"}


class Client:
    """Numbers messages as a client does."""

    def __init__(self, given: dict[str, str] | None = None) -> None:
        self.dialect = AudioHookDialect("s-1", "o-1", given or {}, lambda phone: f"c{phone[-2:]}")
        self.seq = 0
        self.serverseq = 0
        self.position = "PT0S"

    def text(self, kind: str, **parameters: Any) -> str:
        self.seq += 1
        return json.dumps(
            {"version": "2", "id": "s-1", "type": kind, "seq": self.seq,
             "serverseq": self.serverseq, "position": self.position, "parameters": parameters}
        )  # fmt: skip

    def say(self, kind: str, **parameters: Any) -> list[Heard]:
        return list(self.dialect.take(self.text(kind, **parameters)))

    def open(self, *media: dict[str, Any], **more: Any) -> list[Heard]:
        return self.say("open", **({
            "organizationId": "o-1", "conversationId": "conversation-1",
            "participant": {"id": "p", "ani": "tel:+8613800000042", "aniName": "", "dnis": ""},
            "media": media or [EXTERNAL],
        } | more))  # fmt: skip

    def opened(self, *media: dict[str, Any], codec: str = "pcmu") -> "Client":
        self.open(*media)
        (text,) = self.dialect.opened(format_of(codec))
        assert json.loads(text)["type"] == "opened"
        self.serverseq += 1
        return self


def told(heard: list[Heard]) -> dict[str, Any]:
    (reply,) = (x for x in heard if isinstance(x, Reply))
    found: dict[str, Any] = json.loads(reply.message)
    return found


def test_the_call_is_the_conversation() -> None:
    assert Client().open() == [Wanted("conversation-1", None)]
    (wanted,) = Client({"campaign_id": "autumn", "playbook": "promotion"}).open()
    assert isinstance(wanted, Wanted) and wanted.session is not None
    assert (wanted.session.phone, wanted.session.customer_id) == ("+8613800000042", "c42")
    told = {"call_id": "c-7", "customer_id": "x", "campaign_id": "a", "playbook": "p"}
    (wanted,) = Client().open(L16, inputVariables=told)
    assert isinstance(wanted, Wanted) and wanted.session is not None
    assert (wanted.call_id, wanted.session.customer_id, wanted.session.codec) == ("c-7", "x", "l16")


def test_a_continued_session_finds_its_call_and_opens_none() -> None:
    continued = [{"id": "s-0", "serverseq": 3, "clientseq": 5}]
    client = Client({"campaign_id": "autumn", "playbook": "promotion"})
    assert client.open(continuedSessions=continued) == [Wanted("conversation-1", None)]


def test_a_probe_is_opened_and_is_no_call() -> None:
    client = Client()
    assert told(client.open(conversationId=NULL_ID))["type"] == "opened"
    assert told(client.say("close", reason="end"))["type"] == "closed"


def test_messages_are_numbered_both_ways() -> None:
    client = Client().opened()
    pong = told(client.say("ping", rtt="PT0.02S"))
    assert (pong["type"], pong["seq"], pong["clientseq"], pong["id"]) == ("pong", 2, 2, "s-1")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seq": 5}, "next"), ({"seq": True}, "whole"), ({"serverseq": 9}, "past"),
        ({"id": "s-2"}, "session"), ({"version": "1"}, "version"),
        ({"position": "PTS"}, "duration"),
        ({"position": "1.5"}, "duration"), ({"parameters": []}, "object"), ({"type": None}, "ver"),
    ],
)  # fmt: skip
def test_a_message_with_wrong_numbers_is_refused(change: dict[str, Any], why: str) -> None:
    client = Client().opened()
    with pytest.raises(WsRefused, match=why):
        list(client.dialect.take(json.dumps(json.loads(client.text("ping")) | change)))


def test_position_does_not_go_back() -> None:
    client = Client().opened()
    client.position = "PT1.5S"
    client.say("ping")
    client.position = "PT1.4S"
    with pytest.raises(WsRefused, match="back"):
        client.say("ping")


@pytest.mark.parametrize(
    "more",
    [
        {"organizationId": "o-2"}, {"conversationId": 1}, {"participant": None}, {"media": {}},
        {"media": [EXTERNAL | {"rate": 16000}]}, {"media": [EXTERNAL | {"channels": ["internal"]}]},
        {"media": [EXTERNAL | {"format": ["PCMU"]}]}, {"continuedSessions": [1]},
        {"inputVariables": {"call_id": 5}}, {"customConfig": {"customer_id": "c"}},
    ],
)  # fmt: skip
def test_an_open_that_is_none_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(WsRefused):
        Client().open(**more)


def test_the_external_channel_is_the_customer() -> None:
    two = Client().opened(EXTERNAL | {"format": "L16"}, BOTH)
    assert list(two.dialect.take(b"\1\2" * 160)) == [Sound(b"\1" * 160)]
    wide = Client().opened(L16, codec="l16")
    assert list(wide.dialect.take(b"\1\2\3\4" * 80)) == [Sound(b"\1\2" * 80)]
    with pytest.raises(WsRefused):
        list(wide.dialect.take(b"\1\2\3"))
    with pytest.raises(WsRefused, match="codec"):
        Client().opened(EXTERNAL, codec="l16")


def test_what_was_discarded_is_a_hole() -> None:
    client = Client().opened()
    client.say("paused")
    assert list(client.dialect.take(bytes(160))) == []
    client.say("resumed", start="PT1S", discarded="PT0.2S")
    client.position = "PT1.2S"
    assert list(client.dialect.take(bytes(160))) == [Sound(bytes(160), 10)]
    client.say("discarded", start="PT1.22S", discarded="PT1S")
    assert list(client.dialect.take(bytes(160))) == [Sound(bytes(160), 50)]


def test_ends() -> None:
    end = Client().opened()
    assert ControlMessage("hangup") in end.say("close", reason="end")
    assert end.dialect.word(ControlMessage("hangup")) is None, "the client has closed already"
    again = Client().opened()
    text = again.dialect.word(ControlMessage("reconnect"))
    assert isinstance(text, str) and json.loads(text)["type"] == "reconnect"
    assert [type(x) for x in again.say("close", reason="reconnect")] == [Reply]
    over = Client().opened().dialect.word(ControlMessage("hangup"))
    assert isinstance(over, str) and json.loads(over)["parameters"] == {"reason": "completed"}


def test_sound_is_gathered_and_a_clear_forgets_it() -> None:
    dialect = Client().opened().dialect
    sent = [dialect.sound(bytes([n]) * 160) for n in range(GATHERED_FRAMES + 3)]
    assert [len(x or b"") for x in sent].count(1600) == 1
    assert dialect.word(ControlMessage("mark", name="x")) == b"".join(
        bytes([n]) * 160 for n in range(GATHERED_FRAMES, GATHERED_FRAMES + 3)
    )
    dialect.sound(bytes(160))
    text = dialect.word(ControlMessage("clear"))
    assert isinstance(text, str)
    assert json.loads(text)["parameters"] == {"entities": [{"type": "barge_in", "data": {}}]}
    assert dialect.word(ControlMessage("mark", name="x")) is None


def test_too_many_messages_are_sent_later() -> None:
    client = Client().opened()
    client.say("error", code=429, message="too many", retryAfter="PT1S")
    sent = [client.dialect.sound(bytes(160)) for _ in range(51)]
    assert sent[:50] == [None] * 50 and len(sent[50] or b"") == 51 * 160


def test_refusals_are_told() -> None:
    text = Client().dialect.refused("the edge is stopping", 2.0)
    assert text is not None
    assert json.loads(text)["parameters"] == {
        "reason": "error", "info": "the edge is stopping; again after 2 s"
    }  # fmt: skip


SIGNED = {
    "Host": "audiohook.example.com",
    "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
    "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "x-api-key": "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh",
    "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
    "signature-input": 'sig1=("@request-target" "@authority" "audiohook-organization-id" '
    '"audiohook-session-id" "audiohook-correlation-id" "x-api-key");'
    'keyid="SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";'
    'alg="hmac-sha256";created=1641013200;expires=3282026430',
}
"""The example of AudioHook's documentation."""

SECRET = base64.b64decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")


def check(
    now_s: float = 1641013205, target: str = "/api/v1/voicebiometrics/ws", **more: str
) -> str:
    headers = Headers(
        {key: more.get(key.replace("-", "_"), value) for key, value in SIGNED.items()}
    )
    return checked_nonce(headers, [target], ["audiohook.example.com"], SECRET, now_s)


def test_the_signature_of_the_documentation() -> None:
    assert check() == "VGhpc0lzQVVuaXF1ZU5vbmNl"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"now_s": 1641013211}, "old"), ({"now_s": 1641013190}, "future"),
        ({"target": "/other"}, "wrong"), ({"x_api_key": "other"}, "keyid"),
        ({"audiohook_session_id": "other"}, "wrong"), ({"signature": "sig1=:AAAA:"}, "wrong"),
        ({"signature": "sig2=:AAAA:"}, "malformed"), ({"signature": "sig1=:!:"}, "malformed"),
        ({"signature_input": "sig1=()"}, "malformed"),
        ({"signature_input": 'sig1=("@authority");keyid="x";created=1'}, "cover"),
    ],
)  # fmt: skip
def test_a_wrong_signature_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(SignatureRefused, match=why):
        check(**more)


ASCII = st.characters(min_codepoint=32, max_codepoint=126)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["signature", "signature_input", "x_api_key"]), st.one_of(
    st.text(ASCII, max_size=60),
    st.tuples(st.integers(0, 300), st.text(ASCII, max_size=2)).map(
        lambda cut: SIGNED["signature-input"][: cut[0]] + cut[1]
        + SIGNED["signature-input"][cut[0] + 1 :]),
))  # fmt: skip
def test_any_header_is_a_right_one_or_refused(name: str, value: str) -> None:
    if value == SIGNED[name.replace("_", "-")]:
        return
    with pytest.raises(SignatureRefused):
        header: dict[str, Any] = {name: value}
        check(**header)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["PT1S", "end", "reconnect", "o-1", "external", "PCMU", "audio", 8000, 429]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["organizationId", "conversationId", "participant", "media", "channels", "format",
             "rate", "type", "continuedSessions", "inputVariables", "call_id", "start",
             "discarded", "reason", "code", "retryAfter", "digit", "ani"]
        ),
        inner, max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(st.one_of(
    st.text(max_size=40), st.binary(max_size=10),
    st.tuples(
        st.sampled_from(["open", "close", "ping", "paused", "resumed", "discarded", "update",
                         "error", "dtmf", "x"]), JSON),
), max_size=5))  # fmt: skip
def test_anything_is_understood_passed_over_or_refused(
    opened: bool, messages: list[str | bytes | tuple[str, Any]]
) -> None:
    client = Client().opened() if opened else Client()
    for message in messages:
        sent = message
        if isinstance(message, tuple):
            text = json.loads(client.text(message[0])) | {"parameters": message[1]}
            sent = json.dumps(text)
        assert not isinstance(sent, tuple)
        try:
            list(client.dialect.take(sent))
        except WsRefused:
            break
