"""Our AudioSocket port: Asterisk connects, names a call by a UUID that we gave it, and brings its
sound. The UUID is the secret; it opens one connection."""

import asyncio
import socket as sockets
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

import numpy as np

from ingest.asterisk.frames import (
    KIND_HANGUP,
    KIND_UUID,
    SOUND_KINDS,
    AudioFrame,
    FrameReader,
    FrameRefused,
    framed,
)
from ingest.sound.clock import monotonic_us
from ingest.sound.playout import KeyTick
from ingest.sound.session import Session
from ingest.sound.silence import SilenceRule
from ingest.sound.types import Digit, Frame
from ingest.ws.admission import Admission
from ingest.ws.dialects.base import BinaryDialect, ControlMessage, WsRefused
from ingest.ws.line import WsLine
from ingest.ws.protocol import WS_SILENCE, WsReceiver
from ringlog import log
from ringlog.audio import g711
from ringlog.health import BACKLOG

logger = log.logger("ringlog.ingest.audiosocket")

UUID_S: Final = 2.0
"""Time for the first frame, which names the call."""

IDLE_S: Final = 60.0
"""A connection that brings nothing for this long is closed; the call gets another."""

MAX_BUFFERED_BYTES: Final = 16_384
"""Sound that a slow peer may leave unread before the prompt waits."""

Find = Callable[[str], WsLine | None]


class _Sound(BinaryDialect):
    """Sound in the session's codec, nothing else."""

    def parse(self, text: str) -> ControlMessage | None:
        return None

    def word(self, message: ControlMessage) -> str | None:
        return None


class AudioSocketServer:
    """Accepts connections for the calls that are expected."""

    def __init__(self, find: Find, admission: Admission | None = None) -> None:
        """`find` gives a call's line, by the call's id."""
        self.admission = admission or Admission()
        self._find = find
        self._expected: dict[bytes, str] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; gives the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: AudioSocketLink(self), host, port, backlog=BACKLOG
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listens no more; connections end with their calls."""
        if self._server is not None:
            self._server.close()

    def expect(self, call_id: str) -> str:
        """A UUID that will name the call, once."""
        name = uuid.uuid4()
        self._expected[name.bytes] = call_id
        return str(name)

    def forget(self, name: str) -> None:
        """Nobody is to come with this UUID any more."""
        self._expected.pop(uuid.UUID(name).bytes, None)

    def line_of(self, name: bytes) -> WsLine | None:
        """The line of the call that a peer names."""
        call_id = self._expected.pop(name, None)
        return None if call_id is None else self._find(call_id)


class AudioSocketLink(asyncio.Protocol):
    """One connection, and the session's transport."""

    def __init__(self, server: AudioSocketServer) -> None:
        self._server = server
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._address: str | None = None
        self._line: WsLine | None = None
        self._receiver: WsReceiver | None = None
        self._session: Session | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0

    # asyncio -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._transport = cast(asyncio.Transport, transport)  # by duck typing in asyncio
        peer = made.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if not self._server.admission.admit(address):
            made.abort()
            return
        self._address = address
        sock = made.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
        self._timer = asyncio.get_running_loop().call_later(UUID_S, self._idle)

    def data_received(self, data: bytes) -> None:
        at_us = monotonic_us()
        self._heard_s = asyncio.get_running_loop().time()
        try:
            for frame in self._reader.feed(data):
                self._take(frame, at_us)
        except (FrameRefused, WsRefused) as refused:
            call_id = None if self._session is None else self._session.call_id
            logger.info("closing an AudioSocket", call_id=call_id, reason=str(refused))
            self._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._address is not None:
            self._server.admission.release(self._address)
        line, receiver, session = self._line, self._receiver, self._session
        self._transport = None
        if line is None or receiver is None or session is None:
            return
        if session.transport is self:
            session.heard(receiver.flush(), monotonic_us())
        line.closed(receiver)
        session.detach(self)

    def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        left_s = self._heard_s + IDLE_S - loop.time()
        if self._line is None or left_s <= 0:
            self._drop()
        else:
            self._timer = loop.call_later(left_s, self._idle)

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, frame: AudioFrame, at_us: int) -> None:
        if self._receiver is None or self._session is None:
            if frame.kind != KIND_UUID or len(frame.payload) != 16:
                raise FrameRefused("the first frame is no UUID")
            self._begin(frame.payload, at_us)
            return
        self._receiver.alive_us = at_us
        if frame.kind == SOUND_KINDS[self._session.sound.rate_hz]:
            if len(frame.payload) % 2:
                raise FrameRefused("sound is no whole number of samples")
            if frame.payload and self._session.transport is self:
                samples = np.frombuffer(frame.payload, "<i2").astype(np.int16)
                coded = g711.encode(self._session.sound.codec, samples)
                self._session.heard(self._receiver.audio(coded, at_us), at_us)
        elif frame.kind == KIND_HANGUP:
            self._drop()  # the leg is over; the call gets another
        # Keys are told by ARI, with a name that survives a lost leg.

    def _begin(self, name: bytes, at_us: int) -> None:
        line = self._server.line_of(name)
        if line is None:
            raise FrameRefused("the UUID names no call")
        self._line, self._session = line, line.session
        self._receiver = line.open(at_us, _Sound())
        line.session.attach(self)

    # The session's transport ---------------------------------------------------------------------

    @property
    def silence(self) -> SilenceRule:
        """Sound that TCP delays comes later, all at once."""
        return WS_SILENCE

    @property
    def alive_us(self) -> int | None:
        """When the peer's last frame came."""
        return None if self._receiver is None else self._receiver.alive_us

    @property
    def holding(self) -> bool:
        """True while sound is held whose time is not known yet."""
        return self._receiver is not None and self._receiver.waiting

    @property
    def ready(self) -> bool:
        """Whether the peer is there and reads what we send."""
        out = self._transport
        return (
            out is not None and not out.is_closing()
            and out.get_write_buffer_size() <= MAX_BUFFERED_BYTES
        )  # fmt: skip

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """20 ms of sound. What is sent cannot be recalled, so nothing goes ahead of its tick."""
        if not self.ready or self._transport is None or self._session is None:
            return False
        sound = self._session.sound
        samples = g711.decode(sound.codec, frame).astype("<i2")
        self._transport.write(framed(SOUND_KINDS[sound.rate_hz], samples.tobytes()))
        return True

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        """Never called: keys go by the switch."""
        return 0

    def clear(self) -> None:
        """Nothing is buffered beyond the frame of a tick."""

    def mark(self, name: str) -> None:
        """AudioSocket has no marks."""

    def poll(self, now_us: int) -> Sequence[Frame | Digit]:
        """Frames that were held until it was known what came before them."""
        receiver = self._receiver
        return receiver.poll(now_us) if receiver is not None and receiver.waiting else ()

    def flush(self) -> Iterable[Frame | Digit]:
        """All frames that are held."""
        return () if self._receiver is None else self._receiver.flush()

    def close(self) -> None:
        """Says that the leg is over, and closes."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(KIND_HANGUP))
            self._transport.close()
