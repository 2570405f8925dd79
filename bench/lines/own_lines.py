"""Calls through a real Asterisk by the edge's own driver, transports and sessions, in this process.

The records around a call (Kafka, journal, robot) are left out, so that what is measured is sound,
and the moment of a clear is known to this process.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import SecretStr

from demo.asterisk.instance import Asterisk
from ingest.asterisk.media import MediaKind
from ingest.asterisk.names import app_of
from ingest.asterisk.plan import AsteriskPlan
from ingest.asterisk.switch import AsteriskSwitch
from ingest.rtp.receiver import Receiver
from ingest.rtp.socket import RtpTransport
from ingest.sound.chunker import Logged
from ingest.sound.clock import monotonic_us
from ingest.sound.pacer import TICK_US, Pacer
from ingest.sound.playout import Ended, PlayoutEvent, Started
from ingest.sound.session import Clock, Session
from ingest.sound.types import PCMU, Digit, Frame, Leg, stream_ids
from ingest.trunks.driver import (
    IncomingCall,
    LineEvent,
    MediaAddress,
    NotTaken,
    Order,
)
from ingest.ws.doors.asterisk import AsteriskDoor
from ingest.ws.line import WsLine
from ingest.ws.server import MediaServer

_TOKEN = "bench"
_MAGNITUDE, _LOUD = 0x7F, 0x10
"""Of an octet of G.711 µ-law, all bits but the sign, and what only loud samples are below."""

_ANSWER_S = 20.0
_END_S = 20.0


class TimedSession(Session):
    """A session that also hands its frames, with their arrival, to who measures."""

    call: "OwnCall"

    def heard(self, items: Iterable[Frame | Digit], now_us: int) -> None:
        """As the edge does."""
        items = list(items)
        self.call.take(items, now_us)
        super().heard(items, now_us)


@dataclass(slots=True)
class OwnCall:
    """One call. Times: microseconds of the loop's clock."""

    call_id: str
    session: Session
    line: WsLine
    rtp: RtpTransport | None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    started_us: list[int] = field(default_factory=list)
    """When each prompt's first frame was due."""

    loud_us: list[int] = field(default_factory=list)
    """When loud frames of the far end came."""

    def take(self, items: Iterable[Frame | Digit], now_us: int) -> None:
        """Notes what came."""
        for item in items:
            if isinstance(item, Frame) and item.payload[0] & _MAGNITUDE < _LOUD:
                self.loud_us.append(now_us)


class OwnLines:
    """The lines of one Asterisk, with one kind of media; also the driver's listener."""

    def __init__(
        self,
        asterisk: Asterisk,
        trunk: str,
        media: MediaKind,
        media_port: int = 0,
        talks: Callable[[OwnCall], None] | None = None,
    ) -> None:
        """`media_port`: where `websocket_client.conf` says that our media server is. `talks` plays
        a robot's sentence, first when a call is answered and again whenever one is over."""
        self.calls: dict[str, OwnCall] = {}
        self._talks = talks
        self._media, self._media_port, self._trunk = media, media_port, trunk
        plan = AsteriskPlan(
            "bench", asterisk.base_url, asterisk.ari_user, SecretStr(asterisk.password),
            app_of("bench"), endpoint=f"PJSIP/{{digits}}@{trunk}", media=media,
        )  # fmt: skip
        self._switch = AsteriskSwitch(plan, self._line_of, lambda call_id: _TOKEN)
        self._server = MediaServer(
            self._line_of, lambda call_id: _TOKEN, doors={"asterisk": AsteriskDoor()}
        )
        self._pacer = Pacer(monotonic_us())
        self._tick: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "OwnLines":
        if self._media == "websocket":
            await self._server.start("127.0.0.1", self._media_port)
        self._tick = asyncio.create_task(self._ticks())
        await self._switch.start(self)
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(self.hang_up(call) for call in list(self.calls.values())))
        await self._switch.close()
        if self._media == "websocket":
            await self._server.stop()
        if self._tick is not None:
            self._tick.cancel()

    async def place(self, call_id: str, number: str) -> OwnCall:
        """A call, answered. Raises Refused, and TimeoutError when nobody answers."""
        clock = Clock(monotonic_us(), self._pacer.tick)
        ids = stream_ids(b"bench", call_id, "robot")
        session = TimedSession(call_id, PCMU, clock, ids, self)
        rtp, ours = None, None
        if self._media == "rtp":
            rtp = RtpTransport(session, Receiver(clock.call_ms), PCMU)
            loop = asyncio.get_running_loop()
            made, _ = await loop.create_datagram_endpoint(lambda: rtp, ("127.0.0.1", 0))
            ours = MediaAddress("127.0.0.1", made.get_extra_info("sockname")[1], ids.ssrc)
            session.attach(rtp)
        call = session.call = OwnCall(call_id, session, WsLine(session), rtp)
        self.calls[call_id] = call
        theirs = await self._switch.dial(Order(call_id, number, self._trunk, "pcmu", ours))
        if theirs is not None:
            self.on_media(call_id, theirs)
        await asyncio.wait_for(call.answered.wait(), _ANSWER_S)
        if self._talks is not None:
            self._talks(call)
        return call

    async def hang_up(self, call: OwnCall) -> None:
        """Ends a call."""
        await self._switch.hang_up(call.call_id)
        with suppress(TimeoutError):
            await asyncio.wait_for(call.ended.wait(), _END_S)
        self.calls.pop(call.call_id, None)
        call.session.close(monotonic_us())

    def _line_of(self, call_id: str) -> WsLine | None:
        call = self.calls.get(call_id)
        return None if call is None else call.line

    async def _ticks(self) -> None:
        """The edge's shared 20 ms clock."""
        while True:
            at_us = monotonic_us()
            if self._pacer.due(at_us):
                for call in list(self.calls.values()):
                    call.session.tick(self._pacer.tick - 1, at_us)
            await asyncio.sleep(self._pacer.wait_us(monotonic_us()) / 1e6)

    # What the driver tells.

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        call = self.calls.get(call_id)
        if call is not None and progress.kind in ("answered", "ended"):
            (call.answered if progress.kind == "answered" else call.ended).set()

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        call = self.calls.get(call_id)
        if call is not None and call.rtp is not None:
            call.rtp.receiver.gate.announce((theirs.host, theirs.port), theirs.ssrc)

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        raise NotTaken(1, "nobody is there")

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        """Trunks are not tried here."""

    def calls_on(self, switch: str) -> dict[str, str]:
        return dict.fromkeys(self.calls, self._trunk)

    # What sessions tell.

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        """There is no log."""

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        call = self.calls.get(session.call_id)
        if call is None:
            return
        for event in events:
            if isinstance(event, Started):
                due_us = self._pacer.origin_us + (self._pacer.tick - 1) * TICK_US
                call.started_us.append(due_us)
            elif isinstance(event, Ended) and self._talks is not None and not session.closed:
                self._talks(call)

    def on_digit(self, session: Session, digit: Digit) -> None:
        """Nobody presses keys."""

    def on_hang_up(self, session: Session, reason: str) -> None:
        """The driver tells the end."""

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        """There is no journal."""
