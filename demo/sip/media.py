"""The sound of one call at the far end: RTP both ways, what was heard and when, key presses.

Times are Unix seconds. Arrivals are stamped by the kernel, so that a busy process does not make
them late.
"""

import asyncio
import random
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from demo.sip.sdp import CODEC_NAMES, Described
from ringlog.audio import g711

Int16 = NDArray[np.int16]
RATE_HZ = 8_000
FRAME = 160
"""Samples of 20 ms."""

KEYS = "0123456789*#ABCD"
PAYLOAD_TYPES = {"pcmu": 0, "pcma": 8}
_HEADER = struct.Struct(">BBHII")
_EVENT = struct.Struct(">BBH")
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_MAX_ARRIVALS = 400_000
_KEY_FRAMES = 8
_KEY_GAP_FRAMES = 5
_VOLUME = 10


@dataclass(frozen=True, slots=True)
class Arrival:
    """One RTP packet that came. `at_s` is when the kernel got it."""

    at_s: float
    sequence: int
    timestamp: int
    payload_type: int
    marker: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A key that was pressed at the other side; `duration_ms` as its last packet tells."""

    digit: str
    at_s: float
    duration_ms: int


@dataclass(slots=True)
class Playing:
    """Sound to be sent. `began_s` and `ended_s` are when its first and last packet were."""

    samples: Int16
    began_s: float | None = None
    ended_s: float | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Party(Protocol):
    """Who has the telephone at the ear; frames are int16 [160] at 8 kHz."""

    def hear(self, rtp_ts: int, samples: Int16) -> None:
        """A packet's sound has come."""
        ...

    def say(self, frame: int) -> Int16:
        """The 20 ms of this number, counted from when the party was put on."""
        ...

    def sent(self) -> None:
        """What `say` gave was sent."""
        ...

    def over(self) -> None:
        """The line is dead."""
        ...


