"""The receiving side of the edge benchmark, as a process: legs on loopback sockets.

`edge` and `kafka` put every packet through what the edge has: its socket, receiver, session,
chunker and media log, and the shared ticks; `edge` encodes the records and drops them, `kafka`
sends them to a broker. `bare` parses the header and counts, no more. `audiosocket` and `websocket`
are `edge` with the edge's two servers in the place of RTP sockets, and a robot that talks on every
call.
"""

import asyncio
import os
import resource
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import uvloop

from demo.asterisk.instance import free_port
from ingest.asterisk.audiosocket import AudioSocketPort
from ingest.call.types import Identity
from ingest.rtp.receiver import Receiver
from ingest.rtp.socket import RtpTransport
from ingest.sound.chunker import Logged
from ingest.sound.clean_line import CleanLine, CleanThreads
from ingest.sound.cleaning import CHOICES
from ingest.sound.clock import monotonic_us
from ingest.sound.log import MediaLog, Stamp
from ingest.sound.pacer import Pacer
from ingest.sound.playout import Ended, PlayoutEvent, Prompt, Say
from ingest.sound.session import Clock, Session
from ingest.sound.types import PCMU, Digit, Leg, stream_ids
from ingest.ws.doors.asterisk import AsteriskDoor
from ingest.ws.line import WsLine
from ingest.ws.server import MediaServer
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import envelope, ids
from schemas.catalogue import topic
from schemas.partition import partition_of
from schemas.registry import MemoryRegistry
from schemas.wire import Codec

Kind = Literal["bare", "edge", "kafka", "audiosocket", "websocket"]
SOCKETS = ("audiosocket", "websocket")
TOKEN = "bench"
_HEADER = struct.Struct("!BBHII")
_QUIET_S, _DRAIN_S = 0.6, 30.0

CLEANED = CHOICES["noise+echo"]
"""What is done to the legs that are cleaned."""


@dataclass(frozen=True)
class Served:
    """What the server did between the two commands. CPU time is user and system.

    `overflowed` packets were dropped by the kernel, because they waited for us too long; `late_us`
    has the lateness of every shared tick; `said` frames of our own were sent.
    """

    received: int
    dropped: int
    chunks: int
    cpu_s: float
    overflowed: int = 0
    said: int = 0
    late_us: list[int] = field(default_factory=list)


class Counting(asyncio.DatagramProtocol):
    """The peer: a header parsed per packet."""

    received = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        first, kind, _, _, _ = _HEADER.unpack_from(data)
        if first == 0x80 and kind & 0x7F == 0:
            self.received += 1


class Discarding(EventProducer):
    """Encodes and keys every record, then drops it."""

    async def queue(
        self, topic_name: str, event: envelope.Event, partition: int | None = None
    ) -> "asyncio.Future[object]":
        t = topic(topic_name)
        partition_of(t.key(event), t.partitions)
        self.codec.encode(topic_name, event)
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


_SENTENCE = Prompt((bytes(160),) * 500, (60.0,) * 500)


class Owner:
    """The session's owner: like the edge's calls, it passes chunks to the media log. A robot that
    `talks` says its sentence again when it is over."""

    talks = False

    def __init__(self, call_id: str, media_log: MediaLog) -> None:
        identity = Identity(call_id, "bench", "outbound", customer_id=call_id, pool="bench")
        self._stamp = Stamp(identity, 500)
        self._media_log = media_log
        self.chunks = 0

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        """To the log."""
        self.chunks += len(logged)
        self._media_log.add(self._stamp, logged)

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        """The next sentence."""
        if self.talks and any(isinstance(event, Ended) for event in events):
            self.talk(session)

    def talk(self, session: Session) -> None:
        """Says 10 s of sound."""
        session.play(Say("d", "p", _SENTENCE))

    def on_digit(self, session: Session, digit: Digit) -> None:
        """Nobody presses keys."""

    def on_hang_up(self, session: Session, reason: str) -> None:
        """Nobody hangs up over RTP."""

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        """The journal is not measured: once a call."""


