"""Real sockets: RTP over UDP both ways, and the media WebSocket both ways, under one ticker."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import cast

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ingest.rtp.packet import (
    RtpPacket,
    TelephoneEvent,
    parse,
    parse_event,
    serialise,
    serialise_event,
)
from ingest.rtp.receiver import Receiver
from ingest.rtp.socket import NoPort, PortPool, RtpTransport
from ingest.rtp.wire import FrameEncoder, wire_of
from ingest.sound.chunker import Logged
from ingest.sound.clock import monotonic_us
from ingest.sound.pacer import Pacer
from ingest.sound.playout import Ended, Keys, PlayoutEvent, Prompt, Say
from ingest.sound.session import Clock, Session
from ingest.sound.types import PCMU, Chunk, Digit, Format, Leg, Silent, stream_ids
from ingest.ws.line import WsLine
from ingest.ws.server import MediaServer
from ingest.ws.transport import WsTransport

TIMEOUT_S = 30


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The product's event loop."""
    return uvloop.EventLoopPolicy()


def free_udp_ports(n: int) -> list[int]:
    """Even ports that are free now."""
    found: list[int] = []
    for port in range(42_000, 60_000, 2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == n:
                return found
    raise RuntimeError("no free ports")


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition; the time-out is only a safety net."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 # there is no event to wait for
            await asyncio.sleep(0.005)


class Owner:
    """Remembers what a session tells."""

    def __init__(self) -> None:
        self.logged: list[Logged] = []
        self.events: list[PlayoutEvent] = []
        self.digits = ""
        self.ends: list[str] = []

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        self.logged += logged

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        self.events += events

    def on_digit(self, session: Session, digit: Digit) -> None:
        self.digits += digit.digit

    def on_hang_up(self, session: Session, reason: str) -> None:
        self.ends.append(reason)

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        pass

    def sound(self, leg: str) -> bytes:
        return b"".join(
            x.payload for x in self.logged if isinstance(x, Chunk) and x.leg.name == leg
        )

    def ended(self) -> list[Ended]:
        return [e for e in self.events if isinstance(e, Ended)]


class Ticking:
    """The shared ticker, for tests."""

    def __init__(self) -> None:
        self.pacer = Pacer(monotonic_us())
        self.sessions: dict[str, Session] = {}

    def open(self, call_id: str, owner: Owner) -> Session:
        clock = Clock(monotonic_us(), self.pacer.tick)
        session = Session(call_id, PCMU, clock, stream_ids(b"secret", call_id, "robot"), owner)
        self.sessions[call_id] = session
        return session

    async def run(self) -> None:
        while True:
            now = monotonic_us()
            if self.pacer.due(now):
                for session in list(self.sessions.values()):
                    session.tick(self.pacer.tick - 1, now)
            await asyncio.sleep(self.pacer.wait_us(monotonic_us()) / 1e6)


@pytest.fixture
async def ticking() -> AsyncIterator[Ticking]:
    ticking = Ticking()
    task = asyncio.create_task(ticking.run())
    yield ticking
    assert not task.done(), "the ticker died"
    task.cancel()


class FarEnd(asyncio.DatagramProtocol):
    """A telephone: keeps what it hears."""

    def __init__(self) -> None:
        self.packets: list[RtpPacket] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.packets.append(parse(data))

    def send(self, packet: RtpPacket, port: int) -> None:
        assert self.transport is not None
        self.transport.sendto(serialise(packet), ("127.0.0.1", port))

    def heard(self, kind: int = 0) -> list[RtpPacket]:
        return [p for p in self.packets if p.payload_type == kind and p.payload != b"\xff" * 160]


def prompt(name: str, frames: int) -> Say:
    octets = tuple(bytes([n % 120]) * 160 for n in range(frames))
    return Say(name, name, Prompt(octets, (50.0,) * frames), "words")


async def test_rtp_both_ways(ticking: Ticking) -> None:
    loop, owner, far = asyncio.get_running_loop(), Owner(), FarEnd()
    pool = PortPool(free_udp_ports(3))
    session = ticking.open("call", owner)
    rtp = RtpTransport(session, Receiver(session.clock.call_ms), PCMU)
    port = await pool.bind(rtp, "127.0.0.1")
    session.attach(rtp)
    await loop.create_datagram_endpoint(lambda: far, local_addr=("127.0.0.1", 0))

    sent = [bytes([n]) * 160 for n in range(60)]
    order = list(range(60))
    order[20:23] = [22, 20, 21]  # disorder
    del order[40]  # loss
    order.insert(50, order[50])  # duplicate
    for n in order:
        far.send(
            RtpPacket(0, 65_500 + n & 0xFFFF, 2**32 - 3200 + 160 * n & 2**32 - 1, 77, sent[n]), port
        )
        await asyncio.sleep(0.002)

    # From us: what is played arrives whole, in order, on one clock.
    session.play(prompt("hello", 30))
    await until(lambda: len(owner.ended()) == 1)
    await until(lambda: len(far.heard()) >= 30)
    heard = far.heard()[-30:]
    assert [p.payload for p in heard] == list(prompt("hello", 30).prompt.frames)
    assert {p.ssrc for p in heard} == {session.out_ssrc}
    assert [p.sequence - heard[0].sequence & 0xFFFF for p in heard] == list(range(30))
    steps = {b.timestamp - a.timestamp & 2**32 - 1 for a, b in zip(heard, heard[1:], strict=False)}
    assert min(steps) == 160 and all(step % 160 == 0 for step in steps)
    assert heard[0].marker and not any(p.marker for p in heard[1:])

    # To us: in order, once each, the loss counted and left as a hole.
    await until(lambda: owner.sound("customer") == b"".join(sent[:40] + sent[41:]))
    assert rtp.receiver.stats.lost == 1 and rtp.receiver.stats.duplicate == 1
    chunks = [x for x in owner.logged if isinstance(x, Chunk) and x.leg.name == "customer"]
    assert sum(c.lost for c in chunks) == 1
    assert chunks[0].first_seq == 65_500 and chunks[-1].first_seq > 65_536
    assert chunks[0].ts == 2**32 - 3200 and chunks[-1].ts > 2**32

    # A flush: what was said is what the far end got.
    session.play(prompt("cut", 200))
    await until(lambda: len(far.heard()) >= 40)
    session.flush()
    cut = owner.ended()[-1]
    assert not cut.complete and 0 < cut.heard_ms < 4000
    said = len(owner.sound("robot")) // 160
    assert cut.heard_ms // 20 == said - 30
    await until(lambda: len(far.heard()) >= said)
    assert len(far.heard()) == said

    # Keys both ways.
    event = serialise_event(TelephoneEvent(9, False, 10, 160))
    for n in range(3):
        far.send(RtpPacket(101, 65_560 + n & 0xFFFF, 12_000, 77, event), port)
    session.play(Keys("5"))
    await until(lambda: owner.digits == "9" and len(far.heard(101)) >= 11)
    told = [parse_event(p.payload) for p in far.heard(101)]
    assert {t.event for t in told} == {5} and [t.end for t in told] == [False] * 8 + [True] * 3
    assert len({p.timestamp for p in far.heard(101)}) == 1

    session.close(monotonic_us())
    assert far.transport is not None
    far.transport.close()


async def test_a_stranger_is_not_heard(ticking: Ticking) -> None:
    loop, owner = asyncio.get_running_loop(), Owner()
    far, stranger = FarEnd(), FarEnd()
    for end in (far, stranger):
        await loop.create_datagram_endpoint(lambda e=end: e, local_addr=("127.0.0.1", 0))  # type: ignore[misc]
    assert far.transport is not None and stranger.transport is not None
    session = ticking.open("call", owner)
    remote = far.transport.get_extra_info("sockname")
    rtp = RtpTransport(session, Receiver(session.clock.call_ms, remote), PCMU)
    port = await PortPool(free_udp_ports(2)).bind(rtp, "127.0.0.1")
    session.attach(rtp)
    for n in range(20):
        stranger.send(RtpPacket(0, n, 160 * n, 1, b"\x01" * 160), port)
        far.send(RtpPacket(0, n, 160 * n, 2, b"\x02" * 160), port)
    session.play(prompt("hello", 10))
    await until(lambda: len(owner.sound("customer")) == 3200 and len(far.heard()) == 10)
    assert set(owner.sound("customer")) == {2} and rtp.receiver.stats.source == 20
    assert stranger.packets == []
    session.close(monotonic_us())
    far.transport.close()
    stranger.transport.close()


async def test_T2_a_far_end_that_moves_is_heard_and_gets_the_robots_voice(
    ticking: Ticking,
) -> None:
    """Real sockets: the same stream goes on from another port, with no packet lost."""
    loop, owner = asyncio.get_running_loop(), Owner()
    far, moved = FarEnd(), FarEnd()
    for end in (far, moved):
        await loop.create_datagram_endpoint(lambda e=end: e, local_addr=("127.0.0.1", 0))  # type: ignore[misc]
    session, sources = ticking.open("call", owner), list[tuple[str, int]]()
    rtp = RtpTransport(session, Receiver(session.clock.call_ms), PCMU, sources.append)
    port = await PortPool(free_udp_ports(2)).bind(rtp, "127.0.0.1")
    session.attach(rtp)
    for n in range(60):
        (far if n < 20 else moved).send(RtpPacket(0, n, 160 * n, 2, bytes([n]) * 160), port)
        await asyncio.sleep(0.02)
    session.play(prompt("hello", 10))
    await until(lambda: len(moved.heard()) == 10 and len(owner.sound("customer")) == 60 * 160)
    assert len({x.leg for x in owner.logged if x.leg.name == "customer"}) == 1
    silent = [x.ts for x in owner.logged if isinstance(x, Silent)]
    assert all(ts > 60 * 160 for ts in silent), "it was not silent while it moved"
    assert len(sources) == 2 and far.heard() == []
    session.close(monotonic_us())
    for end in (far, moved):
        assert end.transport is not None
        end.transport.close()


async def test_T4_a_greeting_is_heard_from_its_first_syllable(ticking: Ticking) -> None:
    """Nobody knows where the far end is until its first packet: the greeting waits for it."""
    loop, owner, far = asyncio.get_running_loop(), Owner(), FarEnd()
    await loop.create_datagram_endpoint(lambda: far, local_addr=("127.0.0.1", 0))
    session = ticking.open("call", owner)
    rtp = RtpTransport(session, Receiver(session.clock.call_ms), PCMU)
    port = await PortPool(free_udp_ports(2)).bind(rtp, "127.0.0.1")
    session.attach(rtp)
    session.play(prompt("hello", 20))
    await asyncio.sleep(0.5)
    assert owner.events == [] and owner.sound("robot") == b""
    far.send(RtpPacket(0, 1, 160, 7, b"\xff" * 160), port)
    await until(lambda: len(owner.ended()) == 1)
    await until(lambda: len(far.heard()) == 20)
    assert [p.payload for p in far.heard()] == list(prompt("hello", 20).prompt.frames)
    assert owner.ended()[0].heard_ms == 400
    session.close(monotonic_us())
    assert far.transport is not None
    far.transport.close()


@pytest.mark.parametrize("codec", ["g722", "opus"])
async def test_coded_rtp_both_ways(ticking: Ticking, codec: str) -> None:
    """L16 at 16 kHz behind it; what we send has the wire's number, clock and coding."""
    loop, owner, far = asyncio.get_running_loop(), Owner(), FarEnd()
    wire, sound = wire_of(codec), Format("l16", 16_000)
    assert wire is not None
    clock = Clock(monotonic_us(), ticking.pacer.tick)
    session = Session("call", sound, clock, stream_ids(b"secret", "call", "robot"), owner)
    ticking.sessions["call"] = session
    receiver = Receiver(session.clock.call_ms, formats={wire.payload_type: wire.received})
    rtp = RtpTransport(session, receiver, sound, wire=wire)
    port = await PortPool(free_udp_ports(2)).bind(rtp, "127.0.0.1")
    session.attach(rtp)
    await loop.create_datagram_endpoint(lambda: far, local_addr=("127.0.0.1", 0))
    encoder, ticks = FrameEncoder(wire), wire.clock_hz // 50
    for n in range(30):
        payload = encoder.encode(bytes([n, n]) * 320)
        far.send(RtpPacket(wire.payload_type, n, ticks * n, 77, payload), port)
        await asyncio.sleep(0.005)
    await until(lambda: len(owner.sound("customer")) == 30 * 640)
    session.play(Say("hello", "hello", Prompt((bytes([9, 9]) * 320,) * 20, (50.0,) * 20), "words"))
    await until(lambda: len(owner.ended()) == 1)
    session.play(Keys("5"))
    await until(lambda: len(far.heard(101)) >= 11)
    heard = [p for p in far.packets if p.payload_type == wire.payload_type]
    steps = {b.timestamp - a.timestamp & 2**32 - 1 for a, b in zip(heard, heard[1:], strict=False)}
    assert min(steps) == ticks and all(step % ticks == 0 for step in steps)
    assert parse_event(far.heard(101)[-1].payload).duration == 8 * ticks
    assert len(heard) >= 20 and rtp.receiver.stats.malformed == 0
    far.send(RtpPacket(wire.payload_type, 30, ticks * 30, 77, b""), port)
    await until(lambda: rtp.receiver.stats.malformed == 1)
    session.close(monotonic_us())
    assert far.transport is not None
    far.transport.close()


async def test_ports_are_handed_out_once_and_in_turn() -> None:
    ports = free_udp_ports(3)
    pool, owner, ticking = PortPool([*ports, ports[-1] + 1]), Owner(), Ticking()
    bound: list[tuple[int, RtpTransport]] = []
    for n in range(3):
        session = ticking.open(str(n), owner)
        rtp = RtpTransport(session, Receiver(session.clock.call_ms), PCMU)
        bound.append((await pool.bind(rtp, "127.0.0.1"), rtp))
    assert [port for port, _ in bound] == ports and len(pool) == 0
    extra = RtpTransport(session, Receiver(session.clock.call_ms), PCMU)
    with pytest.raises(NoPort):
        await pool.bind(extra, "127.0.0.1")
    with pytest.raises(NoPort):
        await pool.bind(extra, "127.0.0.1", ports[0])
    for port, rtp in bound:
        rtp.close()
        pool.release(port)
        pool.release(port)
    assert len(pool) == 3
    assert await pool.bind(extra, "127.0.0.1", ports[1]) == ports[1]
    extra.close()


class WsEnd:
    """A server with one session."""

    def __init__(self, ticking: Ticking) -> None:
        self.owner = Owner()
        self.session = ticking.open("call|1", self.owner)
        self.line = WsLine(self.session)
        self.server = MediaServer(
            lambda call_id: self.line if call_id == "call|1" else None,
            lambda call_id: f"secret-{call_id}",
        )
        self.port = 0

    async def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        await self.server.start("127.0.0.1", self.port)

    def url(self, call: str = "call%7C1", query: str = "codec=pcmu&token=secret-call|1") -> str:
        return f"ws://127.0.0.1:{self.port}/media/{call}?{query}"


@pytest.fixture
async def ws(ticking: Ticking) -> AsyncIterator[WsEnd]:
    end = WsEnd(ticking)
    await end.start()
    yield end
    await end.server.stop()


async def test_websocket_both_ways(ws: WsEnd) -> None:
    texts: list[dict[str, str]] = []
    sounds: list[bytes] = []
    async with connect(ws.url()) as peer:

        async def listen() -> None:
            async for message in peer:
                if isinstance(message, bytes):
                    sounds.append(message)
                else:
                    texts.append(json.loads(message))

        listening = asyncio.create_task(listen())
        sent = [bytes([n]) * 160 for n in range(50)]
        for frame in sent:
            await peer.send(frame)
        await peer.send(json.dumps({"type": "dtmf", "digits": "42"}))
        ws.session.play(prompt("hello", 20))
        await until(lambda: ws.owner.sound("customer") == b"".join(sent))
        await until(lambda: {"type": "mark", "name": "hello"} in texts)
        said = [s for s in sounds if s != b"\xff" * 160]
        assert said == list(prompt("hello", 20).prompt.frames)
        assert ws.owner.digits == "42"
        chunk = next(x for x in ws.owner.logged if isinstance(x, Chunk))
        assert (chunk.ts, chunk.first_seq) == (0, 0) and len(chunk.payload) == 800

        ws.session.play(prompt("long", 500))
        await until(lambda: len(sounds) > len(said) + 10)
        await peer.send(json.dumps({"type": "clear"}))
        await until(lambda: {"type": "clear"} in texts)
        assert not ws.owner.ended()[-1].complete
        ws.session.play(Keys("7"))
        await until(lambda: {"type": "dtmf", "digits": "7"} in texts)
        await peer.send(json.dumps({"type": "hangup"}))
        await until(lambda: ws.owner.ends == ["peer"])
        ws.session.close(monotonic_us())
        await asyncio.wait_for(listening, TIMEOUT_S)
    assert texts[-1] == {"type": "hangup"}


async def test_a_second_connection_goes_on_where_the_first_was(ws: WsEnd) -> None:
    async with connect(ws.url()) as peer:
        for n in range(10):
            await peer.send(bytes([n]) * 160)
        await until(lambda: len(ws.owner.sound("customer")) == 1600)
    await until(lambda: ws.session.transport is None)
    async with connect(ws.url(query="token=secret-call|1")) as peer:
        for n in range(10):
            await peer.send(bytes([n]) * 160)
        await until(lambda: len(ws.owner.sound("customer")) == 3200)
    chunks = [x for x in ws.owner.logged if isinstance(x, Chunk)]
    assert len({c.leg for c in chunks}) == 1
    assert all(b.ts >= a.ts + len(a.payload) for a, b in zip(chunks, chunks[1:], strict=False))
    assert chunks[-1].first_seq >= 10


@pytest.mark.parametrize(
    ("call", "query", "status"),
    [
        ("call%7C1", "codec=pcmu", 401),
        ("call%7C1", "codec=pcmu&token=wrong", 401),
        ("none", "token=secret-none", 404),
        ("call%7C1", "codec=pcma&token=secret-call|1", 400),
        ("call%7C1", "codec=opus&token=secret-call|1", 400),
        ("call%7C1/more", "token=secret-call|1", 404),
    ],
)
async def test_a_wrong_handshake_is_refused(ws: WsEnd, call: str, query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(ws.url(call, query)):
            pass
    assert refused.value.response.status_code == status
    assert ws.session.transport is None


@pytest.mark.parametrize("offered", [["media"], ["audio.drachtio.org"], ["a", "media"]])
async def test_W2_one_offered_sub_protocol_is_echoed(ws: WsEnd, offered: list[str]) -> None:
    async with connect(ws.url(), subprotocols=[Subprotocol(x) for x in offered]) as peer:
        assert peer.subprotocol == offered[-1]
        await peer.send("MEDIA_START channel:x" if "media" in offered else '{"callSid":"x"}')
        await peer.send(bytes(160))
        await until(lambda: ws.session.frames_in == 1)


async def test_W2_unknown_sub_protocols_are_refused_with_the_reason(ws: WsEnd) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(ws.url(), subprotocols=[Subprotocol("a"), Subprotocol("b")]):
            pass
    assert refused.value.response.status_code == 400
    assert b"audio.drachtio.org" in (refused.value.response.body or b"")


async def test_review_17_a_clear_is_not_dropped_by_a_full_buffer(ws: WsEnd) -> None:
    """A peer that reads nothing: the prompt waits, and `clear` is the next thing that it reads."""
    async with connect(ws.url(), max_queue=1) as peer:
        await until(lambda: ws.session.transport is not None)
        transport = ws.session.transport
        assert isinstance(transport, WsTransport)
        connection = transport._connection
        while transport.ready:
            broadcast((connection,), bytes(4000))
        assert not transport.send_frame(bytes(160), 0, 0, False)
        ws.session.play(prompt("hello", 20))
        ws.session.flush()
        assert not ws.owner.ended()[-1].complete and ws.owner.ended()[-1].heard_ms == 0
        async with asyncio.timeout(TIMEOUT_S):
            while await peer.recv() != '{"type":"clear"}':
                pass


async def test_a_client_may_add_the_query_again(ws: WsEnd) -> None:
    url = ws.url(query="codec=pcmu&token=secret-call|1?codec=pcmu&token=secret-call|1")
    async with connect(url) as peer:
        await peer.send(bytes(160))
        await until(lambda: ws.session.frames_in == 1)


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"\x01" * 801, 1009), (b"\x01" * 5000, 1009), ("nonsense", 1007), ('{"type":"x"}', 1008)],
)
async def test_a_peer_that_breaks_the_protocol_is_closed(
    ws: WsEnd, message: str | bytes, code: int
) -> None:
    async with connect(ws.url()) as peer:
        await peer.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                await asyncio.wait_for(peer.recv(), TIMEOUT_S)
        assert peer.close_code == code
    await until(lambda: ws.session.transport is None)
    assert not ws.session.closed, "the call waits for the next connection"
