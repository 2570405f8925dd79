"""Twilio Media Streams over real sockets, by a far end that keeps to Twilio's documentation."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingest.sound.clock import monotonic_us
from ingest.sound.types import Chunk
from ingest.ws.doors.twilio import signature
from ingest.ws.server import NoSession
from ringlog.settings import Settings
from tests.integration.ingest.doors_world import World, world_of
from tests.integration.ingest.test_transports import TIMEOUT_S, prompt, until

TOKEN = "12345"
ACCOUNT = "AC0123456789"
OPENING = {"customer_id": "c-42", "campaign_id": "autumn", "playbook": "promotion"}


class Rest:
    """Twilio's REST API: remembers which calls were ended, and how."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, str]] = []
        self.answers = [HTTPStatus.OK]
        self.url = ""

    async def end(self, request: web.Request) -> web.Response:
        form = await request.post()
        auth = request.headers.get("Authorization", "")
        assert auth == aiohttp.BasicAuth(ACCOUNT, TOKEN).encode()
        info = request.match_info
        self.ended.append((info["account"], info["call"], str(form["Status"])))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.json_response({"status": "completed"}, status=status)


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    rest, app = Rest(), web.Application()
    app.add_routes([web.post("/2010-04-01/Accounts/{account}/Calls/{call}.json", rest.end)])
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await web.TCPSite(runner, "127.0.0.1", port).start()
    rest.url = f"http://127.0.0.1:{port}"
    yield rest
    await runner.cleanup()


@pytest.fixture
async def world(rest: Rest, tmp_path: Path) -> AsyncIterator[World]:
    def config(port: int) -> Settings:
        return Settings(
            home=tmp_path, twilio_auth_token=SecretStr(TOKEN), twilio_url=rest.url,
            media_url=f"ws://127.0.0.1:{port}/media",
        )  # fmt: skip

    async with world_of(config) as made:
        yield made


class Twilio:
    """The far end of one stream."""

    def __init__(
        self, peer: ClientConnection, call_sid: str = "CA1", *, two_way: bool = True
    ) -> None:
        self.peer = peer
        self.call_sid = call_sid
        self.seq = 0
        self.chunk = 0
        self.queued: list[bytes] = []
        self.heard: list[bytes] = []
        self.marks: list[str] = []
        self.clears = 0
        self.two_way = two_way

    async def say(self, event: str, **parts: object) -> None:
        self.seq += 1
        message = {"event": event, "sequenceNumber": str(self.seq), "streamSid": "MZ1"} | parts
        await self.peer.send(json.dumps(message))

    async def start(self, *tracks: str, **parameters: str) -> None:
        await self.peer.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        await self.say("start", start={
            "streamSid": "MZ1", "accountSid": ACCOUNT, "callSid": self.call_sid,
            "tracks": list(tracks) or ["inbound"], "customParameters": parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        })  # fmt: skip

    async def media(self, sound: bytes) -> None:
        self.chunk += 1
        await self.say("media", media={
            "track": "inbound", "chunk": str(self.chunk), "timestamp": str(self.chunk * 20),
            "payload": base64.b64encode(sound).decode(),
        })  # fmt: skip

    async def listen(self) -> None:
        """Plays at once what comes, and echoes marks, as Twilio does."""
        async for text in self.peer:
            message: dict[str, Any] = json.loads(text)
            assert message["streamSid"] == "MZ1"
            match message["event"]:
                case "media":
                    self.heard.append(base64.b64decode(message["media"]["payload"]))
                case "mark":
                    self.marks.append(message["mark"]["name"])
                    if self.two_way:
                        await self.say("mark", mark=message["mark"])
                case "clear":
                    self.clears += 1
                case other:
                    raise AssertionError(other)


def dial(world: World, token: str = TOKEN) -> connect:
    url = f"ws://127.0.0.1:{world.port}/media/twilio"
    return connect(url, additional_headers={"X-Twilio-Signature": signature(token, url)})


