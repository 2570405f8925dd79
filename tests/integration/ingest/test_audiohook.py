"""Genesys AudioHook over real sockets, by a client that keeps to Genesys' reference."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingest.sound.clock import monotonic_us
from ingest.ws.server import NoSession
from ringlog.settings import Settings
from tests.integration.ingest.doors_world import World, world_of
from tests.integration.ingest.test_transports import TIMEOUT_S, prompt, until

KEY = "the-key-that-genesys-sends"
SECRET = b"a secret of the client"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
QUERY = "campaign_id=autumn&playbook=promotion"
MEDIA = [
    {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
    {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000},
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    def config(_: int) -> Settings:
        return Settings(
            home=tmp_path, audiohook_api_key=SecretStr(KEY),
            audiohook_secret=SecretStr(base64.b64encode(SECRET).decode()),
        )  # fmt: skip

    async with world_of(config) as made:
        yield made


def headers(world: World, session: str, age_s: int = 0, key: str = KEY) -> dict[str, str]:
    """A signed handshake's."""
    covered = {
        "@request-target": f"/media/audiohook?{QUERY}", "@authority": f"127.0.0.1:{world.port}",
        "audiohook-organization-id": ORGANIZATION, "audiohook-session-id": session,
        "audiohook-correlation-id": "corr", "x-api-key": key,
    }  # fmt: skip
    created, nonce = int(time.time()) - age_s, secrets.token_urlsafe(18)
    names = " ".join(f'"{name}"' for name in covered)
    tail = f'({names});keyid="{key}";nonce="{nonce}";alg="hmac-sha256"'
    tail += f";created={created};expires={created + 30}"
    base = "".join(f'"{name}": {value}\n' for name, value in covered.items())
    signed = hmac.new(SECRET, f'{base}"@signature-params": {tail}'.encode(), hashlib.sha256)
    return {name: value for name, value in covered.items() if not name.startswith("@")} | {
        "signature-input": f"sig1={tail}",
        "signature": f"sig1=:{base64.b64encode(signed.digest()).decode()}:",
    }


class Genesys:
    """One session of a client."""

    def __init__(self, peer: ClientConnection, session: str) -> None:
        self.peer, self.session = peer, session
        self.seq = self.serverseq = self.samples = 0
        self.heard: list[bytes] = []
        self.told: list[dict[str, Any]] = []

    async def say(self, kind: str, **parameters: Any) -> None:
        self.seq += 1
        await self.peer.send(json.dumps(
            {"version": "2", "id": self.session, "type": kind, "seq": self.seq,
             "serverseq": self.serverseq, "position": f"PT{self.samples / 8000:.4f}S",
             "parameters": parameters}))  # fmt: skip

    async def open(self, **more: Any) -> None:
        await self.say("open", organizationId=ORGANIZATION, conversationId="conversation-1",
                       participant={"id": "p", "ani": "+8613800000042", "aniName": "", "dnis": ""},
                       media=MEDIA, **more)  # fmt: skip

    async def sound(self, customer: bytes) -> None:
        """Two channels; the agent's is silent."""
        self.samples += len(customer)
        both = bytearray(b"\xff" * (2 * len(customer)))
        both[0::2] = customer
        await self.peer.send(bytes(both))

    async def listen(self) -> None:
        async for message in self.peer:
            if isinstance(message, bytes):
                self.heard.append(message)
                continue
            told: dict[str, Any] = json.loads(message)
            assert told["seq"] == self.serverseq + 1 and told["clientseq"] <= self.seq
            self.serverseq += 1
            self.told.append(told)
            if told["type"] == "disconnect":
                await self.say("close", reason="disconnect")
            if told["type"] == "closed":
                await self.peer.close()

    def kinds(self) -> list[str]:
        return [told["type"] for told in self.told]


def dial(world: World, session: str, **more: Any) -> connect:
    url = f"ws://127.0.0.1:{world.port}/media/audiohook?{QUERY}"
    return connect(url, additional_headers=headers(world, session, **more))


