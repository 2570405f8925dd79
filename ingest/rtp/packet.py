"""RTP packets (RFC 3550 section 5.1) and telephone events (RFC 4733): parse and serialise.

Pure functions over bytes. A malformed packet raises `RtpError` with the reason and nothing else;
no length that a packet announces is trusted beyond the bytes that arrived.
"""

import struct
from typing import Final, NamedTuple

RTP_VERSION: Final = 2
RTP_HEADER_BYTES: Final = 12
MAX_PACKET_BYTES: Final = 4096
"""Longest datagram taken: 60 ms of 16 kHz L16 is 1,920 bytes; twice that leaves room."""

_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_EVENT = struct.Struct("!BBH")

EVENT_DIGITS: Final = "0123456789*#ABCD"
"""Digit of each telephone-event code 0-15 (RFC 4733 section 3.2)."""


class RtpError(ValueError):
    """A datagram that is not a usable RTP packet; the message says why."""


class RtpPacket(NamedTuple):
    """One RTP packet. `timestamp` counts in the clock of its payload type."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension_profile: int | None = None
    extension: bytes = b""


class TelephoneEvent(NamedTuple):
    """One RFC 4733 payload; `duration` is in timestamp units."""

    event: int
    end: bool
    volume: int
    duration: int


def is_rtcp(data: bytes) -> bool:
    """True for RTCP multiplexed on the RTP port (RFC 5761 section 4: packet types 192-223)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def parse(data: bytes) -> RtpPacket:
    """Parse one datagram; raises RtpError on anything that RFC 3550 does not allow."""
    size = len(data)
    if size < RTP_HEADER_BYTES:
        raise RtpError("shorter than the RTP header")
    if size > MAX_PACKET_BYTES:
        raise RtpError("longer than the packet limit")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    if first >> 6 != RTP_VERSION:
        raise RtpError("not RTP version 2")
    start, end = RTP_HEADER_BYTES, size
    csrcs: tuple[int, ...] = ()
    profile: int | None = None
    extension = b""
    if first & 0x3F:  # padding, extension or contributing sources: rare on telephone legs
        count = first & 0x0F
        if start + 4 * count > size:
            raise RtpError("contributing sources are truncated")
        csrcs = struct.unpack_from(f"!{count}I", data, start)
        start += 4 * count
        if first & 0x10:
            if start + 4 > size:
                raise RtpError("extension header is truncated")
            profile, words = _EXTENSION.unpack_from(data, start)
            start += 4
            if start + 4 * words > size:
                raise RtpError("extension is truncated")
            extension = data[start : start + 4 * words]
            start += 4 * words
        if first & 0x20:
            padding = data[-1]
            if padding == 0 or start + padding > size:
                raise RtpError("padding length is invalid")
            end -= padding
    return RtpPacket(
        second & 0x7F,
        sequence,
        timestamp,
        ssrc,
        data[start:end],
        second >= 0x80,
        csrcs,
        profile,
        extension,
    )


def serialise(packet: RtpPacket, padding_bytes: int = 0) -> bytes:
    """The datagram of a packet; raises RtpError where a field does not fit its bits."""
    if not 0 <= padding_bytes <= 255 or len(packet.csrcs) > 15 or len(packet.extension) % 4:
        raise RtpError("padding, contributing sources or extension do not fit")
    first = RTP_VERSION << 6 | len(packet.csrcs)
    parts: list[bytes] = []
    if packet.csrcs:
        parts.append(struct.pack(f"!{len(packet.csrcs)}I", *packet.csrcs))
    if packet.extension_profile is not None:
        first |= 0x10
        parts.append(_EXTENSION.pack(packet.extension_profile, len(packet.extension) // 4))
        parts.append(packet.extension)
    parts.append(packet.payload)
    if padding_bytes:
        first |= 0x20
        parts.append(bytes(padding_bytes - 1) + bytes((padding_bytes,)))
    try:
        header = _FIXED.pack(
            first,
            packet.payload_type | (0x80 if packet.marker else 0),
            packet.sequence,
            packet.timestamp,
            packet.ssrc,
        )
    except struct.error as error:
        raise RtpError(str(error)) from error
    return header + b"".join(parts)


def header(payload_type: int, sequence: int, timestamp: int, ssrc: int, marker: bool) -> bytes:
    """Twelve header bytes of a plain packet; sequence and timestamp are wrapped here."""
    return _FIXED.pack(
        0x80,
        payload_type | 0x80 if marker else payload_type,
        sequence & 0xFFFF,
        timestamp & 0xFFFFFFFF,
        ssrc,
    )


def parse_event(payload: bytes) -> TelephoneEvent:
    """Parse the four bytes of a telephone event; raises RtpError."""
    if len(payload) < 4:
        raise RtpError("telephone event is truncated")
    event, flags, duration = _EVENT.unpack_from(payload)
    return TelephoneEvent(event, flags >= 0x80, flags & 0x3F, duration)


def serialise_event(event: TelephoneEvent) -> bytes:
    """The four bytes of a telephone event."""
    flags = (0x80 if event.end else 0) | event.volume & 0x3F
    return _EVENT.pack(event.event, flags, min(event.duration, 0xFFFF))


def sequence_delta(new: int, old: int) -> int:
    """Signed distance of two 16-bit sequence numbers, -32768..32767 (serial arithmetic)."""
    return (new - old + 0x8000 & 0xFFFF) - 0x8000


def timestamp_delta(new: int, old: int) -> int:
    """Signed distance of two 32-bit timestamps (serial arithmetic)."""
    return (new - old + 0x80000000 & 0xFFFFFFFF) - 0x80000000
