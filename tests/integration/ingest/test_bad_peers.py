"""1,000 connections of every kind of bad peer, on the media port beside a call, and on the control
port.

Afterwards no connection is left, nor its memory, nor its descriptor; the call has lost nothing.
"""

import asyncio
import gc
import os
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from websockets.asyncio.client import connect

from ingest.control import Control
from ingest.edge import Edge
from ingest.ws import server as ws_server
from ingest.ws.admission import Admission
from ingest.ws.dialects.base import Dialect
from ingest.ws.dialects.twilio import TwilioDialect
from ingest.ws.doors.base import Handshake, Page
from ringlog import health
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from ringlog.site_key import edge_control_key
from schemas.registry import MemoryRegistry
from schemas.wire import Codec
from tests.integration.ingest.doors_world import World, world_of
from tests.integration.ingest.test_transports import until

PEERS = 1_000
AT_ONCE = 500
WARM_UP = 50
SLACK_BYTES = 1_500_000
"""What tables and pools may have grown by; 1,000 leaked connections are 20 times as much."""


def upgrade(path: str, *more: str) -> bytes:
    head = [
        f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *more,
    ]  # fmt: skip
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame (RFC 6455 section 5.2) whose mask is zero."""
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    else:
        length = b"\xfe" + struct.pack(">H", len(payload))
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


CALL = "/media/call-{n}?token=secret-call-{n}"

MEDIA: dict[str, Callable[[int], bytes]] = {
    "half_open": lambda n: b"",
    "slow": lambda n: upgrade("/media/x")[: n % 60 + 1],
    "garbage": lambda n: os.urandom(300),
    "garbage_lines": lambda n: os.urandom(20) + b"\r\n\r\n",
    "oversize_head": lambda n: b"GET /" + b"a" * 20_000,
    "oversize_headers": lambda n: upgrade("/media/x", *[f"x-{k}: y" for k in range(300)]),
    "no_websocket": lambda n: b"GET /media/twilio/answer HTTP/1.1\r\nHost: x\r\n\r\n",
    "wrong_token": lambda n: upgrade(f"/media/call-{n % 9}?token=wrong"),
    "unsigned": lambda n: upgrade("/media/twilio"),
    "unknown_key": lambda n: upgrade("/media/audiohook", "X-API-KEY: x"),
    "mute_behind_a_door": lambda n: upgrade("/media/open"),
    "garbage_frames": lambda n: upgrade(CALL.format(n=n % 9)) + os.urandom(200),
    "garbage_text": lambda n: upgrade(CALL.format(n=n % 9)) + frame(1, b"nonsense"),
    "no_utf8": lambda n: upgrade(CALL.format(n=n % 9)) + frame(1, b"\xff\xfe"),
    "oversize_sound": lambda n: upgrade(CALL.format(n=n % 9)) + frame(2, bytes(5_000)),
    "oversize_frame": lambda n: upgrade(CALL.format(n=n % 9)) + frame(2, bytes(40_000)),
    "too_fast": lambda n: upgrade(CALL.format(n=n % 9)) + frame(2, bytes(800)) * 30,
    "answers_no_ping": lambda n: upgrade(CALL.format(n=n % 9)),
}  # fmt: skip

KEYED = (
    b"POST /media/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer KEY\r\n"
)

CONTROL: dict[str, Callable[[int], bytes]] = {
    "half_open": lambda n: b"",
    "slow": lambda n: b"POST /media/sessions HT"[: n % 20 + 1],
    "garbage": lambda n: os.urandom(300),
    "oversize_head": lambda n: b"GET /" + b"a" * 20_000,
    "no_key": lambda n: KEYED.replace(b"KEY", b"x") + b"Content-Length: 0\r\n\r\n",
    "body_that_never_comes": lambda n: KEYED + b"Content-Length: 900\r\n\r\n{",
    "oversize_body": lambda n: KEYED + b"Content-Length: 99999999\r\n\r\n" + bytes(1000),
}  # fmt: skip


async def attack(port: int, say: Callable[[int], bytes], peers: int) -> None:
    """Connections that say their piece, read what comes, and never hang up themselves."""

    async def one(n: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(say(n))
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    for first in range(0, peers, AT_ONCE):
        async with asyncio.timeout(60):
            await asyncio.gather(*(one(n) for n in range(first, min(first + AT_ONCE, peers))))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settled(port: int, say: Callable[[int], bytes], held: Callable[[], int]) -> None:
    """Attacks once to warm up and once to measure; everything has to be back."""
    before_held = held()
    await attack(port, say, WARM_UP)
    await until(lambda: held() == before_held)
    gc.collect()
    files, memory = descriptors(), tracemalloc.get_traced_memory()[0]
    await attack(port, say, PEERS)
    await until(lambda: held() == before_held)
    await asyncio.sleep(0.05)
    gc.collect()
    assert descriptors() <= files + 2
    assert tracemalloc.get_traced_memory()[0] - memory < SLACK_BYTES


@pytest.fixture(scope="module", autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


class OpenDoor:
    """Lets everybody in, who then has to name a call."""

    def check(self, handshake: Handshake, now_s: float) -> Page | None:
        return None

    def greet(self, handshake: Handshake) -> Dialect:
        return TwilioDialect(False)

    async def end(self, dialect: Dialect) -> None:
        pass


@pytest.fixture
async def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """With patience of a fraction of a second, but for pings where that is not the question: peers
    and server share one event loop here."""
    patient = "ping" not in request.node.name and "mixed" not in request.node.name
    monkeypatch.setattr(ws_server, "OPEN_S", 0.3)
    monkeypatch.setattr(ws_server, "CLOSE_S", 0.2)
    monkeypatch.setattr(ws_server, "PING_S", 0.1)
    monkeypatch.setattr(ws_server, "PONG_S", 60.0 if patient else 4.0)

    def config(_: int) -> Settings:
        return Settings(
            home=tmp_path, twilio_auth_token=SecretStr("t"), audiohook_api_key=SecretStr("k")
        )

    async with world_of(config) as made:
        made.server._doors = {**made.server._doors, "open": OpenDoor()}
        for n in range(9):
            made.make(f"call-{n}")
        yield made


def mixed(kinds: dict[str, Callable[[int], bytes]]) -> Callable[[int], bytes]:
    """Every kind in turn."""
    of = list(kinds.values())
    return lambda n: of[n % len(of)](n // len(of))


@pytest.mark.parametrize(
    "say",
    [pytest.param(mixed(MEDIA), id="mixed"), *(
        pytest.param(say, id=kind, marks=pytest.mark.heavy) for kind, say in MEDIA.items()
    )],
)  # fmt: skip
async def test_bad_peers_of_the_media_port(world: World, say: Callable[[int], bytes]) -> None:
    good = world.make("good")
    sent = 0
    async with connect(f"ws://127.0.0.1:{world.port}/media/good?token=secret-good") as peer:

        async def talk() -> None:
            nonlocal sent
            while True:
                await peer.send(b"\x55" * 160)
                sent += 1
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(talk())
        await until(lambda: good.session.frames_in > 0)
        await settled(world.port, say, lambda: world.server.admission.count)
        talking.cancel()
        await until(lambda: good.session.frames_in == sent)
        assert good.session.transport is not None and not good.session.closed
    assert all(world.session(f"call-{n}").transport is None for n in range(9))


@pytest.fixture
async def control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[int, web.AppRunner]]:
    monkeypatch.setattr(health, "HEAD_S", 1.0)
    monkeypatch.setattr(health, "KEEP_ALIVE_S", 0.5)
    monkeypatch.setattr(health, "LINGER_S", 0.2)
    monkeypatch.setattr("ingest.control.BODY_S", 0.5)
    config = Settings(home=tmp_path)
    edge = Edge(Lifecycle("edge", config), Codec(MemoryRegistry()))
    edge.life.health.set_ready()
    app = web.Application()
    Control(edge).add_routes(app)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    runner = await health.serve(app, "127.0.0.1", port)
    monkeypatch.setattr(
        "tests.integration.ingest.test_bad_peers.KEYED",
        KEYED.replace(b"KEY", edge_control_key(config).encode()),
    )
    yield port, runner
    await runner.cleanup()
    await edge.optouts.stop()


@pytest.mark.parametrize(
    "say",
    [pytest.param(mixed(CONTROL), id="mixed"), *(
        pytest.param(say, id=kind, marks=pytest.mark.heavy) for kind, say in CONTROL.items()
    )],
)  # fmt: skip
async def test_bad_peers_of_the_control_port(
    control: tuple[int, web.AppRunner], say: Callable[[int], bytes]
) -> None:
    port, runner = control
    server = runner.server
    assert server is not None
    await settled(port, say, lambda: len(server.connections))
    async with aiohttp.ClientSession() as http, http.post(
        f"http://127.0.0.1:{port}/media/sessions"
    ) as answer:  # fmt: skip
        assert answer.status == 401


async def test_no_more_connections_than_the_limits_are_held(tmp_path: Path) -> None:
    async with world_of(lambda _: Settings(home=tmp_path)) as world:
        world.server.admission = Admission(total=20, per_address=5)
        await world.server.stop()
        await world.server.start("127.0.0.1", world.port)
        made = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(50)]
        await until(lambda: sum(reader.at_eof() for reader, _ in made) == 30)
        assert world.server.admission.count == 20
        for _, writer in made:
            writer.close()
        await until(lambda: world.server.admission.count == 0)
