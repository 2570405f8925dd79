"""The carrier's own RTP (RFC 3550): fixed 12-byte header, no extensions. Written independently of
the product's, as in an external program, so that one mistake cannot hide in both."""

import struct

_HEADER = struct.Struct(">BBHII")
PAYLOAD_TYPE = {"pcmu": 0, "pcma": 8}


def packet(codec: str, seq: int, timestamp: int, ssrc: int, payload: bytes, marker: bool) -> bytes:
    """One RTP packet."""
    second = PAYLOAD_TYPE[codec] | (0x80 if marker else 0)
    header = _HEADER.pack(0x80, second, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return header + payload


def parse(data: bytes) -> tuple[int, int, bytes] | None:
    """(payload type, timestamp, payload) of a packet; None for anything else."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        return None
    first, second, _, timestamp, _ = _HEADER.unpack_from(data)
    if first & 0x30:  # padding or extension: the edge sends neither
        return None
    start = _HEADER.size + 4 * (first & 0x0F)
    return second & 0x7F, timestamp, data[start:]
