"""The far end of the edge benchmark where sound comes by connections, as a process: peers that
speak AudioSocket or chan_websocket as Asterisk does, 20 ms of sound 50 times a second each. By both
they say the same: a second of loud sound, two of a quiet line, and again."""

import asyncio
import base64
import os
import random
import uuid
from collections.abc import Iterator
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Final, Protocol, cast

import uvloop

from bench.edge_sender import GROUPS, PACKETS_PER_S, Sent
from ingest.asterisk.frames import KIND_SLIN, KIND_UUID, FrameReader, framed
from ringlog.audio import g711
from ringlog.audio.g711 import SILENCE_BYTE

_OPEN_S: Final = 30.0
_AT_A_TIME: Final = 50
_LOUD: Final = [*range(0x20, 0x30), *range(0xA0, 0xB0)]
_QUIET: Final = [*range(0x7A, 0x7F), *range(0xFA, 0xFF)]
"""Mu-law: samples of some thousand, and below 50."""
_MASKED: Final = 0x80
_BINARY, _PING, _PONG = 0x82, 0x89, 0x8A
_MASK: Final = bytes(4)
"""Zeroes: what they mask stays as it is (RFC 6455 section 5.3)."""


def said() -> list[bytes]:
    """The frames that each peer says in a circle."""
    chance = random.Random(1)
    loud = [bytes(chance.choices(_LOUD, k=160)) for _ in range(PACKETS_PER_S)]
    return loud + [bytes(chance.choices(_QUIET, k=160)) for _ in range(2 * PACKETS_PER_S)]


SAID: Final = said()


def _circle(frames: list[bytes], peer: int) -> Iterator[bytes]:
    """What a peer sends; each begins elsewhere."""
    begin = peer * 7 % len(frames)
    return cycle(frames[begin:] + frames[:begin])


class SoundPeer(Protocol):
    """One connection."""

    came: int
    opened: asyncio.Event

    def send(self) -> None:
        """20 ms of sound."""
        ...


class AudioSocketPeer(asyncio.Protocol):
    """Says its UUID, then sends frames and counts those that come."""

    _said: Final = [
        framed(KIND_SLIN, g711.decode("pcmu", frame).astype("<i2").tobytes()) for frame in SAID
    ]

    def __init__(self, name: str, peer: int) -> None:
        self.came = 0
        self._saying = _circle(self._said, peer)
        self.opened = asyncio.Event()
        self._name = uuid.UUID(name).bytes
        self._reader = FrameReader()
        self._out: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast(asyncio.Transport, transport)
        self._out.write(framed(KIND_UUID, self._name))
        self.opened.set()

    def data_received(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            self.came += frame.kind == KIND_SLIN and any(frame.payload[:2])  # no silence

    def connection_lost(self, exc: Exception | None) -> None:
        self._out = None  # what would be sent now counts as lost

    def send(self) -> None:
        if self._out is not None:
            self._out.write(next(self._saying))


class ChanWebSocketPeer(asyncio.Protocol):
    """A WebSocket client as small as it can be, so that its core is not what is measured."""

    _said: Final = [
        b"".join((bytes((0x82, 0x80 | 126)), (160).to_bytes(2), bytes(4), frame)) for frame in SAID
    ]

    def __init__(self, path: str, peer: int) -> None:
        self.came = 0
        self._saying = _circle(self._said, peer)
        self.opened = asyncio.Event()
        self._path = path
        self._held = b""
        self._out: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [
            f"GET {self._path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket",
            "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: media", "", "",
        ]  # fmt: skip
        self._out.write("\r\n".join(head).encode())

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        if not self.opened.is_set():
            head, end, held = held.partition(b"\r\n\r\n")
            if not end:
                self._held = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"refused: {head[:60]!r}")
            self._text(b"MEDIA_START connection_id:bench channel:bench format:ulaw")
            self.opened.set()
        at = 0
        while len(held) - at >= 2:
            length, begins = held[at + 1], at + 2
            if length == 126:
                length, begins = int.from_bytes(held[at + 2 : at + 4]), at + 4
            if len(held) < begins + length:
                break
            self._take(held[at], held[begins : begins + length])
            at = begins + length
        self._held = held[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._out = None  # what would be sent now counts as lost

    def send(self) -> None:
        if self._out is not None:
            self._out.write(next(self._saying))

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _BINARY:
            self.came += payload[0] != SILENCE_BYTE["pcmu"]
        elif kind == _PING and self._out is not None:
            self._out.write(bytes([_PONG, _MASKED | len(payload)]) + _MASK + payload)

    def _text(self, said: bytes) -> None:
        assert self._out is not None
        self._out.write(bytes([0x81, _MASKED | len(said)]) + _MASK + said)


async def converse(wanted: list[tuple[int, str]], seconds: float, pipe: Connection) -> None:
    """Opens all connections, then sends `seconds` of sound on each, on time. What came of the
    robot's sound is told when nothing more is on its way."""
    peers = await _opened(wanted)
    pipe.send("open")
    await asyncio.to_thread(pipe.recv)
    groups = [peers[n::GROUPS] for n in range(GROUPS)]
    slots, slot_s = int(seconds * PACKETS_PER_S) * GROUPS, 1 / PACKETS_PER_S / GROUPS
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for n in range(slots):
        await asyncio.sleep(max(0.0, began_s + n * slot_s - loop.time()))
        for peer in groups[n % GROUPS]:
            peer.send()
    wall_s = loop.time() - began_s
    pipe.send(Sent(int(seconds * PACKETS_PER_S) * len(peers), wall_s))
    await asyncio.to_thread(pipe.recv)
    pipe.send(sum(peer.came for peer in peers))


async def _opened(wanted: list[tuple[int, str]]) -> list[SoundPeer]:
    loop = asyncio.get_running_loop()
    peers: list[SoundPeer] = []
    for at in range(0, len(wanted), _AT_A_TIME):
        some: list[SoundPeer] = []
        for n, (port, first) in enumerate(wanted[at : at + _AT_A_TIME], at):
            kind = ChanWebSocketPeer if first.startswith("/") else AudioSocketPeer
            made = kind(first, n)
            await loop.create_connection(lambda made=made: made, "127.0.0.1", port)  # type: ignore[misc] # mypy infers no lambda with a default
            some.append(made)
        await asyncio.wait_for(asyncio.gather(*(peer.opened.wait() for peer in some)), _OPEN_S)
        peers += some
    return peers


def main(seconds: float, pipe: Connection, core: int | None = None) -> None:
    """Entry of the process: ports and first words in, "open" out, "begin" in, `Sent` out, "count"
    in, the robot's frames out."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    uvloop.run(converse(pipe.recv(), seconds, pipe))