class SipMedia:
    """A socket for RTP. Nothing is sent before `start`."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.codec = "pcma"
        self.event_type: int | None = 101
        self.arrivals: list[Arrival] = []
        self.keys: list[KeyPress] = []
        self.echoing = False
        self.muted = False
        """No packet at all is sent, as by a far end whose sound is lost."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.port: int = self._socket.getsockname()[1]
        self._remote: tuple[str, int] | None = None
        self._queue: list[Playing] = []
        self._keys_due: list[tuple[str, asyncio.Event]] = []
        self._sequence = random.randrange(1 << 15)
        self._timestamp = random.randrange(1 << 31)
        self._ssrc = random.getrandbits(32)
        self._last_key: tuple[int, int] | None = None
        self._party: Party | None = None
        self._said = 0
        self._sender: asyncio.Task[None] | None = None
        self._closed = False
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def agree(self, described: Described, codec: str) -> None:
        """Where sound goes from now on, and in what."""
        self._remote = (described.host, described.port)
        self.codec, self.event_type = codec, described.event_type

    def start(self) -> None:
        """Begins to send a packet every 20 ms; a second time changes nothing."""
        if self._sender is None and not self._closed:
            self._sender = asyncio.create_task(self._send_all())

    def put_on(self, party: Party) -> None:
        """Somebody who listens, and speaks while nothing is `play`ed."""
        self._party, self._said = party, 0

    def play(self, samples: Int16) -> Playing:
        """Sends int16 [n] at 8 kHz behind what is being sent."""
        playing = Playing(samples)
        self._queue.append(playing)
        return playing

    def hush(self) -> None:
        """Drops what is still to be sent."""
        for playing in self._queue:
            playing.over.set()
        self._queue.clear()

    async def press(self, digits: str) -> None:
        """Presses keys (RFC 4733), 160 ms each with 100 ms between; returns after the last."""
        done = [asyncio.Event() for _ in digits]
        self._keys_due += zip(digits, done, strict=True)
        for event in done:
            await event.wait()

    def heard(self, since_s: float = 0.0) -> Int16:
        """What came since then, laid out by RTP time: int16 [n] at 8 kHz; holes are silence."""
        came = [a for a in self.arrivals if a.at_s >= since_s and a.payload_type in CODEC_NAMES]
        if not came:
            return np.zeros(0, np.int16)
        offsets = [_difference(a.timestamp, came[0].timestamp) for a in came]
        first = min(offsets)
        length = max(o - first + len(a.payload) for o, a in zip(offsets, came, strict=True))
        out = np.zeros(length, np.int16)
        for offset, a in zip(offsets, came, strict=True):
            sound = g711.decode(CODEC_NAMES[a.payload_type], a.payload)
            out[offset - first : offset - first + len(sound)] = sound
        return out

    def voiced(self, since_s: float = 0.0, rms: float = 300.0) -> list[float]:
        """Times at which packets arrived that were louder than `rms` (of 32,767)."""
        return [
            a.at_s
            for a in self.arrivals
            if a.at_s >= since_s
            and a.payload_type in CODEC_NAMES
            and _rms(g711.decode(CODEC_NAMES[a.payload_type], a.payload)) > rms
        ]

    def close(self) -> None:
        """Stops and frees the port."""
        if self._closed:
            return
        self._closed = True
        if self._sender is not None:
            self._sender.cancel()
        self.hush()
        for _, done in self._keys_due:
            done.set()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        if self._party is not None:
            self._party.over()

    async def _send_all(self) -> None:
        begun, frame, marker = time.monotonic(), 0, True
        while True:
            if self._keys_due:
                frame += await self._press_one(begun, frame)
                continue
            if self._remote is not None and not self.muted and not self.echoing:
                self._send_sound(marker)
                marker = False
            frame += 1
            self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
            await asyncio.sleep(max(0.0, begun + frame * 0.02 - time.monotonic()))

    def _send_sound(self, marker: bool) -> None:
        """The next 20 ms: what is played, else what the party says, else silence."""
        party = None if self._queue else self._party
        if party is not None:
            samples = party.say(self._said)
            self._said += 1
        else:
            samples = self._played() if self._queue else np.zeros(FRAME, np.int16)
        payload = g711.encode(self.codec, samples)
        self._send(PAYLOAD_TYPES[self.codec], payload, marker, self._timestamp)
        if party is not None:
            party.sent()

    def _played(self) -> Int16:
        """The next 20 ms of what is played."""
        playing, now_s = self._queue[0], time.time()
        if playing.began_s is None:
            playing.began_s = now_s
        part, playing.samples = playing.samples[:FRAME], playing.samples[FRAME:]
        if not len(playing.samples):
            playing.ended_s = now_s
            playing.over.set()
            self._queue.pop(0)
        return np.pad(part, (0, FRAME - len(part)))

    async def _press_one(self, begun: float, frame: int) -> int:
        """One key in the place of sound; the frames that it took."""
        digit, done = self._keys_due.pop(0)
        begins = self._timestamp
        for n in range(1, _KEY_FRAMES + _KEY_GAP_FRAMES + 1):
            if n <= _KEY_FRAMES and self._remote is not None and self.event_type is not None:
                last = n == _KEY_FRAMES
                flags = (0x80 if last else 0) | _VOLUME
                payload = _EVENT.pack(KEYS.index(digit), flags, n * FRAME)
                for _ in range(3 if last else 1):  # RFC 4733 section 2.5.1.4
                    self._send(self.event_type, payload, n == 1, begins)
            self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
            await asyncio.sleep(max(0.0, begun + (frame + n) * 0.02 - time.monotonic()))
        done.set()
        return _KEY_FRAMES + _KEY_GAP_FRAMES

    def _send(self, kind: int, payload: bytes, marker: bool, timestamp: int) -> None:
        second = kind | (0x80 if marker else 0)
        data = _HEADER.pack(0x80, second, self._sequence, timestamp, self._ssrc) + payload
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._put(data)

    def _put(self, data: bytes) -> None:
        if self._remote is None:
            return
        try:
            self._socket.sendto(data, self._remote)
        except OSError:
            pass  # the other side's port is closed: nobody hears this packet

    def _receive(self) -> None:
        for _ in range(64):
            try:
                data, extra, _, _ = self._socket.recvmsg(2_048, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of a packet of ours
            self._take(data, _stamp(extra))

    def _take(self, data: bytes, at_s: float) -> None:
        if len(data) < _HEADER.size or data[0] >> 6 != 2:
            return
        first, second, sequence, timestamp, _ = _HEADER.unpack_from(data)
        payload = data[_HEADER.size + 4 * (first & 0x0F) :]
        kind = second & 0x7F
        if self.echoing:
            self._put(data)
        if kind == self.event_type:
            self._take_key(timestamp, payload, at_s)
        elif len(self.arrivals) < _MAX_ARRIVALS:
            marker = bool(second & 0x80)
            self.arrivals.append(Arrival(at_s, sequence, timestamp, kind, marker, payload))
        if self._party is not None and kind in CODEC_NAMES and len(payload) == FRAME:
            self._party.hear(timestamp, g711.decode(CODEC_NAMES[kind], payload))

    def _take_key(self, timestamp: int, payload: bytes, at_s: float) -> None:
        """A key counts once, by its end packet (sent three times)."""
        if len(payload) < _EVENT.size:
            return
        event, flags, duration = _EVENT.unpack_from(payload)
        if flags & 0x80 and event < len(KEYS) and self._last_key != (timestamp, event):
            self._last_key = (timestamp, event)
            self.keys.append(KeyPress(KEYS[event], at_s, duration * 1000 // RATE_HZ))


def _stamp(extra: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def _difference(a: int, b: int) -> int:
    """a - b of two RTP timestamps, signed."""
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _rms(samples: Int16) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float32) ** 2))) if len(samples) else 0.0
