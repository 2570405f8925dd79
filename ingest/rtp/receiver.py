"""Receiving one call's RTP: order, duplicates, loss, sources, clocks and keys (RFC 3550 app. A).

It has no socket and no clock: datagrams and their arrival times go in, frames in order come out. It
waits `REORDER_US` for a missing packet, then counts it as lost. The gate (`sources`) decides whose
packets are heard. Memory is bounded: at most `MAX_HELD` packets wait, at most `MAX_SSRCS` sources
are known.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ingest.rtp.keys import EventShape, KeyPresses
from ingest.rtp.opus import OPUS_CLOCK_HZ, opus_samples
from ingest.rtp.packet import (
    RtpError,
    is_rtcp,
    parse,
    parse_event,
    sequence_delta,
    timestamp_delta,
)
from ingest.rtp.sources import Address, Gate, RtpData
from ingest.sound.pause import UNEXPLAINED_US, Pause, late_us
from ingest.sound.rate import SoundRate
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

Inbound = Frame | Digit
"""What a far end did, in order."""

REORDER_US: Final = 60_000
"""How long to wait for a missing packet."""

MAX_DROPOUT: Final = 3000
"""Largest forward step of the sequence that is loss and not a restart (RFC 3550 A.1)."""

MAX_MISORDER: Final = 100
"""Largest backward step that is disorder and not a restart (RFC 3550 A.1)."""

MAX_HELD: Final = 64
"""Packets that wait for a missing one; more means that it is not coming."""

MAX_SSRCS: Final = 16
"""Sources whose clocks are remembered; beyond that, the oldest is forgotten."""

RATE_CHANGE_US: Final = 1_000_000
"""A leg lasts this long before one of another sample rate takes its place."""

SEEN_BITS: Final = 30
SEEN_MASK: Final = 2**SEEN_BITS - 1
"""Recent sequence numbers remembered, to tell a duplicate from a late packet."""

MAX_JUMP_S: Final = 2
"""A timestamp this far from arrival time means a new clock, not a pause, seconds."""

MAX_WAIT_S: Final = 10
"""Longest that packets wait in a socket for the next edge, seconds: its buffer holds less."""

_FOREVER_US: Final = 2**62
_HEADER = struct.Struct("!BBHII")
_NOTHING: Final[tuple[Inbound, ...]] = ()


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
    rate: int = 0
    restarts: int = 0
    clock_jumps: int = 0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """A leg from before a restart of the edge, and what its clocks should read now."""

    leg: Leg
    expected_ts: int
    expected_seq: int


class _Source:
    """Clocks and window of one SSRC."""

    __slots__ = (
        "bad_seq", "began_us", "end_ts", "held", "keys", "last_raw", "last_us", "leg",
        "lost_before", "next_seq", "offset", "pause", "pause_raw", "restored", "seen", "ssrc",
        "step", "transit",
    )  # fmt: skip

    def __init__(self, ssrc: int, next_seq: int) -> None:
        self.ssrc = ssrc
        self.next_seq = next_seq  # extended
        self.seen = 0  # bit n: sequence next_seq - 1 - n was delivered
        self.restored = False  # known from before a restart, nothing heard since
        self.bad_seq = -1
        self.held: dict[int, RtpData] = {}
        self.lost_before = 0
        self.keys = KeyPresses()
        self.leg: Leg | None = None
        self.began_us = 0  # arrival of the leg's first frame
        self.last_raw = 0  # extended timestamp of the last frame, as sent
        self.offset = 0  # added to it after a jump, or a pause that it does not show
        self.end_ts = 0  # end of the last frame on the leg's clock
        self.last_us: int | None = None  # arrival of the last frame; None after our restart
        self.step = 0  # samples of the last frame
        self.transit: float | None = None
        self.pause: Pause | None = None  # frames since a gap that is not understood yet
        self.pause_raw = 0  # `last_raw` before that gap


class Receiver:
    """The receive side of one call.

    `gate` has the far end's address. `call_ms` tells call time for an arrival, so that a leg knows
    where it begins. `event_type` is the payload type of telephone events that was agreed.
    """

    def __init__(
        self,
        call_ms: Callable[[int], int],
        remote: Address | None = None,
        formats: Mapping[int, Format] = PAYLOAD_FORMATS,
        event_type: int = TELEPHONE_EVENT,
        known: Sequence[Known] = (),
    ) -> None:
        self.stats = ReceiveStats()
        self.gate = Gate(remote)
        self.event_type = event_type  # we send events with it, too
        self.unknown_types: set[int] = set()
        self.alive_us: int | None = None  # last packet of the far end, of any kind
        self._call_ms = call_ms
        self._formats = formats
        self._event_types = {event_type}
        self._shape = EventShape()
        self._rate: SoundRate | None = None
        self._source: _Source | None = None
        self._sources: dict[int, _Source] = {}
        self._names: set[int] = set()
        self._end_ts = 0  # largest extended timestamp handed out, over all sources
        for found in known:
            source = _Source(found.leg.ssrc, found.expected_seq)
            source.leg, source.last_raw = found.leg, found.expected_ts
            source.end_ts, source.restored = found.expected_ts, True
            self._sources[found.leg.ssrc] = source
            self._names.add(found.leg.ssrc)
            self._end_ts = max(self._end_ts, found.expected_ts)

    @property
    def remote(self) -> Address | None:
        """Where we send to; None while that is unknown."""
        return self.gate.remote

    @property
    def waiting(self) -> bool:
        """True while frames wait for a missing one or a verdict, so that `poll` has work."""
        source = self._source
        return source is not None and (bool(source.held) or source.pause is not None)

    def receive(self, data: bytes, address: Address, now_us: int) -> Sequence[Inbound]:
        """Takes one datagram; returns what is in order now. Never raises on bad input."""
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
                self.stats.malformed += 1
                return _NOTHING
            kind, seq, timestamp = packet.payload_type, packet.sequence, packet.timestamp
            ssrc, payload = packet.ssrc, packet.payload
        if 64 <= kind <= 95:  # RTCP types 192-223 with the marker bit cut off
            return _NOTHING
        gate, source = self.gate, self._source
        released: list[Inbound] = []
        if source is not None and source.ssrc == ssrc and address == gate.address:
            gate.alive_us = self.alive_us = now_us
            gate.packets += 1
            self._take(source, kind, seq, timestamp, payload, now_us, released)
            return released
        item = RtpData(kind, seq, timestamp, ssrc, payload, now_us)
        if kind in self._formats or kind == COMFORT_NOISE:
            self._from_elsewhere(item, address, released)
        else:
            self._key_from_elsewhere(item, address, released)
        return released

    def poll(self, now_us: int) -> Sequence[Inbound]:
        """Gives up on packets that are overdue."""
        source = self._source
        if source is None:
            return _NOTHING
        released: list[Inbound] = []
        if source.held:
            self._release(source, now_us, released)
        if source.pause is not None:
            self._settle(source, now_us, released)
        return released

    def flush(self) -> Sequence[Inbound]:
        """Hands out all held frames: the call is over."""
        released: list[Inbound] = []
        if self._source is not None:
            self._end(self._source, released)
        return released

    def legs(self) -> list[tuple[Leg, int, int]]:
        """Every leg with its next timestamp and sequence number, for the edge's journal."""
        return [(s.leg, s.end_ts, s.next_seq) for s in self._sources.values() if s.leg is not None]

    # Sources -------------------------------------------------------------------------------------

    def _from_elsewhere(self, item: RtpData, address: Address, out: list[Inbound]) -> None:
        """Sound of another source than the one in use, or the first of all."""
        source = self._source
        going_on = source is not None and source.ssrc == item.ssrc and self._follows(source, item)
        kept = self.gate.push(item, address, going_on)
        if kept is None:
            if address == self.gate.address:
                self.stats.ssrc += 1
            else:
                self.stats.source += 1
            return
        if source is None or source.ssrc != item.ssrc:
            if source is not None:
                self._end(source, out)
            self._source = source = self._source_of(kept[0])
        self.alive_us = item.arrival_us
        for one in kept:
            self._take(source, one.kind, one.seq, one.timestamp, one.payload, one.arrival_us, out)

    def _follows(self, source: _Source, item: RtpData) -> bool:
        """Whether a packet from another address continues the source in use."""
        if not 0 <= sequence_delta(item.seq, source.next_seq & 0xFFFF) <= MAX_DROPOUT:
            return False
        if source.leg is None or source.last_us is None:
            return True
        rate = source.leg.rate_hz
        moved = timestamp_delta(item.timestamp, source.last_raw & 0xFFFFFFFF)
        elapsed = (item.arrival_us - source.last_us) * rate // 1_000_000
        return -MAX_JUMP_S * rate <= moved <= elapsed + MAX_JUMP_S * rate

    def _source_of(self, first: RtpData) -> _Source:
        """The state of an SSRC that is heard from now on. One that returns starts a new leg, unless
        the old one was interrupted by our restart."""
        found = self._sources.get(first.ssrc)
        if found is None:
            return self._new_source(first)
        delta = sequence_delta(first.seq, found.next_seq & 0xFFFF)
        if found.restored:
            found.restored = False
        else:
            found.leg = None
            delta += 0x10000 if delta < 0 else 0
        found.next_seq += delta
        found.seen, found.transit = 0, None
        return found

    def _new_source(self, first: RtpData) -> _Source:
        if len(self._sources) >= MAX_SSRCS:
            oldest = next(x for x in self._sources.values() if x is not self._source)
            del self._sources[oldest.ssrc]
        made = self._sources[first.ssrc] = _Source(first.ssrc, first.seq)
        return made

    def _key_from_elsewhere(self, item: RtpData, address: Address, out: list[Inbound]) -> None:
        """Keys on a separate SSRC from the far end's address, as some gateways send them."""
        gate = self.gate
        if address != gate.remote and gate.remote is not None:
            self.stats.source += 1
            return
        known = self._sources.get(item.ssrc)
        if known is None:
            known = self._new_source(item)
        at_us = item.arrival_us
        if self._other(known, item.kind, item.timestamp, item.payload, at_us, out):
            self.alive_us = item.arrival_us
            if gate.remote is None:
                gate.remote = address

    def _end(self, source: _Source, out: list[Inbound]) -> None:
        self._release(source, None, out)
        if source.pause is not None:
            self._settle(source, _FOREVER_US, out)

    # Order ---------------------------------------------------------------------------------------

    def _take(
        self,
        source: _Source,
        kind: int,
        seq: int,
        timestamp: int,
        payload: bytes,
        arrival_us: int,
        out: list[Inbound],
    ) -> None:
        self.stats.received += 1
        sound = self._formats.get(kind)
        if sound is not None:
            self._measure_jitter(source, sound.rate_hz, timestamp, arrival_us)
        if seq == source.next_seq & 0xFFFF and not source.held:
            source.next_seq += 1
            source.seen = source.seen << 1 & SEEN_MASK | 1
            self._deliver(source, source.next_seq - 1, kind, timestamp, payload, arrival_us, out)
            return
        item = RtpData(kind, seq, timestamp, source.ssrc, payload, arrival_us)
        self._disordered(source, item, out)

    def _measure_jitter(self, source: _Source, rate_hz: int, timestamp: int, now_us: int) -> None:
        transit = now_us * rate_hz / 1e6 - timestamp
        if source.transit is not None:
            change = abs(transit - source.transit)
            if change < rate_hz:  # a wrap or a new clock is no jitter
                self.stats.jitter += (change - self.stats.jitter) / 16
        source.transit = transit

    def _disordered(self, source: _Source, item: RtpData, out: list[Inbound]) -> None:
        seq = item.seq
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

    def _release(self, source: _Source, now_us: int | None, out: list[Inbound]) -> None:
        """Delivers what is in order or overdue; with None, everything."""
        held = source.held
        while held:
            item = held.pop(source.next_seq, None)
            if item is None:
                first = min(held)
                oldest_us = min(i.arrival_us for i in held.values())
                waits = now_us is not None and now_us - oldest_us < REORDER_US
                if waits and len(held) <= MAX_HELD:
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

    # Sound and its clock -------------------------------------------------------------------------

    def _deliver(
        self,
        source: _Source,
        seq: int,
        kind: int,
        timestamp: int,
        payload: bytes,
        arrival_us: int,
        out: list[Inbound],
    ) -> None:
        sound = self._formats.get(kind)
        if sound is None:
            if kind == COMFORT_NOISE:  # a pause: the next frame's timestamp tells how long
                self.gate.suppresses_silence = True
            else:
                self._other(source, kind, timestamp, payload, arrival_us, out)
            return
        if sound.rate_hz == OPUS_CLOCK_HZ:
            step, odd = opus_samples(payload), 0
        else:
            step, odd = divmod(len(payload), SAMPLE_BYTES[sound.codec])
        if odd or not step:
            self.stats.malformed += 1
            return
        if self._rate is None:
            self._rate = SoundRate(arrival_us)
        if not self._rate.take(step * 1000 / sound.rate_hz, arrival_us):
            self.stats.rate += 1
            return
        leg = source.leg
        if leg is None:
            leg = self._begin(source, sound, timestamp, arrival_us)
        elif leg.rate_hz != sound.rate_hz:
            if arrival_us - source.began_us < RATE_CHANGE_US:
                self.stats.payload_type += 1
                return
            if source.pause is not None:
                self._settle(source, _FOREVER_US, out)
            leg = self._begin(source, sound, timestamp, arrival_us)
        raw = source.last_raw + timestamp_delta(timestamp, source.last_raw & 0xFFFFFFFF)
        last_us = source.last_us
        if raw != source.last_raw + source.step or (
            last_us is not None and arrival_us - last_us > UNEXPLAINED_US
        ):
            self._check_clock(source, leg, raw, step, arrival_us)
        ts = raw + source.offset
        source.last_raw, source.step, source.last_us = raw, step, arrival_us
        source.end_ts = max(source.end_ts, ts + step)
        self._end_ts = max(self._end_ts, source.end_ts)
        lost, source.lost_before = source.lost_before, 0
        frame = Frame(leg, seq, ts, payload, sound.codec, lost)
        if source.pause is None:
            out.append(frame)
        else:
            source.pause.push(frame, ts + step, arrival_us)
            self._settle(source, arrival_us, out)

    def _begin(self, source: _Source, sound: Format, timestamp: int, arrival_us: int) -> Leg:
        # Extended past whatever an earlier source used, so that timestamps (and the chunk ids made
        # of them) never repeat within a call.
        cycles = -(-(self._end_ts - timestamp) // 2**32) if self._end_ts > timestamp else 0
        start = timestamp + cycles * 2**32
        source.last_raw, source.last_us, source.began_us = start, arrival_us, arrival_us
        # A leg's name is never reused: a source that returns gets a derived one.
        name = source.ssrc
        while name in self._names:
            name = name + 0x9E3779B1 & 0xFFFFFFFF
        self._names.add(name)
        source.offset = source.step = 0
        source.leg = Leg("customer", name, start, self._call_ms(arrival_us), sound.rate_hz)
        return source.leg

    def _check_clock(self, source: _Source, leg: Leg, raw: int, step: int, arrival_us: int) -> None:
        """A pause or a loss moves timestamps forward as arrivals do; anything else is a new clock.

        If timestamps do not move over a gap in arrivals, the frames that follow decide (`pause`):
        the sender may have stopped its clock, or sent one frame with the old time first.
        """
        pause = source.pause
        # With a pause open, both are since its beginning: one frame of it may have an old time.
        last_us = source.last_us if pause is None else pause.last_us
        last_raw = source.last_raw if pause is None else source.pause_raw
        moved = raw - last_raw
        since_us = 0 if last_us is None else arrival_us - last_us
        elapsed = since_us * leg.rate_hz // 1_000_000
        explained = max(elapsed, source.lost_before * 2 * source.step) + MAX_JUMP_S * leg.rate_hz
        # After a restart the first packets may have waited in the socket.
        back = leg.rate_hz // 5 if last_us is not None else MAX_WAIT_S * leg.rate_hz
        if -back <= moved <= explained:
            if pause is None and last_us is not None:
                end_ts = last_raw + source.step
                if late_us(last_us, end_ts, arrival_us, raw + step, leg.rate_hz) > UNEXPLAINED_US:
                    source.pause = Pause(leg.rate_hz, last_us, end_ts + source.offset)
                    source.pause_raw = last_raw
            return
        self.stats.clock_jumps += 1
        usual = source.step or leg.rate_hz // 50
        frames = max(1, round(elapsed / usual))
        source.offset += last_raw + frames * usual - raw

    def _settle(self, source: _Source, now_us: int, out: list[Inbound]) -> None:
        """Hands out the frames after a gap once its cause is known."""
        pause = source.pause
        if pause is None or (shift := pause.verdict(now_us)) is None:
            return
        source.pause = None
        if shift and source.step:
            shift = round(shift / source.step) * source.step
            source.offset += shift
            source.end_ts += shift
            self._end_ts = max(self._end_ts, source.end_ts)
            self.stats.clock_jumps += 1
        out += [f._replace(ts=f.ts + shift) for f in pause.frames]

    # Keys ----------------------------------------------------------------------------------------

    def _other(
        self,
        source: _Source,
        kind: int,
        timestamp: int,
        payload: bytes,
        arrival_us: int,
        out: list[Inbound],
    ) -> bool:
        """Handles a packet that is not sound; False when its type is unknown."""
        if kind not in self._event_types:
            if len(self.unknown_types) < 16:
                self.unknown_types.add(kind)
            if not self._shape.push(kind, timestamp, payload):
                self.stats.payload_type += 1
                return False
            self._event_types.add(kind)
            self.event_type = kind
        try:
            event = parse_event(payload)
        except RtpError:
            self.stats.malformed += 1
            return False
        digit = source.keys.push(event, timestamp, arrival_us)
        if digit is not None:
            out.append(Digit(digit, source.ssrc, timestamp))
        return True
