"""Blocks of the Native format: where one ends, what its columns are called, and empty ones.

Uncompressed data packets carry no length, so the end of a block is found by walking its columns.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sql.server.errors import INCORRECT_DATA, NOT_IMPLEMENTED, TOO_LARGE_STRING_SIZE, ProtocolError
from sql.server.protocol import types
from sql.server.protocol.wire import (
    BREATHE,
    NEED,
    Buffer,
    Parse,
    encode_string,
    encode_varint,
    parse_all,
    take,
    text,
    u8,
    varint,
)

Column = tuple[str, str]  # name, type

# BlockInfo: field 1 is_overflows = 0, field 2 bucket_num = -1 (i32), 0 ends it.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"

_U64_AT = struct.Struct("<Q").unpack_from
_STRINGS_A_BREATH = 65_536
_HAS_ADDITIONAL_KEYS = 0x200


@dataclass(frozen=True, slots=True)
class BlockShape:
    """One block in a buffer: it lies between ``start`` and ``end``."""

    start: int
    end: int
    rows: int
    columns: tuple[Column, ...]
    marks: tuple[int, ...] = ()

    def plain(self, data: bytes | bytearray) -> bytes:
        """The block's bytes as revision 0 has them: without the marks."""
        view = memoryview(data)
        cuts = (*self.marks, self.end)
        starts = (self.start, *(mark + 1 for mark in self.marks))
        return b"".join(view[a:b] for a, b in zip(starts, cuts, strict=True))


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """How large a block may be; the defaults are for data that the engine itself made.

    ``marked`` says that a byte behind each type tells of a custom serialisation, as it is from
    revision 54454 on.
    """

    max_bytes: int = 1 << 40
    max_columns: int = 1 << 20
    marked: bool = False
    max_name_bytes: int = 1 << 26  # an expression without an alias is its own name


TRUSTED = BlockLimits()


def block_info(buffer: Buffer) -> Parse[None]:
    """Read the BlockInfo in front of a block; its values do not matter to an INSERT."""
    while True:
        field = yield from varint(buffer)
        if field == 0:
            return
        if field > 2:
            raise ProtocolError(INCORRECT_DATA, f"Unknown BlockInfo field {field}")
        yield from take(buffer, 1 if field == 1 else 4)


def block(buffer: Buffer, limits: BlockLimits = TRUSTED) -> Parse[BlockShape]:
    """Walk over one Native block. The buffer must not be compacted before this returns.

    Raises ProtocolError for a type that cannot be walked, sizes over the limits, or nonsense.
    """
    return (yield from block_places(buffer, limits))[0]


def block_places(
    buffer: Buffer, limits: BlockLimits = TRUSTED
) -> Parse[tuple[BlockShape, list[tuple[int, int]]]]:
    """The same, and where each column's type name begins and ends, its length included."""
    start = buffer.pos
    count = yield from varint(buffer)
    rows = yield from varint(buffer)
    if count > limits.max_columns:
        raise ProtocolError(INCORRECT_DATA, f"A block of {count} columns is too wide")
    if count == 0 and rows != 0:
        raise ProtocolError(INCORRECT_DATA, f"A block of {rows} rows without columns")
    walk = _Walk(buffer, start + limits.max_bytes)
    columns: list[Column] = []
    places: list[tuple[int, int]] = []
    marks: list[int] = []
    for _ in range(count):
        name = yield from text(buffer, limits.max_name_bytes)
        at = buffer.pos
        kind = yield from text(buffer, types.MAX_NAME_BYTES)
        columns.append((name, kind))
        places.append((at, buffer.pos))
        if limits.marked:
            marks.append(buffer.pos)
            if (yield from u8(buffer)):
                raise ProtocolError(
                    NOT_IMPLEMENTED, f"Column {name[:100]} comes in a custom serialisation"
                )
        if rows:
            layout = types.layout(kind)
            yield from walk.prefix(layout)
            yield from walk.data(layout, rows)
    return BlockShape(start, buffer.pos, rows, tuple(columns), tuple(marks)), places