class Legs:
    """All legs of the product's path."""

    def __init__(
        self, kind: Kind, count: int, media_log: MediaLog, cleaned: int, threads: CleanThreads
    ) -> None:
        self.pacer = Pacer(monotonic_us())
        self.sessions: list[Session] = []
        self.transports: list[RtpTransport] = []
        self.owners: list[Owner] = []
        self.lines: dict[str, WsLine] = {}
        self.late_us: list[int] = []
        for n in range(count):
            call_id = ids.root_id("bench-edge", n)
            owner, clock = Owner(call_id, media_log), Clock(self.pacer.origin_us, 0)
            clean = CleanLine(call_id, CLEANED, PCMU, threads) if n < cleaned else None
            ids_out = stream_ids(b"bench", call_id, "robot")
            session = Session(call_id, PCMU, clock, ids_out, owner, clean)
            self.owners.append(owner)
            self.sessions.append(session)
            if kind in SOCKETS:
                self.lines[call_id] = WsLine(session)
                owner.talks = True
                owner.talk(session)
                continue
            transport = RtpTransport(session, Receiver(clock.call_ms), PCMU)
            session.attach(transport)
            self.transports.append(transport)

    async def tick(self) -> None:
        """The edge's shared 20 ms clock."""
        while True:
            at_us = monotonic_us()
            late_us = self.pacer.late_us(at_us)
            if self.pacer.due(at_us):
                self.late_us.append(late_us)
                for session in self.sessions:
                    session.tick(self.pacer.tick - 1, at_us)
            await asyncio.sleep(self.pacer.wait_us(monotonic_us()) / 1e6)


def cpu_s() -> float:
    """CPU time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _bind(protocol: asyncio.DatagramProtocol) -> int:
    loop = asyncio.get_running_loop()
    made, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
    port: int = made.get_extra_info("sockname")[1]
    return port


async def _listen(kind: Kind, lines: dict[str, WsLine]) -> list[tuple[int, str]]:
    """The edge's server for one kind of connection. For each call, the port, and what a peer says
    first: an AudioSocket's UUID, or the path of a WebSocket."""
    if kind == "audiosocket":
        server = AudioSocketPort(lines.get)
        port = await server.start("127.0.0.1", 0)
        return [(port, server.expect(call_id)) for call_id in lines]
    media = MediaServer(lines.get, lambda call_id: TOKEN, doors={"asterisk": AsteriskDoor()})
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    await media.start("127.0.0.1", port)
    return [(port, f"/media/asterisk?call={call_id}&token={TOKEN}") for call_id in lines]


def _overflows(ports: Sequence[int]) -> int:
    """Packets that the kernel has dropped on so many UDP ports of 127.0.0.1 (proc_net_udp(5))."""
    wanted = {f"0100007F:{port:04X}" for port in ports}
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return sum(int(line.split()[-1]) for line in lines if line.split()[1] in wanted)


async def serve(
    kind: Kind, count: int, config: Settings | None, pipe: Connection, cleaned: int = 0,
    core: int | None = None,
) -> None:  # fmt: skip
    """Where peers send out, "begin" in, "end" in, `Served` out. With a `core`, all threads of the
    process stay on it."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    producer = Discarding(Settings(), "edge", Codec(MemoryRegistry()))
    if config is not None:
        producer = EventProducer(config, "edge")  # type: ignore[assignment] # its base class
        await producer.start()
    await asyncio.to_thread(producer.codec.warm, "media.audio")
    media_log = MediaLog(producer)
    threads = CleanThreads()
    legs = Legs(kind, 0 if kind == "bare" else count, media_log, cleaned, threads)
    counting = [Counting() for _ in range(count)] if kind == "bare" else []
    protocols: list[Any] = [*counting, *legs.transports]
    tasks = [] if kind == "bare" else [legs.tick(), media_log.run()]
    running = [asyncio.create_task(task) for task in tasks]
    ports = [await _bind(protocol) for protocol in protocols]
    pipe.send(await _listen(kind, legs.lines) if kind in SOCKETS else ports)

    def received() -> int:
        return sum(p.received for p in counting) + sum(s.frames_in for s in legs.sessions)

    await asyncio.to_thread(pipe.recv)
    began_s = cpu_s()
    legs.late_us.clear()
    await asyncio.to_thread(pipe.recv)
    late_us = list(legs.late_us)
    for owner, session in zip(legs.owners, legs.sessions, strict=True):
        owner.talks = False
        session.flush()
    before, deadline = -1, time.monotonic() + _DRAIN_S
    while before < received() and time.monotonic() < deadline:
        before = received()
        await asyncio.sleep(_QUIET_S)
    drained = await media_log.drain(_DRAIN_S)
    spent_s = cpu_s() - began_s
    if not drained or any(task.done() for task in running):
        raise RuntimeError("chunks were not taken in time")
    chunks = sum(owner.chunks for owner in legs.owners)
    said = sum(session.frames_out for session in legs.sessions)
    lost = _overflows(ports) if ports else 0
    pipe.send(Served(received(), media_log.dropped, chunks, spent_s, lost, said, late_us))
    for task in running:
        task.cancel()
    threads.stop()
    await producer.stop()


def main(
    kind: Kind, count: int, config: Settings | None, pipe: Connection, cleaned: int = 0,
    core: int | None = None,
) -> None:  # fmt: skip
    """Entry of the process."""
    uvloop.run(serve(kind, count, config, pipe, cleaned, core))