async def test_a_stream_opens_its_session_and_both_are_heard(world: World, rest: Rest) -> None:
    async with dial(world) as peer:
        twilio = Twilio(peer)
        listening = asyncio.create_task(twilio.listen())
        await twilio.start(**OPENING)
        await until(lambda: "CA1" in world.lines)
        assert world.wanted[0].customer_id == "c-42" and world.wanted[0].codec == "pcmu"
        sent = [bytes([n]) * 160 for n in range(50)]
        for frame in sent:
            await twilio.media(frame)
        await twilio.say("dtmf", dtmf={"track": "inbound_track", "digit": "5"})
        session = world.session("CA1")
        session.play(prompt("hello", 20))
        await until(lambda: world.owner.sound("customer") == b"".join(sent))
        await until(lambda: "hello" in twilio.marks)
        said = [s for s in twilio.heard if s != b"\xff" * 160]
        assert said == list(prompt("hello", 20).prompt.frames)
        assert world.owner.digits == "5"

        session.play(prompt("long", 500))
        await until(lambda: len(twilio.heard) > 30)
        session.flush()
        await until(lambda: twilio.clears == 1)
        assert not world.owner.ended()[-1].complete

        # What Twilio left out is a hole of its length, and counted.
        twilio.chunk += 3
        await twilio.media(bytes([99]) * 160)
        await until(lambda: world.owner.sound("customer").endswith(b"\x63" * 160))
        assert sum(c.lost for c in world.owner.logged if isinstance(c, Chunk)) == 3

        session.close(monotonic_us())
        await asyncio.wait_for(listening, TIMEOUT_S)
    await until(lambda: rest.ended == [(ACCOUNT, "CA1", "completed")])


async def test_the_caller_hangs_up(world: World) -> None:
    async with dial(world) as peer:
        twilio = Twilio(peer)
        await twilio.start(**OPENING)
        await until(lambda: "CA1" in world.lines)
        await twilio.say("stop", stop={"accountSid": ACCOUNT, "callSid": "CA1"})
        await until(lambda: world.owner.ends == ["peer"])


async def test_a_hang_up_is_tried_again_and_a_call_that_is_over_is_fine(
    world: World, rest: Rest
) -> None:
    rest.answers = [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND]
    async with dial(world) as peer:
        await Twilio(peer).start(**OPENING)
        await until(lambda: "CA1" in world.lines)
        await until(lambda: world.session("CA1").transport is not None)
        world.session("CA1").close(monotonic_us())
        await until(lambda: len(rest.ended) == 2)


async def test_a_second_stream_goes_on_with_the_call(world: World) -> None:
    for n in range(2):
        async with dial(world) as peer:
            twilio = Twilio(peer)
            await twilio.start(**OPENING)
            for _ in range(10):
                await twilio.media(bytes([n]) * 160)
            await until(lambda n=n: len(world.owner.sound("customer")) == 1600 * (n + 1))  # type: ignore[misc]
        await until(lambda: world.session("CA1").transport is None)
    assert len(world.wanted) == 1 and world.owner.ends == []


async def test_a_stream_that_takes_over_ends_no_call(world: World, rest: Rest) -> None:
    """Twilio has connected again before the first connection is known to be dead."""
    async with dial(world) as first, dial(world) as second:
        await Twilio(first).start(**OPENING)
        await until(lambda: "CA1" in world.lines)
        await until(lambda: world.session("CA1").transport is not None)
        twilio = Twilio(second)
        await twilio.start(**OPENING)
        assert "another connection" in await closed_with(first)
        await twilio.media(bytes(160))
        await until(lambda: world.session("CA1").frames_in == 1)
    assert rest.ended == [] and world.owner.ends == []


@pytest.mark.parametrize("header", [None, signature("other", "ws://x"), ""])
async def test_an_unsigned_handshake_is_refused(world: World, header: str | None) -> None:
    headers = {} if header is None else {"X-Twilio-Signature": header}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{world.port}/media/twilio", additional_headers=headers):
            pass
    assert refused.value.response.status_code == 403


async def closed_with(peer: ClientConnection) -> str:
    with pytest.raises(ConnectionClosed):
        while True:
            await asyncio.wait_for(peer.recv(), TIMEOUT_S)
    return peer.close_reason or ""


async def test_a_one_way_stream_is_refused_with_the_way_out(world: World) -> None:
    async with dial(world) as peer:
        await Twilio(peer).start("inbound", "outbound", **OPENING)
        assert "<Connect>" in await closed_with(peer)
    assert world.lines == {}


