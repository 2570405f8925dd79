"""AudioSocket's frames and port, and chan_websocket's words, without Asterisk."""

import asyncio
import contextlib
import json
import uuid
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from ingest.asterisk import audiosocket
from ingest.asterisk.audiosocket import AudioSocketPort
from ingest.asterisk.frames import (
    KIND_SLIN,
    KIND_UUID,
    MAX_PAYLOAD,
    AudioFrame,
    FrameReader,
    FrameRefused,
    framed,
)
from ingest.asterisk.legs import WebSocketLegs
from ingest.ws.admission import Admission
from ingest.ws.dialects.asterisk import AsteriskDialect
from ingest.ws.dialects.asterisk_media import AsteriskCallsDialect, AsteriskMediaDialect
from ingest.ws.dialects.base import ControlMessage, Sound, Wanted, WsRefused
from ingest.ws.doors.asterisk import AsteriskDoor
from ingest.ws.doors.base import DoorClosed, Handshake
from ingest.ws.protocol import WsReader

FRAMES = st.lists(
    st.builds(AudioFrame, st.integers(0, 255), st.binary(max_size=400)), max_size=8
)  # fmt: skip


@given(FRAMES, st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_every_cut(frames: list[AudioFrame], cuts: list[int]) -> None:
    data = b"".join(framed(f.kind, f.payload) for f in frames)
    found: list[AudioFrame] = []
    reader, at, n = FrameReader(), 0, 0
    while at < len(data):
        size = cuts[n % len(cuts)]
        found += reader.feed(data[at : at + size])
        at, n = at + size, n + 1
    assert found == frames


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_no_octets_crash_the_reader_or_fill_it(parts: list[bytes]) -> None:
    reader = FrameReader()
    with contextlib.suppress(FrameRefused):
        for part in parts:
            for frame in reader.feed(part):
                assert len(frame.payload) <= MAX_PAYLOAD


def test_a_frame_that_is_too_long_is_refused_by_its_length() -> None:
    with pytest.raises(FrameRefused):
        list(FrameReader().feed(b"\x10\xff\xff"))


async def _closed(port: int, sent: bytes) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                return await reader.read() == b""
            return True
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", framed(KIND_SLIN, bytes(320)), framed(KIND_UUID, bytes(3)),
     framed(KIND_UUID, uuid.uuid4().bytes), b"", b"\x01"],
)  # fmt: skip
async def test_a_stranger_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audiosocket, "UUID_S", 0.2)
    server = AudioSocketPort(lambda call_id: None, Admission())
    port = await server.start("127.0.0.1", 0)
    server.expect("c1")
    assert await _closed(port, sent)
    for _ in range(50):
        if server.admission.count == 0:
            break
        await asyncio.sleep(0.01)
    assert server.admission.count == 0
    await server.stop()


async def test_too_many_connections_are_closed_at_once() -> None:
    server = AudioSocketPort(lambda call_id: None, Admission(total=1))
    port = await server.start("127.0.0.1", 0)
    _, first = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0.05)
    assert await _closed(port, b"")
    first.close()
    await server.stop()


def test_a_uuid_opens_one_connection() -> None:
    asked: list[str] = []

    def find(call_id: str) -> None:
        asked.append(call_id)

    server = AudioSocketPort(find)
    name = server.expect("c1")
    server.line_of(uuid.UUID(name).bytes)
    server.line_of(uuid.UUID(name).bytes)
    assert asked == ["c1"]
    server.forget(server.expect("c2"))
    assert asked == ["c1"]


def test_keys_and_ends_are_not_told_twice() -> None:
    dialect = AsteriskMediaDialect()
    assert list(dialect.take("DTMF_END digit:5")) == []
    assert dialect.word(ControlMessage("hangup")) is None
    assert dialect.word(ControlMessage("clear")) == "FLUSH_MEDIA"
    assert list(dialect.take(b"\xff" * 160)) == [Sound(b"\xff" * 160)]


