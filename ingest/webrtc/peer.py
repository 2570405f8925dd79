"""One WebRTC connection of `aiortc`: ICE, DTLS and SRTP are the library's, sound is ours.

Four things go past its interface, which knows neither port ranges nor packets: our host candidate
instead of one for each interface (`_gather_here`), received packets before its jitter buffer and
decoder (`_on_packet`), packets of Opus that we have encoded (`RobotTrack`), and telephone events
among its codecs. Its release is pinned, and a test of the whole path stands over each.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
from aioice.candidate import Candidate as HostCandidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol
from aioice.stun import parse_message
from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCRtpCodecParameters,
    RTCSessionDescription,
)
from aiortc.codecs import CODECS
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket

from ingest.rtp.opus import OPUS_CLOCK_HZ
from ingest.rtp.socket import NoPort
from ingest.webrtc.candidate import Candidate
from ingest.webrtc.offer import Offer
from ringlog.metrics import RTP_PACKETS_DROPPED

MAX_QUEUED: Final = 50
"""Packets that wait for the connection, 1 s; older ones are dropped."""

PORTS_TRIED: Final = 64
"""Ports of the range that are tried for one call, from a random one on."""

MAX_WAITING: Final = 500
"""Datagrams that wait until ICE and DTLS take them."""

MAX_DATAGRAM_BYTES: Final = 2_048

LAST_STUN_BYTE: Final = 3
"""A datagram that begins with 0 to 3 is STUN (RFC 7983 section 7)."""

CODECS["audio"].append(
    RTCRtpCodecParameters(
        mimeType="audio/telephone-event",
        clockRate=OPUS_CLOCK_HZ,
        channels=1,
        payloadType=110,
        parameters={"0-15": None},
    )
)


if TYPE_CHECKING:
    _Packet = av.Packet[Any]


class RobotTrack(MediaStreamTrack):
    """What the browser hears: packets of Opus, in order."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[_Packet] = asyncio.Queue(MAX_QUEUED)

    def push(self, payload: bytes, timestamp: int) -> None:
        """Queues a packet of 20 ms; `timestamp` counts at Opus' clock."""
        packet = av.Packet(payload)
        packet.pts, packet.time_base = timestamp, Fraction(1, OPUS_CLOCK_HZ)
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(packet)

    def clear(self) -> None:
        """Forgets what waits."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def recv(self) -> "_Packet":
        """The next packet; for the library."""
        packet = await self._queue.get()
        if self.readyState != "live":
            raise MediaStreamError
        return packet


class GuardedStun(StunProtocol):
    """A socket whose strangers can neither end the call nor fill the memory.

    DTLS and SRTP are taken from addresses only that the browser has named, or has proved by a check
    with the password (RFC 8445 section 7.3.1.3): the library closes a connection on what it cannot
    read, an empty datagram for instance.
    """

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Takes a datagram of anybody."""
        assert isinstance(data, bytes)
        if self.receiver._queue.qsize() >= MAX_WAITING or len(data) > MAX_DATAGRAM_BYTES:
            RTP_PACKETS_DROPPED.labels("rate").inc()
        elif not data:
            RTP_PACKETS_DROPPED.labels("malformed").inc()
        elif data[0] > LAST_STUN_BYTE and not self._is_browser(addr):
            RTP_PACKETS_DROPPED.labels("source").inc()
        else:
            try:
                if data[0] <= LAST_STUN_BYTE:
                    parse_message(data)
                super().datagram_received(data, addr)
            except Exception:  # whatever a STUN message may hold
                RTP_PACKETS_DROPPED.labels("malformed").inc()

    def _is_browser(self, addr: tuple[Any, ...]) -> bool:
        return any(
            candidate._network_host == addr[0] and candidate.port == addr[1]
            for candidate in self.receiver._remote_candidates
        )


OnPacket = Callable[[int, int, int, int, bytes], None]
"""Takes payload type, sequence, timestamp, SSRC and payload of a received packet."""


class Peer:
    """The connection to one browser. What it sends before `listen` is not heard."""

    def __init__(self) -> None:
        self.track = RobotTrack()
        self.talks_back = False
        self._on_packet: OnPacket | None = None
        self._on_state: Callable[[str], None] | None = None
        self._mid = ""
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._pc.on("connectionstatechange", self._state_changed)

    @property
    def connected(self) -> bool:
        """Whether sound can go both ways now."""
        return bool(self._pc.connectionState == "connected")

    @property
    def over(self) -> bool:
        """Whether the connection has ended or has failed."""
        return self._pc.connectionState in ("closed", "failed")

    def listen(self, on_packet: OnPacket, on_state: Callable[[str], None]) -> None:
        """Hands over what comes from now on; `on_state` is told `connected`, `failed` or
        `closed`."""
        self._on_packet, self._on_state = on_packet, on_state

    async def answer(self, offer: Offer, bind: str, advertised: str, ports: range) -> str:
        """The SDP answer to an offer, with our one candidate: a port of `ports` on the address
        `bind`, told as `advertised`.

        Raises NoPort.
        """
        pc, self._mid, self.talks_back = self._pc, offer.mid, offer.talk_back
        if offer.talk_back:
            pc.addTrack(self.track)
        await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        (transceiver,) = pc.getTransceivers()
        receiver: Any = transceiver.receiver
        receiver._handle_rtp_packet = self._packet
        connection = receiver.transport.transport.iceGatherer._connection
        _gather_here(connection, bind, advertised, ports)
        await pc.setLocalDescription(await pc.createAnswer())
        await self.add(offer.candidates)
        return str(pc.localDescription.sdp)

    async def add(self, candidates: Iterable[Candidate]) -> None:
        """Takes more of the browser's addresses."""
        for found in candidates:
            if self.over:
                return
            candidate = RTCIceCandidate(
                component=1, foundation=found.foundation, ip=found.host, port=found.port,
                priority=found.priority, protocol="udp", type=found.type, sdpMid=self._mid,
            )  # fmt: skip
            await self._pc.addIceCandidate(candidate)

    async def close(self) -> None:
        """Ends the connection; the browser is told by DTLS."""
        self.track.stop()
        await self._pc.close()

    def _state_changed(self) -> None:
        if self._on_state is not None:
            self._on_state(str(self._pc.connectionState))

    async def _packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        if self._on_packet is not None:
            self._on_packet(
                packet.payload_type, packet.sequence_number, packet.timestamp, packet.ssrc,
                packet.payload,
            )  # fmt: skip


def _gather_here(connection: Connection, bind: str, advertised: str, ports: range) -> None:
    """Makes an ICE connection gather one host candidate at our address instead of all."""

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> list[HostCandidate]:
        protocol, port = await _bound(connection, bind, ports)
        protocol.local_candidate = HostCandidate(
            foundation=candidate_foundation("host", "udp", advertised),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host"),
            host=advertised,
            port=port,
            type="host",
        )
        connection._protocols.append(protocol)
        return [protocol.local_candidate]

    connection.get_component_candidates = gather  # type: ignore[method-assign] # see above


async def _bound(connection: Connection, host: str, ports: range) -> tuple[StunProtocol, int]:
    """A socket on a free port of the range; raises NoPort."""
    loop = asyncio.get_running_loop()
    first = random.randrange(len(ports))
    for n in range(min(PORTS_TRIED, len(ports))):
        port = ports[(first + n) % len(ports)]
        try:
            _, protocol = await loop.create_datagram_endpoint(
                lambda: GuardedStun(connection), local_addr=(host, port)
            )
        except OSError:
            continue  # another call has it
        return protocol, port
    raise NoPort("no port of the range is free for a browser")
