"""RTP over UDP: one socket a call, on even ports, and the packets that we send."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

from ingest.failover.handover import HandoverSender
from ingest.rtp.packet import EVENT_DIGITS, TelephoneEvent, header, serialise_event
from ingest.rtp.receiver import Receiver, ReceiveStats
from ingest.rtp.sources import Address
from ingest.rtp.wire import FrameDecoder, FrameEncoder, Wire
from ingest.sound.clock import monotonic_us
from ingest.sound.playout import KEY_TICKS, KeyTick
from ingest.sound.session import Session
from ingest.sound.silence import RTP_SILENCE, SilenceRule
from ingest.sound.types import Digit, Format, Frame, payload_type_of
from ringlog import log
from ringlog.metrics import RTP_PACKETS_DROPPED, RTP_PACKETS_LOST

logger = log.logger("ringlog.ingest.udp")

KEY_VOLUME: Final = 10  # -10 dBm0


class NoPort(Exception):
    """All RTP ports are in use."""


class RtpTransport(asyncio.DatagramProtocol):
    """A session's RTP socket. Calls `on_source` when the far end's packets come from a new
    source."""

    def __init__(
        self,
        session: Session,
        receiver: Receiver,
        sound: Format,
        on_source: Callable[[Address], None] | None = None,
        wire: Wire | None = None,
    ) -> None:
        """`wire`: how the session's sound is coded in packets, when it is; `receiver` counts in
        its format then."""
        self.receiver = receiver
        self._wire = wire
        self._decoder = None if wire is None else FrameDecoder(wire)
        self._encoder = None if wire is None else FrameEncoder(wire)
        self._on_source = on_source
        self._source: Address | None = None
        self._warned: set[int] = set()
        self._session = session
        self._socket: asyncio.DatagramTransport | None = None
        self._payload_type = payload_type_of(sound) if wire is None else wire.payload_type
        self._frame_samples = sound.frame_samples
        self._ssrc = session.out_ssrc
        self._counted = ReceiveStats()

    # asyncio -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)  # by duck typing in asyncio

    def datagram_received(self, data: bytes, addr: Address) -> None:
        at = monotonic_us()
        receiver = self.receiver
        items = receiver.receive(data, addr, at)
        if receiver.gate.address != self._source:
            self._follow(receiver.gate.address)
        if items:
            self._session.heard(self._decoded(items), at)

    def _decoded(self, items: Sequence[Frame | Digit]) -> Sequence[Frame | Digit]:
        if self._decoder is None:
            return items
        out: list[Frame | Digit] = []
        for item in items:
            if isinstance(item, Digit):
                out.append(item)
            elif (frame := self._decoder.decode(item)) is not None:
                out.append(frame)
        if self._decoder.malformed:
            self.receiver.stats.malformed += self._decoder.malformed
            self._decoder.malformed = 0
        return out

    def _follow(self, source: Address | None) -> None:
        before, self._source = self._source, source
        if source is None:
            return
        if before is not None:
            logger.info(
                "the far end's sound now comes from another address",
                call_id=self._session.call_id, before=before, now=source,
            )  # fmt: skip
        if self._on_source is not None:
            self._on_source(source)

    def error_received(self, exc: Exception) -> None:
        # An ICMP "unreachable": the far end is not there yet, or not any more. The carrier's events
        # tell which.
        logger.debug("the far end's port is closed", call_id=self._session.call_id, error=str(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = None

    @property
    def silence(self) -> SilenceRule:
        """Packets come every 20 ms, or the far end suppresses silence."""
        return RTP_SILENCE

    @property
    def alive_us(self) -> int | None:
        """When the far end's last packet of any kind came."""
        return self.receiver.alive_us

    @property
    def holding(self) -> bool:
        """True while sound is held whose time or source is not known yet."""
        receiver = self.receiver
        return receiver.waiting or receiver.gate.keeps(monotonic_us())

    # Transport -----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the remote address is known."""
        return self.receiver.gate.remote is not None and self._socket is not None

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """One packet to the remote; False while it is unknown."""
        remote = self.receiver.remote
        if remote is None or self._socket is None:
            return False
        if self._wire is not None and self._encoder is not None:
            frame, ts = self._encoder.encode(frame), self._wire.to_wire(ts)
            if not frame:
                return False
        packet = header(self._payload_type, seq, ts, self._ssrc, talkspurt) + frame
        self._socket.sendto(packet, remote)
        return True

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        """RFC 4733 packet of one tick: the event so far, with the same timestamp throughout."""
        remote = self.receiver.remote
        if remote is None or self._socket is None:
            return 0
        duration = min(key.n + 1, KEY_TICKS) * self._frame_samples
        if self._wire is not None:
            duration, ts = self._wire.to_wire(duration), self._wire.to_wire(ts)
        code = EVENT_DIGITS.index(key.digit)
        payload = serialise_event(TelephoneEvent(code, key.end, KEY_VOLUME, duration))
        packet = header(self.receiver.event_type, seq, ts, self._ssrc, key.n == 0) + payload
        self._socket.sendto(packet, remote)
        return 1

    def clear(self) -> None:
        """Nothing is buffered beyond the far end's jitter buffer."""

    def mark(self, name: str) -> None:
        """RTP has no marks."""

    def poll(self, at_us: int) -> Sequence[Frame | Digit]:
        """Gives up on packets that are overdue, and counts."""
        return self._decoded(self.receiver.poll(at_us)) if self.receiver.waiting else ()

    def flush(self) -> Iterable[Frame | Digit]:
        """Hands out frames held for a missing packet."""
        return self._decoded(self.receiver.flush())

    def count(self) -> None:
        """Adds the counts since the last call to the metrics."""
        now, before = self.receiver.stats, self._counted
        if now.lost > before.lost:
            RTP_PACKETS_LOST.inc(now.lost - before.lost)
            before.lost = now.lost
        for kind in sorted(self.receiver.unknown_types - self._warned):
            self._warned.add(kind)
            found = self.receiver.event_type == kind
            logger.warning(
                "an unannounced payload type carries telephone events; it is used from now on"
                if found
                else "packets of an unknown payload type are dropped",
                call_id=self._session.call_id, payload_type=kind,
            )  # fmt: skip
        for why in ("duplicate", "late", "source", "malformed", "payload_type", "ssrc", "rate"):
            more = getattr(now, why) - getattr(before, why)
            if more:
                RTP_PACKETS_DROPPED.labels(why).inc(more)
                setattr(before, why, getattr(now, why))

    def close(self) -> None:
        """Closes the socket."""
        self.count()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_BIND_AGAIN_S: Final = 0.05