def test_commands_are_json_where_asterisk_speaks_json() -> None:
    dialect = AsteriskCallsDialect("c1", "t")
    assert list(dialect.take('{"event":"MEDIA_START","format":"ulaw"}')) == [Wanted("c1", "t")]
    assert dialect.word(ControlMessage("clear")) == '{"command":"FLUSH_MEDIA"}'
    marked = dialect.word(ControlMessage("mark", name="d1"))
    assert marked == '{"command":"MARK_MEDIA","correlation_id":"d1"}'


def test_json_tells_the_same_as_text() -> None:
    for dialect, said in (
        (AsteriskDialect(), ("DTMF_END digit:5", "MEDIA_MARK_PROCESSED correlation_id:d1")),
        (AsteriskDialect(), ('{"event":"DTMF_END","digit":"5"}',
                             '{"event":"MEDIA_MARK_PROCESSED","correlation_id":"d1"}')),
    ):  # fmt: skip
        told = [list(dialect.take(text)) for text in said]
        assert told == [[ControlMessage("dtmf", digits="5")], [ControlMessage("mark", name="d1")]]


def test_a_long_start_with_variables_is_taken() -> None:
    """As JSON it has all variables of the channel."""
    variables = {f"NAME{n}": "x" * 60 for n in range(60)}
    start = json.dumps({"event": "MEDIA_START", "channel_variables": variables})
    reader = WsReader(AsteriskCallsDialect("c1", "t"), 0)
    assert list(reader.take(start, 0)) == [Wanted("c1", "t")]


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(
    st.text(max_size=100)
    | _JSON.map(json.dumps)
    | st.builds(
        lambda event, fields: json.dumps({"event": event} | fields),
        st.sampled_from(["MEDIA_START", "DTMF_END", "MEDIA_MARK_PROCESSED", "MEDIA_XOFF"]) | _JSON,
        st.dictionaries(st.sampled_from(["digit", "correlation_id", "channel_variables"]), _JSON),
    )
)
def test_no_message_crashes_the_dialects(text: str) -> None:
    for dialect in (AsteriskMediaDialect(), AsteriskCallsDialect("c1", "t"), AsteriskDialect()):
        with contextlib.suppress(WsRefused):
            for heard in dialect.take(text):
                assert isinstance(heard, ControlMessage | Wanted)
                if isinstance(heard, ControlMessage):
                    assert isinstance(heard.name, str)


@pytest.mark.parametrize(
    ("client", "form", "asked"),
    [("", False, None), ("", True, "f(json)"), ("media", False, "v(call=c1,token=t)"),
     ("media", True, "v(call=c1,token=t)f(json)")],
)  # fmt: skip
def test_what_asterisk_is_asked_for(client: str, form: bool, asked: str | None) -> None:
    legs = WebSocketLegs(lambda call: None, lambda call: "t", "https://pbx", client, form)
    legs.expect("bridge", "c1", None, "pcmu")
    query = legs.query("bridge", "leg")
    assert query.get("transport_data") == asked
    assert query["external_host"] == (client or "INCOMING")


@pytest.mark.parametrize("first", [b"\xff" * 160, "DTMF_END digit:5", "{}"])
def test_sound_before_the_start_is_refused(first: str | bytes) -> None:
    with pytest.raises(WsRefused):
        AsteriskCallsDialect("c1", "t").take(first)


@pytest.mark.parametrize(
    ("target", "status"),
    [("/media/asterisk", 401), ("/media/asterisk?call=c1", 401), ("/media/asterisk/x", 404),
     (f"/media/asterisk?call={'x' * 300}&token=t", 401),
     ("/media/asterisk?" + "&".join(f"a{n}=1" for n in range(40)), 401)],
)  # fmt: skip
def test_the_door_asks_for_call_and_token(target: str, status: int) -> None:
    with pytest.raises(DoorClosed) as closed:
        AsteriskDoor().check(Handshake(target, Headers()), 0)
    assert closed.value.status == HTTPStatus(status)


@given(st.text(max_size=200))
def test_no_target_crashes_the_door(query: str) -> None:
    with contextlib.suppress(DoorClosed):
        AsteriskDoor().check(Handshake(f"/media/asterisk?{query}", Headers()), 0)
