"""Reading bytes without input or output: a buffer, and parsers that ask for more.

A parser is a generator. It yields ``NEED`` when the buffer holds too little, ``BREATHE`` when it
has worked for a while and others may run, and returns what it read. Positions move only when a
value is complete, so a parser that stops at ``NEED`` inside one value loses nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from enum import Enum, auto
from typing import TypeVar

from sql.server.errors import INCORRECT_DATA, TOO_LARGE_STRING_SIZE, ProtocolError


class Signal(Enum):
    """What a parser wants from its driver."""

    NEED = auto()
    BREATHE = auto()


NEED = Signal.NEED
BREATHE = Signal.BREATHE

T = TypeVar("T")
Parse = Generator[Signal, None, T]

_U64 = struct.Struct("<Q")
_MAX_VARINT_BYTES = 10
_COMPACT_AT = 1 << 16


class Buffer:
    """Received bytes and how far they have been read."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.pos = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Append what arrived."""
        self.data += data

    def compact(self) -> None:
        """Forget what has been read. Positions taken before are void afterwards."""
        if self.pos == len(self.data):
            # A new object, so that one large block does not keep its memory for ever.
            self.data = bytearray()
            self.pos = 0
        elif self.pos >= _COMPACT_AT:
            del self.data[: self.pos]
            self.pos = 0

    def __len__(self) -> int:
        return len(self.data) - self.pos


def take(buffer: Buffer, size: int) -> Parse[bytes]:
    """Read exactly ``size`` bytes."""
    while len(buffer.data) - buffer.pos < size:
        yield NEED
    start = buffer.pos
    buffer.pos = start + size
    return bytes(buffer.data[start : buffer.pos])


def u8(buffer: Buffer) -> Parse[int]:
    """Read one byte as a number."""
    value = yield from take(buffer, 1)
    return value[0]


def u64(buffer: Buffer) -> Parse[int]:
    """Read a little-endian unsigned number of 8 bytes."""
    value = yield from take(buffer, 8)
    return int(_U64.unpack(value)[0])


def varint(buffer: Buffer) -> Parse[int]:
    """Read a LEB128 unsigned number (ClickHouse's VarUInt) of up to 64 bits.

    Raises ProtocolError when it is longer than ten bytes.
    """
    while True:
        value = shift = 0
        position = buffer.pos
        data = buffer.data
        end = min(len(data), position + _MAX_VARINT_BYTES)
        while position < end:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                buffer.pos = position
                return value & 0xFFFF_FFFF_FFFF_FFFF
            shift += 7
        if position - buffer.pos >= _MAX_VARINT_BYTES:
            raise ProtocolError(INCORRECT_DATA, "Malformed VarUInt in the client's data")
        yield NEED


def string(buffer: Buffer, limit: int) -> Parse[bytes]:
    """Read a length-prefixed string of at most ``limit`` bytes."""
    size = yield from varint(buffer)
    if size > limit:
        raise ProtocolError(
            TOO_LARGE_STRING_SIZE, f"Too large string: {size} bytes, the limit is {limit}"
        )
    return (yield from take(buffer, size))


def text(buffer: Buffer, limit: int) -> Parse[str]:
    """Read a length-prefixed UTF-8 string; bytes that are not UTF-8 are replaced."""
    value = yield from string(buffer, limit)
    return value.decode("utf-8", "replace")


def encode_varint(value: int) -> bytes:
    """A number as VarUInt."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_string(value: str | bytes) -> bytes:
    """A string with its length in front."""
    raw = value.encode() if isinstance(value, str) else value
    return encode_varint(len(raw)) + raw


def parse_all(parser: Parse[T]) -> T:
    """Run a parser over a buffer that already holds everything.

    Raises ProtocolError when the data ends too early.
    """
    while True:
        try:
            signal = next(parser)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if signal is NEED:
            raise ProtocolError(INCORRECT_DATA, "Unexpected end of data")
