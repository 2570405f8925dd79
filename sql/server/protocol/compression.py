"""ClickHouse's compressed frames: CityHash128 (version 1.0.2), method byte, two sizes, data.

Frame: 16 bytes checksum (high half first) of all that follows; method 0x82 LZ4, 0x90 ZSTD or
0x02 none; u32 compressed size including the 9 bytes of this header; u32 raw size; data.
"""

from __future__ import annotations

import struct

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from sql.server.errors import (
    CANNOT_DECOMPRESS,
    CHECKSUM_DOESNT_MATCH,
    TOO_LARGE_STRING_SIZE,
    UNKNOWN_COMPRESSION_METHOD,
    ProtocolError,
)
from sql.server.protocol.wire import Buffer, Parse, take

NONE = 0x02
LZ4 = 0x82
ZSTD = 0x90

_PREFIX = struct.Struct("<BII")
_HALVES = struct.Struct("<QQ")
_CHECKSUM_BYTES = 16
_RAW_BYTES = 1 << 20
_LOW = (1 << 64) - 1


def _checksum(body: bytes) -> bytes:
    value = CityHash128(body)
    return _HALVES.pack(value >> 64, value & _LOW)


def compress(raw: bytes, method: int = LZ4) -> bytes:
    """Raw bytes as frames of up to 1 MiB raw each."""
    out = bytearray()
    for start in range(0, len(raw), _RAW_BYTES):
        piece = raw[start : start + _RAW_BYTES]
        packed = piece if method == NONE else lz4.block.compress(piece, store_size=False)
        body = _PREFIX.pack(method, len(packed) + _PREFIX.size, len(piece)) + packed
        out += _checksum(body)
        out += body
    return bytes(out)


def frame(buffer: Buffer, limit: int) -> Parse[bytes]:
    """Read one frame and return its raw bytes.

    Raises ProtocolError when the checksum is wrong, the data does not decompress to its declared
    size, or either size is over ``limit`` bytes.
    """
    head = yield from take(buffer, _CHECKSUM_BYTES + _PREFIX.size)
    method, packed_size, raw_size = _PREFIX.unpack_from(head, _CHECKSUM_BYTES)
    if packed_size > limit or raw_size > limit:
        raise ProtocolError(
            TOO_LARGE_STRING_SIZE,
            f"Compressed frame of {packed_size} to {raw_size} bytes, the limit is {limit}",
        )
    if packed_size < _PREFIX.size:
        raise ProtocolError(CANNOT_DECOMPRESS, "Compressed frame is shorter than its header")
    packed = yield from take(buffer, packed_size - _PREFIX.size)
    if _checksum(head[_CHECKSUM_BYTES:] + packed) != head[:_CHECKSUM_BYTES]:
        raise ProtocolError(CHECKSUM_DOESNT_MATCH, "Checksum doesn't match: corrupted data")
    raw = _decompress(method, packed, raw_size)
    if len(raw) != raw_size:
        raise ProtocolError(CANNOT_DECOMPRESS, "Frame does not decompress to its declared size")
    return raw


def _decompress(method: int, packed: bytes, raw_size: int) -> bytes:
    try:
        if method == LZ4:
            return bytes(lz4.block.decompress(packed, uncompressed_size=raw_size))
        if method == ZSTD:
            # The declared content size of a zstd frame wins over max_output_size.
            declared = zstandard.frame_content_size(packed)
            if declared > raw_size:
                raise ProtocolError(CANNOT_DECOMPRESS, "ZSTD frame is larger than declared")
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=raw_size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError, ValueError) as error:
        raise ProtocolError(CANNOT_DECOMPRESS, f"Cannot decompress: {error}") from None
    if method == NONE:
        return packed
    raise ProtocolError(UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method 0x{method:02x}")