async def test_a_stream_that_sends_no_mark_back_is_one_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.ws.dialects.twilio.HELLO_MS", 1_000)
    async with dial(world) as peer:
        twilio = Twilio(peer, two_way=False)
        await twilio.start(**OPENING)
        for _ in range(12):
            await twilio.media(bytes(800))
        assert "<Connect>" in await closed_with(peer)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "no such call"),
        ({"customer_id": "c"}, "campaign_id"),
        (OPENING | {"call_id": ".."}, "call_id"),
    ],
)
async def test_a_call_that_cannot_be_opened_is_refused_with_the_reason(
    world: World, parameters: dict[str, str], reason: str
) -> None:
    async with dial(world) as peer:
        await Twilio(peer).start(**parameters)
        assert reason in await closed_with(peer)


async def test_a_refusal_by_the_edge_is_told(world: World) -> None:
    world.refuse = NoSession("the edge is stopping", 2.0)
    async with dial(world) as peer:
        await Twilio(peer).start(**OPENING)
        assert "stopping" in await closed_with(peer)
        assert peer.close_code == 1013


async def test_a_stream_that_never_starts_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.ws.server.OPEN_S", 0.2)
    async with dial(world) as peer:
        await peer.send('{"event":"connected"}')
        assert "in time" in await closed_with(peer)


async def test_without_an_auth_token_the_calls_own_token_counts(tmp_path: Path) -> None:
    async with world_of(lambda port: Settings(home=tmp_path)) as world:
        world.make("call-1")
        url = f"ws://127.0.0.1:{world.port}/media/twilio"
        async with connect(url) as peer:
            await Twilio(peer).start(call_id="call-1", token="wrong")
            assert "token" in await closed_with(peer)
        async with connect(url) as peer:
            twilio = Twilio(peer)
            await twilio.start(call_id="call-1", token="secret-call-1")
            await twilio.media(bytes(160))
            await until(lambda: world.session("call-1").frames_in == 1)


async def answer_of(world: World, query: str, token: str = TOKEN) -> tuple[int, str]:
    url = f"http://127.0.0.1:{world.port}/media/twilio/answer?{query}"
    headers = {"X-Twilio-Signature": signature(token, url)}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_a_call_to_a_number_is_answered_with_a_stream(world: World) -> None:
    """From the TwiML alone: stream, break, the redirect's stream, and the end."""
    query = "campaign_id=autumn&playbook=promotion&CallSid=CA7&From=%2B8613800000000&To=%2B861"
    status, body = await answer_of(world, query)
    assert status == 200
    twiml = ElementTree.fromstring(body)
    stream = twiml.find("Connect/Stream")
    assert stream is not None and stream.get("url") == f"ws://127.0.0.1:{world.port}/media/twilio"
    given = {p.get("name", ""): p.get("value", "") for p in stream.findall("Parameter")}
    assert given == {
        "campaign_id": "autumn", "playbook": "promotion", "phone": "+8613800000000",
        "customer_id": "caller-0000",
    }  # fmt: skip
    async with dial(world) as peer:
        await Twilio(peer, "CA7").start(**given)
        await until(lambda: "CA7" in world.lines)
    assert world.wanted[0].phone == "+8613800000000"

    again = urlsplit(twiml.findtext("Redirect", ""))
    assert again.path == "/media/twilio/answer"
    assert parse_qs(again.query)["playbook"] == ["promotion"]
    caller = "&CallSid=CA7&From=%2B8613800000000"
    assert "<Connect>" in (await answer_of(world, again.query + caller))[1]
    world.over.add("CA7")
    assert "<Hangup/>" in (await answer_of(world, again.query + caller))[1]
    assert "<Hangup/>" in (await answer_of(world, query + "&streams=5"))[1]


@pytest.mark.parametrize(
    ("query", "token", "status"), [("CallSid=CA1", "other", 403), ("From=1", TOKEN, 400)]
)
async def test_an_answer_is_for_twilio_only(
    world: World, query: str, token: str, status: int
) -> None:
    assert (await answer_of(world, query, token))[0] == status