async def test_a_session_is_a_call_and_both_are_heard(world: World) -> None:
    async with dial(world, "s-1") as peer:
        client = Genesys(peer, "s-1")
        listening = asyncio.create_task(client.listen())
        await client.open()
        await until(lambda: client.kinds() == ["opened"])
        assert client.told[0]["parameters"]["media"] == MEDIA[:1]
        assert world.wanted[0].phone == "+8613800000042"
        sent = [bytes([n]) * 800 for n in range(10)]
        for part in sent:
            await client.sound(part)
        await client.say("ping")
        await client.say("dtmf", digit="7")
        session = world.session("conversation-1")
        session.play(prompt("hello", 25))
        await until(lambda: world.owner.sound("customer") == b"".join(sent))
        await until(lambda: b"".join(client.heard) == b"".join(prompt("hello", 25).prompt.frames))
        assert [len(x) for x in client.heard] == [1600, 1600, 800]
        assert world.owner.digits == "7" and "pong" in client.kinds()

        session.play(prompt("long", 500))
        await until(lambda: len(client.heard) > 4)
        session.flush()
        await until(lambda: client.told[-1]["type"] == "event")
        assert client.told[-1]["parameters"]["entities"][0]["type"] == "barge_in"

        session.close(monotonic_us())
        await asyncio.wait_for(listening, TIMEOUT_S)
    assert client.kinds()[-2:] == ["disconnect", "closed"], "the client closes after our disconnect"


async def test_the_client_ends_the_call(world: World) -> None:
    async with dial(world, "s-1") as peer:
        client = Genesys(peer, "s-1")
        listening = asyncio.create_task(client.listen())
        await client.open()
        await until(lambda: client.kinds() == ["opened"])
        await client.say("close", reason="end")
        await asyncio.wait_for(listening, TIMEOUT_S)
    assert client.kinds() == ["opened", "closed"] and world.owner.ends == ["peer"]


async def test_a_drained_edge_asks_for_a_new_session_that_goes_on_with_the_call(
    world: World,
) -> None:
    async with dial(world, "s-1") as peer:
        client = Genesys(peer, "s-1")
        listening = asyncio.create_task(client.listen())
        await client.open()
        await until(lambda: client.kinds() == ["opened"])
        await client.sound(b"\1" * 800)
        stopping = asyncio.create_task(world.server.stop())
        await until(lambda: client.kinds()[-1] == "reconnect")
        await client.say("close", reason="reconnect")
        await asyncio.wait_for(listening, TIMEOUT_S)
        await asyncio.wait_for(stopping, TIMEOUT_S)
    assert world.owner.ends == [] and not world.session("conversation-1").closed

    await world.server.start("127.0.0.1", world.port)  # the successor
    async with dial(world, "s-2") as peer:
        client = Genesys(peer, "s-2")
        listening = asyncio.create_task(client.listen())
        await client.open(continuedSessions=[{"id": "s-1", "serverseq": 2, "clientseq": 2}])
        await until(lambda: client.kinds() == ["opened"])
        await client.sound(b"\2" * 800)
        await until(lambda: world.owner.sound("customer") == b"\1" * 800 + b"\2" * 800)
        await client.say("close", reason="end")
        await asyncio.wait_for(listening, TIMEOUT_S)
    assert len(world.wanted) == 1 and world.owner.ends == ["peer"]


async def test_a_continued_session_without_a_call_opens_none(world: World) -> None:
    async with dial(world, "s-2") as peer:
        client = Genesys(peer, "s-2")
        await client.open(continuedSessions=[{"id": "s-1", "serverseq": 2, "clientseq": 2}])
        assert "no such call" in await disconnected(peer)
    assert world.wanted == []


async def disconnected(peer: ClientConnection) -> str:
    """The info of the `disconnect` before the connection closes."""
    info = ""
    with pytest.raises(ConnectionClosed):
        while True:
            told = json.loads(await asyncio.wait_for(peer.recv(), TIMEOUT_S))
            if told["type"] == "disconnect":
                info = told["parameters"]["info"]
    return info


async def test_a_refusal_is_told(world: World) -> None:
    world.refuse = NoSession("the edge is stopping", 2.0)
    async with dial(world, "s-1") as peer:
        await Genesys(peer, "s-1").open()
        assert "again after 2 s" in await disconnected(peer)
    async with dial(world, "s-1") as peer:
        await Genesys(peer, "other").open()
        assert "another session" in await disconnected(peer)


@pytest.mark.parametrize("more", [{"age_s": 12}, {"key": "wrong"}])
async def test_a_handshake_without_a_right_signature_is_refused(
    world: World, more: dict[str, Any]
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with dial(world, "s-1", **more):
            pass
    assert refused.value.response.status_code == 401


async def test_a_signature_counts_once(world: World) -> None:
    url = f"ws://127.0.0.1:{world.port}/media/audiohook?{QUERY}"
    signed = headers(world, "s-1")
    async with connect(url, additional_headers=signed):
        pass
    with pytest.raises(InvalidStatus):
        async with connect(url, additional_headers=signed):
            pass


async def test_without_a_key_the_door_is_closed(tmp_path: Path) -> None:
    async with world_of(lambda port: Settings(home=tmp_path)) as world:
        with pytest.raises(InvalidStatus) as refused:
            async with dial(world, "s-1"):
                pass
    assert refused.value.response.status_code == 403