class _Walk:
    """Moves a buffer's position over column data, up to a limit."""

    __slots__ = ("buffer", "limit")

    def __init__(self, buffer: Buffer, limit: int) -> None:
        self.buffer = buffer
        self.limit = limit

    def _too_large(self) -> ProtocolError:
        return ProtocolError(TOO_LARGE_STRING_SIZE, "The block is larger than the server allows")

    def skip(self, size: int) -> Parse[None]:
        end = self.buffer.pos + size
        if end > self.limit:
            raise self._too_large()
        while len(self.buffer.data) < end:
            yield NEED
        self.buffer.pos = end

    def u64(self) -> Parse[int]:
        yield from self.skip(8)
        return int(_U64_AT(self.buffer.data, self.buffer.pos - 8)[0])

    def prefix(self, layout: types.Layout) -> Parse[None]:
        """The words that some types put in front of a column's data."""
        match layout:
            case types.LowCardinality():
                version = yield from self.u64()
                if version != 1:
                    raise ProtocolError(INCORRECT_DATA, f"LowCardinality version {version}")
            case types.JsonText():
                version = yield from self.u64()
                if version != 1:
                    raise ProtocolError(
                        NOT_IMPLEMENTED,
                        f"JSON in serialisation version {version}: send it as text (version 1)",
                    )
            case types.Nullable(inner) | types.Array(inner):
                yield from self.prefix(inner)
            case types.Tuple(items):
                for item in items:
                    yield from self.prefix(item)
            case _:
                pass

    def data(self, layout: types.Layout, rows: int) -> Parse[None]:
        """The data of ``rows`` rows."""
        if rows == 0:
            return
        match layout:
            case types.Fixed(width):
                yield from self.skip(width * rows)
            case types.Text() | types.JsonText():
                yield from self.strings(rows)
            case types.Nullable(inner):
                yield from self.skip(rows)
                yield from self.data(inner, rows)
            case types.Array(inner):
                yield from self.skip(8 * (rows - 1))
                yield from self.data(inner, (yield from self.u64()))
            case types.Tuple(items):
                if not items:
                    yield from self.skip(rows)
                for item in items:
                    yield from self.data(item, rows)
            case types.LowCardinality(inner):
                flags = yield from self.u64()
                if flags & _HAS_ADDITIONAL_KEYS:
                    yield from self.data(inner, (yield from self.u64()))
                keys = yield from self.u64()
                yield from self.skip(keys << (flags & 3))

    def strings(self, rows: int) -> Parse[None]:
        """Length-prefixed strings: the hot loop, plain on purpose."""
        buffer = self.buffer
        position = buffer.pos
        if position + rows > self.limit:  # each takes a byte at least
            raise self._too_large()
        while rows:
            todo = min(rows, _STRINGS_A_BREATH)
            done = 0
            at = position
            data = buffer.data
            try:
                while done < todo:
                    at = position
                    size = data[position]
                    position += 1
                    if size >= 0x80:
                        size &= 0x7F
                        shift = 7
                        while True:
                            byte = data[position]
                            position += 1
                            size |= (byte & 0x7F) << shift
                            if byte < 0x80:
                                break
                            shift += 7
                            if shift > 63:
                                raise ProtocolError(INCORRECT_DATA, "Malformed string length")
                    position += size
                    done += 1
            except IndexError:
                position = at
            rows -= done
            if position > self.limit:
                raise self._too_large()
            if done == todo:
                if rows:
                    yield BREATHE
            else:
                known = len(data)
                while len(buffer.data) <= max(position, known):
                    yield NEED
        while len(buffer.data) < position:
            yield NEED
        buffer.pos = position


def header(columns: Iterable[Column]) -> bytes:
    """A block without rows that tells names and types."""
    listed = list(columns)
    named = b"".join(encode_string(name) + encode_string(kind) for name, kind in listed)
    return encode_varint(len(listed)) + b"\x00" + named


def split(native: bytes) -> list[tuple[BlockShape, bytes]]:
    """Cut the engine's Native output into blocks."""
    buffer = Buffer(native)
    out: list[tuple[BlockShape, bytes]] = []
    while len(buffer):
        shape = parse_all(block(buffer))
        out.append((shape, native[shape.start : shape.end]))
    return out


def first_columns(native: bytes) -> tuple[Column, ...]:
    """Names and types of the first block."""
    return parse_all(block(Buffer(native))).columns


def marked(native: bytes, columns: Iterable[Column] | None = None) -> bytes:
    """One block of the engine as revision 54454 and newer have it, with a mark in each column.

    ``columns`` replaces the types; the data stay as they are.
    """
    shape, places = parse_all(block_places(Buffer(native)))
    out: list[bytes] = []
    at = 0
    for (start, end), (_, kind) in zip(places, columns or shape.columns, strict=True):
        out += (native[at:start], encode_string(kind), b"\x00")
        at = end
    out.append(native[at:])
    return b"".join(out)