_BIND_TIMES: Final = 10


class PortPool:
    """Even ports, handed out in turn, so that a late packet of an old call does not reach a new
    one.

    `handover` gets every socket; `handed_over` are the previous edge's sockets, by port.
    """

    def __init__(self, ports: Iterable[int], handover: HandoverSender | None = None) -> None:
        self.handed_over: dict[int, socket.socket] = {}
        self._handover = handover
        self._free: deque[int] = deque(port for port in ports if port % 2 == 0)
        self._all = frozenset(self._free)

    def __len__(self) -> int:
        return len(self._free)

    async def bind(self, transport: RtpTransport, host: str, wanted: int | None = None) -> int:
        """Binds a port for a session, `wanted` or the next free one; raises NoPort."""
        if wanted is not None:
            if wanted in self._all:
                try:
                    self._free.remove(wanted)
                except ValueError:
                    raise NoPort(f"port {wanted} is in use") from None
            held = self.handed_over.pop(wanted, None) or await _bound_again(host, wanted)
            await self._use(transport, wanted, held)
            return wanted
        for _ in range(len(self._free)):
            port = self._free.popleft()
            try:
                held = _bound(host, port)
            except OSError:
                self._free.append(port)  # another process has it
                continue
            await self._use(transport, port, held)
            return port
        raise NoPort("all RTP ports are in use")

    async def _use(self, transport: RtpTransport, port: int, held: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: transport, sock=held)
        if self._handover is not None:
            self._handover.opened(port, held)

    def close_unclaimed(self) -> None:
        """Closes the sockets handed over that no call has asked for."""
        for held in self.handed_over.values():
            held.close()
        self.handed_over.clear()

    def release(self, port: int) -> None:
        """Frees the port, which is reused after all others."""
        if self._handover is not None:
            self._handover.closed(port)
        if port in self._all and port not in self._free:
            self._free.append(port)


def _bound(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


async def _bound_again(host: str, port: int) -> socket.socket:
    """Binds a port from before a restart, which a spare may still hold briefly; raises OSError."""
    for _ in range(_BIND_TIMES):
        try:
            return _bound(host, port)
        except OSError:
            await asyncio.sleep(_BIND_AGAIN_S)
    return _bound(host, port)
