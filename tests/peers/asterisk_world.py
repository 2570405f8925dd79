"""What a test of the driver has around a real Asterisk: a listener, and the robot's end of RTP."""

import asyncio
import audioop
import random
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from pydantic import SecretStr

from demo.asterisk.instance import Asterisk
from demo.sip.media import RATE_HZ, Int16
from ingest.asterisk.names import app_of
from ingest.asterisk.plan import AsteriskPlan
from ingest.asterisk.switch import AsteriskSwitch
from ingest.sound.chunker import Logged
from ingest.sound.clock import monotonic_us
from ingest.sound.playout import PlayoutEvent, Prompt, Say
from ingest.sound.session import Clock, Session
from ingest.sound.types import Chunk, Digit, Leg, format_of, stream_ids
from ingest.trunks.driver import (
    IncomingCall,
    LineEvent,
    LineEventKind,
    MediaAddress,
    NotTaken,
    Order,
)
from ingest.ws.line import WsLine
from ringlog.audio import g711


def tone(hz: float, seconds: float) -> Int16:
    """A tone of a quarter of full scale."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(8_000 * np.sin(2 * np.pi * hz * t), np.int16)


def strongest_hz(sound: Int16) -> float:
    """The frequency that has most of the sound's energy."""
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64)))
    return float(np.argmax(spectrum) * RATE_HZ / len(sound))


class RobotEnd(asyncio.DatagramProtocol):
    """The edge's end of a call's RTP, G.711 µ-law: keeps what comes, sends 50 packets/s."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.remote: tuple[str, int] | None = None
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._seq, self._ts, self._ssrc = 0, 0, random.getrandbits(32)

    async def open(self) -> "RobotEnd":
        """Takes a free port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        return self

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[1] & 127 == 0:
            self.heard += audioop.ulaw2lin(data[12:], 2)

    @property
    def address(self) -> MediaAddress:
        """Where Asterisk is to send."""
        return MediaAddress("127.0.0.1", self.port, self._ssrc)

    @property
    def sound(self) -> Int16:
        """What came."""
        return np.frombuffer(bytes(self.heard), np.int16)

    async def say(self, sound: Int16) -> None:
        """Sends it in time."""
        data = audioop.lin2ulaw(sound.tobytes(), 2)
        due = time.monotonic()
        for at in range(0, len(data), 160):
            head = struct.pack("!BBHII", 0x80, 0, self._seq, self._ts, self._ssrc)
            if self.remote is not None and self._transport is not None:
                self._transport.sendto(head + data[at : at + 160].ljust(160, b"\xff"), self.remote)
            self._seq, self._ts = (self._seq + 1) & 0xFFFF, self._ts + 160 & 0xFFFFFFFF
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Frees the port."""
        if self._transport is not None:
            self._transport.close()


@dataclass
class DriverEar:
    """Listens to a switch. Calls that come in are answered while `taker` is set."""

    told: list[tuple[str, LineEvent]] = field(default_factory=list)
    moved: list[tuple[str, MediaAddress]] = field(default_factory=list)
    came: list[IncomingCall] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)
    reachable: dict[str, bool] = field(default_factory=dict)
    taker: RobotEnd | None = None
    refusal: int = 1

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        self.told.append((call_id, progress))

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        self.moved.append((call_id, theirs))
        if self.taker is not None:
            self.taker.remote = (theirs.host, theirs.port)

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        self.came.append(call)
        if self.taker is None:
            raise NotTaken(self.refusal, "nobody is there")
        return self.taker.address

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        self.reachable[trunk] = reachable

    def calls_on(self, switch: str) -> dict[str, str]:
        return self.running

    def kinds(self, call_id: str) -> list[str]:
        """The steps of a call, without keys."""
        return [e.kind for c, e in self.told if c == call_id and e.kind != "dtmf"]

    @property
    def keys(self) -> list[str]:
        """The keys that were told."""
        return [event.digits for _, event in self.told if event.kind == "dtmf"]

    async def wait(self, call_id: str, kind: LineEventKind, seconds: float = 10.0) -> LineEvent:
        """The first step of this kind; fails when it does not come in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for who, event in self.told:
                if (who, event.kind) == (call_id, kind):
                    return event
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind}; told: {self.kinds(call_id)}")


def plan_of(asterisk: Asterisk) -> AsteriskPlan:
    """How the driver reaches the test's Asterisk."""
    return AsteriskPlan(
        "asterisk", asterisk.base_url, asterisk.ari_user, SecretStr(asterisk.password),
        app_of("edge"), endpoint="PJSIP/{digits}@carrier-a", transfer="PJSIP/{target}@carrier-b",
    )  # fmt: skip


@asynccontextmanager
async def driving(asterisk: Asterisk, ear: DriverEar) -> AsyncIterator[AsteriskSwitch]:
    """A driver that is connected."""
    switch = AsteriskSwitch(plan_of(asterisk))
    await switch.start(ear)
    try:
        yield switch
    finally:
        await switch.close()


async def placed(
    switch: AsteriskSwitch,
    robot: RobotEnd,
    call_id: str,
    number: str,
    ring_ms: int = 20_000,
    endpoint: str = "",
) -> None:
    """A call on its way; raises Refused."""
    order = Order(
        call_id, number, "carrier-a", "pcmu", robot.address, caller_id="4001234567",
        ring_timeout_ms=ring_ms, endpoint=endpoint,
    )  # fmt: skip
    theirs = await switch.dial(order)
    assert theirs is not None
    robot.remote = (theirs.host, theirs.port)


class SocketEnd:
    """The edge's end of a call whose sound comes by a socket: a session, and its clock."""

    def __init__(self, call_id: str, codec: str = "pcmu") -> None:
        self.heard = bytearray()
        self.codec = codec
        now_us = monotonic_us()
        ids = stream_ids(b"secret", call_id, "robot")
        self.session = Session(call_id, format_of(codec), Clock(now_us, 0), ids, self)
        self.line = WsLine(self.session)
        self._task = asyncio.create_task(self._tick(now_us))

    async def _tick(self, began_us: int) -> None:
        n = 0
        while not self.session.closed:
            self.session.tick(n, monotonic_us())
            n += 1
            await asyncio.sleep(max(0.0, (began_us + n * 20_000 - monotonic_us()) / 1e6))

    def say(self, sound: Int16) -> None:
        """Plays it."""
        data = g711.encode(self.session.sound.codec, sound)
        size = self.session.sound.frame_bytes
        frames = tuple(data[at : at + size] for at in range(0, len(data), size))
        self.session.play(Say("d1", "p1", Prompt(frames, (60.0,) * len(frames))))

    @property
    def sound(self) -> Int16:
        """What came."""
        return g711.decode(self.session.sound.codec, bytes(self.heard))

    def close(self) -> None:
        """The call is over."""
        self._task.cancel()
        self.session.close(monotonic_us())

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        for one in logged:
            if isinstance(one, Chunk) and one.leg.name == "customer":
                self.heard += one.payload

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        pass

    def on_digit(self, session: Session, digit: Digit) -> None:
        raise AssertionError("keys are told by ARI, and only there")

    def on_hang_up(self, session: Session, reason: str) -> None:
        pass

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        pass
