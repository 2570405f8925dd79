"""Receiving one call's RTP: order, duplicates, loss, sources, clocks and keys (RFC 3550 app. A).

No socket and no clock in here: datagrams and the time of their arrival go in, frames in order come
out. What is missing is waited for `REORDER_US`, then counted as lost. Memory is bounded: at most
`MAX_HELD` packets wait, at most `MAX_SSRCS` sources are known.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ingest.rtp.packet import (
    EVENT_DIGITS,
    RtpError,
    is_rtcp,
    parse,
    parse_event,
    sequence_delta,
    timestamp_delta,
)
from ingest.sound.types import (
    COMFORT_NOISE,
    PAYLOAD_FORMATS,
    SAMPLE_BYTES,
    TELEPHONE_EVENT,
    Digit,
    Format,
    Frame,
    Leg,
)

Address = tuple[str, int]
Received = Frame | Digit

REORDER_US: Final = 60_000
"""How long a missing packet is waited for."""

MAX_DROPOUT: Final = 3000
"""Largest forward step of the sequence that is loss and not a restart (RFC 3550 A.1)."""

MAX_MISORDER: Final = 100
"""Largest backward step that is disorder and not a restart (RFC 3550 A.1)."""

MAX_HELD: Final = 64
"""Packets that wait for a missing one; more means that it is not coming."""

MAX_SSRCS: Final = 16
MAX_LEGS: Final = 64
"""Sources of one call, and changes between them; more is an attack or a loop."""

SEEN_BITS: Final = 30
SEEN_MASK: Final = 2**SEEN_BITS - 1
"""Last sequence numbers that are remembered, to tell a duplicate from a late packet."""

MAX_JUMP_S: Final = 2
"""A timestamp this far from what arrival times say is a new clock, not a pause, seconds."""

MAX_WAIT_S: Final = 10
"""Longest that packets wait in a socket for the next edge, seconds: its buffer holds less."""

_HEADER = struct.Struct("!BBHII")
_NOTHING: Final[tuple[Received, ...]] = ()


@dataclass(slots=True)
class ReceiveStats:
    """Counts of one call's receive side. `jitter` is RFC 3550's estimate, samples."""

    received: int = 0
    lost: int = 0
    duplicate: int = 0
    late: int = 0
    source: int = 0
    malformed: int = 0
    payload_type: int = 0
    ssrc: int = 0
    restarts: int = 0
    clock_jumps: int = 0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """A leg from before a restart of the edge, and where its clocks should stand now."""

    leg: Leg
    expected_ts: int
    expected_seq: int


class _Waiting:
    """A packet in the reorder window."""

    __slots__ = ("arrival_us", "kind", "payload", "timestamp")

    def __init__(self, kind: int, timestamp: int, payload: bytes, arrival_us: int) -> None:
        self.kind, self.timestamp, self.payload = kind, timestamp, payload
        self.arrival_us = arrival_us


class _Source:
    """Clocks and window of one SSRC."""

    __slots__ = (
        "bad_seq", "end_ts", "events", "held", "last_raw", "last_us", "leg", "legs",
        "lost_before", "next_seq", "offset", "restored", "seen", "ssrc", "step", "transit",
    )  # fmt: skip

    def __init__(self, ssrc: int, next_seq: int) -> None:
        self.ssrc = ssrc
        self.next_seq = next_seq  # extended
        self.seen = 0  # bit n: sequence next_seq - 1 - n was delivered
        self.restored = False  # known from before a restart, nothing heard since
        self.bad_seq = -1
        self.held: dict[int, _Waiting] = {}
        self.lost_before = 0
        self.events: list[int] = []  # timestamps of the last key presses
        self.leg: Leg | None = None
        self.legs = 0
        self.last_raw = 0  # extended timestamp of the last frame, as sent
        self.offset = 0  # added to it, after a jump of the sender's clock
        self.end_ts = 0  # end of the last frame on the leg's clock
        self.last_us: int | None = None  # arrival of the last frame; None after our restart
        self.step = 0  # samples of the last frame
        self.transit: float | None = None


class Receiver:
    """The receive side of one call.

    `remote` is the announced source, or None: then the first packet's source is taken and kept.
    `call_ms` tells call time for an arrival, so that a leg knows where it begins.
    """

    def __init__(
        self,
        call_ms: Callable[[int], int],
        remote: Address | None = None,
        formats: Mapping[int, Format] = PAYLOAD_FORMATS,
        telephone_event: int = TELEPHONE_EVENT,
        known: Sequence[Known] = (),
    ) -> None:
        self.stats = ReceiveStats()
        self.remote = remote
        self._call_ms = call_ms
        self._formats = formats
        self._telephone_event = telephone_event
        self._source: _Source | None = None
        self._sources: dict[int, _Source] = {}
        self._legs = 0
        self._end_ts = 0  # largest extended timestamp handed out, over all sources
        for found in known:
            source = _Source(found.leg.ssrc, found.expected_seq)
            source.leg, source.last_raw, source.legs = found.leg, found.expected_ts, 1
            source.end_ts, source.restored = found.expected_ts, True
            self._sources[found.leg.ssrc] = source
            self._end_ts = max(self._end_ts, found.expected_ts)

    @property
    def waiting(self) -> bool:
        """True while packets wait for a missing one, so that `poll` has work."""
        return self._source is not None and bool(self._source.held)

    def receive(self, data: bytes, address: Address, now_us: int) -> Sequence[Received]:
        """Takes one datagram; returns what is in order now. Never raises on bad input."""
        stats = self.stats
        if address != self.remote and self.remote is not None:
            stats.source += 1
            return _NOTHING
        if len(data) > 12 and data[0] == 0x80 and len(data) <= 2048:
            _, kind, seq, timestamp, ssrc = _HEADER.unpack_from(data)
            kind &= 0x7F
            payload = data[12:]
        else:
            if is_rtcp(data):
                return _NOTHING
            try:
                packet = parse(data)
            except RtpError:
                stats.malformed += 1
                return _NOTHING
            kind, seq, timestamp = packet.payload_type, packet.sequence, packet.timestamp
            ssrc, payload = packet.ssrc, packet.payload
        sound = self._formats.get(kind)
        if sound is None and kind not in (self._telephone_event, COMFORT_NOISE):
            if 64 <= kind <= 95:  # RTCP types 192-223 with the marker bit cut off
                return _NOTHING
            stats.payload_type += 1
            return _NOTHING
        if self.remote is None:
            self.remote = address
        stats.received += 1
        source = self._source
        released: list[Received] = []
        if source is None or source.ssrc != ssrc:
            switched = self._switch(ssrc, seq, released)
            if switched is None:
                return released
            source = switched
        if sound is not None:
            self._measure_jitter(source, sound.rate_hz, timestamp, now_us)
        if seq == source.next_seq & 0xFFFF and not source.held:
            source.next_seq += 1
            source.seen = source.seen << 1 & SEEN_MASK | 1
            self._deliver(source, source.next_seq - 1, kind, timestamp, payload, now_us, released)
            return released
        self._disordered(source, seq, _Waiting(kind, timestamp, payload, now_us), released)
        return released

    def poll(self, now_us: int) -> Sequence[Received]:
        """Gives up on packets that were waited for long enough."""
        source = self._source
        if source is None or not source.held:
            return _NOTHING
        released: list[Received] = []
        self._release(source, now_us, released)
        return released

    def flush(self) -> Sequence[Received]:
        """Hands out all that waits: the call is over."""
        released: list[Received] = []
        if self._source is not None:
            self._release(self._source, None, released)
        return released

    def legs(self) -> list[tuple[Leg, int, int]]:
        """Every leg with its next timestamp and sequence number, for the edge's journal."""
        return [(s.leg, s.end_ts, s.next_seq) for s in self._sources.values() if s.leg is not None]

    def _switch(self, ssrc: int, seq: int, out: list[Received]) -> _Source | None:
        """Takes up a new SSRC, or one that comes back; None when the packet is dropped."""
        found = self._sources.get(ssrc)
        if found is None:
            if len(self._sources) >= MAX_SSRCS:
                self.stats.ssrc += 1
                return None
            found = self._sources[ssrc] = _Source(ssrc, seq)
        else:
            # Back after another source, or after our restart. A straggler from before the other
            # source does not switch back; more than that is a new leg, since the old one is over.
            delta = sequence_delta(seq, found.next_seq & 0xFFFF)
            if found.restored:
                found.restored = False
            elif -MAX_MISORDER <= delta < 0:
                self.stats.late += 1
                return None
            else:
                if self._legs >= MAX_LEGS:
                    self.stats.ssrc += 1
                    return None
                found.leg = None
                delta += 0x10000 if delta < 0 else 0
            found.next_seq += delta
            found.seen, found.transit = 0, None
        if self._source is not None:
            self._release(self._source, None, out)
        self._source = found
        return found

    def _measure_jitter(self, source: _Source, rate_hz: int, timestamp: int, now_us: int) -> None:
        transit = now_us * rate_hz / 1e6 - timestamp
        if source.transit is not None:
            change = abs(transit - source.transit)
            if change < rate_hz:  # a wrap or a new clock is no jitter
                self.stats.jitter += (change - self.stats.jitter) / 16
        source.transit = transit

    def _disordered(self, source: _Source, seq: int, item: _Waiting, out: list[Received]) -> None:
        delta = sequence_delta(seq, source.next_seq & 0xFFFF)
        ext = source.next_seq + delta
        if delta < -MAX_MISORDER or delta > MAX_DROPOUT:
            if seq != source.bad_seq:  # one stray packet restarts nothing
                source.bad_seq = seq + 1 & 0xFFFF
                self.stats.late += 1
                return
            self._release(source, None, out)
            self.stats.restarts += 1
            source.next_seq += seq - source.next_seq & 0xFFFF
            source.seen = 0
            ext = source.next_seq
        elif delta < 0:
            if delta >= -SEEN_BITS and source.seen >> (-delta - 1) & 1:
                self.stats.duplicate += 1
            else:
                self.stats.late += 1
            return
        source.bad_seq = -1
        if ext in source.held:
            self.stats.duplicate += 1
            return
        source.held[ext] = item
        self._release(source, item.arrival_us, out)

    def _release(self, source: _Source, now_us: int | None, out: list[Received]) -> None:
        """Delivers what is in order or overdue; with None, everything."""
        held = source.held
        while held:
            item = held.pop(source.next_seq, None)
            if item is None:
                first = min(held)
                waited = now_us is not None and len(held) <= MAX_HELD
                if waited and now_us - min(i.arrival_us for i in held.values()) < REORDER_US:  # type: ignore[operator] # waited implies a time
                    return
                missing = first - source.next_seq
                self.stats.lost += missing
                source.lost_before += missing
                source.seen = source.seen << min(missing, SEEN_BITS) & SEEN_MASK
                source.next_seq = first
                item = held.pop(first)
            seq = source.next_seq
            source.next_seq += 1
            source.seen = source.seen << 1 & SEEN_MASK | 1
            self._deliver(
                source, seq, item.kind, item.timestamp, item.payload, item.arrival_us, out
            )

    def _deliver(
        self,
        source: _Source,
        seq: int,
        kind: int,
        timestamp: int,
        payload: bytes,
        arrival_us: int,
        out: list[Received],
    ) -> None:
        sound = self._formats.get(kind)
        if sound is None:
            if kind == self._telephone_event:
                self._key(source, timestamp, payload, out)
            return  # comfort noise is a pause: the next frame's timestamp tells how long
        step, odd = divmod(len(payload), SAMPLE_BYTES[sound.codec])
        if odd or not step:
            self.stats.malformed += 1
            return
        leg = source.leg
        if leg is None:
            leg = self._begin(source, sound, timestamp, arrival_us)
        elif leg.rate_hz != sound.rate_hz:
            self.stats.payload_type += 1
            return
        raw = source.last_raw + timestamp_delta(timestamp, source.last_raw & 0xFFFFFFFF)
        if raw != source.last_raw + source.step:
            self._check_clock(source, leg, raw, arrival_us)
        ts = raw + source.offset
        source.last_raw, source.step, source.last_us = raw, step, arrival_us
        source.end_ts = max(source.end_ts, ts + step)
        self._end_ts = max(self._end_ts, source.end_ts)
        lost, source.lost_before = source.lost_before, 0
        out.append(Frame(leg, seq, ts, payload, sound.codec, lost))

    def _begin(self, source: _Source, sound: Format, timestamp: int, arrival_us: int) -> Leg:
        # Extended past whatever an earlier source used, so that timestamps (and the chunk ids made
        # of them) never repeat within a call.
        cycles = -(-(self._end_ts - timestamp) // 2**32) if self._end_ts > timestamp else 0
        start = timestamp + cycles * 2**32
        source.last_raw, source.last_us = start, arrival_us
        # The name of a leg is never used twice: a source that comes back gets a derived one.
        name = source.ssrc + source.legs * 0x9E3779B1 & 0xFFFFFFFF
        source.legs += 1
        self._legs += 1
        source.offset = source.step = 0
        source.leg = Leg("customer", name, start, self._call_ms(arrival_us), sound.rate_hz)
        return source.leg

    def _check_clock(self, source: _Source, leg: Leg, raw: int, arrival_us: int) -> None:
        """A pause or a loss moves time forward as arrivals do; anything else is a new clock."""
        moved = raw - source.last_raw
        since_us = 0 if source.last_us is None else arrival_us - source.last_us
        elapsed = since_us * leg.rate_hz // 1_000_000
        explained = max(elapsed, source.lost_before * 2 * source.step) + MAX_JUMP_S * leg.rate_hz
        # After a restart the first packets may have waited in the socket.
        back = leg.rate_hz // 5 if source.last_us is not None else MAX_WAIT_S * leg.rate_hz
        if -back <= moved <= explained:
            return
        self.stats.clock_jumps += 1
        step = source.step or leg.rate_hz // 50
        frames = max(1, round(elapsed / step))
        source.offset += source.last_raw + frames * step - raw

    def _key(self, source: _Source, timestamp: int, payload: bytes, out: list[Received]) -> None:
        try:
            event = parse_event(payload)
        except RtpError:
            self.stats.malformed += 1
            return
        if event.event >= len(EVENT_DIGITS) or timestamp in source.events:
            return  # flash, tones and repeats of the same press
        source.events = [*source.events[-7:], timestamp]
        out.append(Digit(EVENT_DIGITS[event.event], source.ssrc, timestamp))
