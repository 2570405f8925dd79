"""The native protocol's parsers: right on good data, and an error, never more, on any other."""

from __future__ import annotations

import struct

import lz4.block
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sql.server.errors import ProtocolError, ServerError
from sql.server.protocol import packets
from sql.server.protocol.blocks import BLOCK_INFO, BlockLimits, block, block_info, header, split
from sql.server.protocol.compression import LZ4, NONE, compress, frame
from sql.server.protocol.types import Array, Fixed, LowCardinality, Text, Tuple, layout
from sql.server.protocol.wire import (
    NEED,
    Buffer,
    Parse,
    Signal,
    encode_string,
    encode_varint,
    parse_all,
    string,
    varint,
)
from sql.server.protocol.zones import lacks_zones, with_zones, zoned

LIMITS = BlockLimits(max_bytes=1 << 20, max_columns=100)


def fed_in_pieces(data: bytes, size: int, parser: Parse[object], buffer: Buffer) -> object:
    """Run a parser while its data arrives in pieces."""
    at = 0
    while True:
        try:
            signal: Signal = next(parser)
        except StopIteration as stop:
            return stop.value
        if signal is NEED:
            assert at < len(data), "the parser wants more than there is"
            buffer.feed(data[at : at + size])
            at += size


# --- numbers and strings


@given(st.integers(0, 2**64 - 1))
def test_varints_round_trip(value: int) -> None:
    assert parse_all(varint(Buffer(encode_varint(value)))) == value


def test_bad_varints_and_strings() -> None:
    with pytest.raises(ProtocolError):
        parse_all(varint(Buffer(b"\xff" * 11)))
    with pytest.raises(ProtocolError):
        parse_all(string(Buffer(encode_varint(1 << 40)), 100))
    with pytest.raises(ProtocolError):
        parse_all(string(Buffer(b"\x05abc"), 100))


# --- types


def test_layouts() -> None:
    assert layout("Decimal(18, 4)") == Fixed(8)
    assert layout("DateTime64(3, 'Europe/Berlin')") == Fixed(8)
    assert layout("Enum8('a, (b)' = 1)") == Fixed(1)
    assert layout("LowCardinality(Nullable(String))") == LowCardinality(Text())
    assert layout("Tuple(a UInt8, `b c` String)") == Tuple((Fixed(1), Text()))
    assert layout("Map(String, UInt64)") == Array(Tuple((Text(), Fixed(8))))
    assert layout("Polygon") == Array(Array(Tuple((Fixed(8), Fixed(8)))))
    assert layout("SimpleAggregateFunction(sum, UInt64)") == Fixed(8)
    assert layout("IntervalDay") == Fixed(8)


@pytest.mark.parametrize(
    "name",
    ["", "Nosuch", "FixedString(0)", "FixedString(-1)", "FixedString(x)", "Decimal(99)",
     "Decimal()", "Array", "Map(String)", "AggregateFunction(sum, UInt64)", "Variant(UInt8)",
     "Dynamic", "(", "Array(" * 200 + "UInt8" + ")" * 200, "Tuple(" * 5000],
)  # fmt: skip
def test_types_that_cannot_be_read(name: str) -> None:
    with pytest.raises(ProtocolError):
        layout(name)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from("ArayTuple(Nb, 8)`'\"\\LwCFixedString"), max_size=60))
def test_any_text_is_a_layout_or_an_error(name: str) -> None:
    try:
        layout(name)
    except ProtocolError:
        pass


# --- blocks


def column(name: str, kind: str, data: bytes) -> bytes:
    return encode_string(name) + encode_string(kind) + data


def u64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


ROWS = 3
COLUMNS = [
    column("n", "UInt32", struct.pack("<3I", 1, 2, 3)),
    column("s", "String", encode_string("a") + encode_string("x" * 300) + encode_string("")),
    column("o", "Nullable(String)", b"\x01\x00\x00" + b"\x00\x01y\x01z"),
    column("a", "Array(UInt8)", u64(1, 1, 3) + b"abc"),
    column("d", "Array(Array(String))", u64(1, 1, 1) + u64(2) + b"\x01x\x01y"),
    column("e", "Array(String)", u64(0, 0, 0)),
    column("m", "Map(String, UInt8)", u64(1, 2, 2) + b"\x01k\x01l" + b"\x07\x08"),
    column("t", "Tuple(a UInt8, b String)", b"\x01\x02\x03" + b"\x01x\x01y\x01z"),
    column("w", "Tuple()", b"000"),
    column(
        "l", "LowCardinality(String)", u64(1, 0x200, 2) + b"\x00\x01v" + u64(3) + b"\x01\x00\x01"
    ),
    column("j", "JSON", u64(1) + b"\x02{}\x02{}\x02{}"),
    column("c", "FixedString(4)", b"abcdefghijkl"),
]
NATIVE = encode_varint(len(COLUMNS)) + encode_varint(ROWS) + b"".join(COLUMNS)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_block_ends_where_it_ends(size: int) -> None:
    buffer = Buffer()
    shape = fed_in_pieces(NATIVE + b"next", size, block(buffer, LIMITS), buffer)
    buffer.feed(b"")
    assert (shape.rows, shape.end) == (ROWS, len(NATIVE))  # type: ignore[attr-defined]
    assert [name for name, _ in shape.columns] == list("nsoademtwljc")  # type: ignore[attr-defined]


def test_headers_and_splitting() -> None:
    head = header([("a", "UInt8"), ("b", "String")])
    found = split(head + NATIVE + head)
    assert [shape.rows for shape, _ in found] == [0, ROWS, 0]
    assert b"".join(native for _, native in found) == head + NATIVE + head
    assert found[0][0].columns == (("a", "UInt8"), ("b", "String"))


def test_zones_are_put_back() -> None:
    native = b"\x02\x01" + column("t", "DateTime", b"1234") + column("s", "String", b"\x01x")
    full = [("t", "DateTime('UTC')"), ("s", "String")]
    (shape, _), *_ = split(native)
    assert lacks_zones(shape.columns)
    columns = zoned(shape.columns, full)
    assert columns == tuple(full)
    assert with_zones(native, columns) == (
        b"\x02\x01" + column("t", "DateTime('UTC')", b"1234") + column("s", "String", b"\x01x")
    )
    assert zoned(shape.columns, shape.columns) is None
    assert zoned(shape.columns, full[:1]) is None


@pytest.mark.parametrize(
    "native",
    [
        b"\x00\x05",
        encode_varint(101) + b"\x00",
        b"\x01" + encode_varint(2**63) + column("a", "UInt8", b""),
        b"\x01\x01" + column("a", "Array(UInt8)", u64(2**63)),
        b"\x01\x01" + column("a", "String", encode_varint(2**62)),
        b"\x01\x01" + column("a", "LowCardinality(String)", u64(2)),
        b"\x01\x01" + column("a", "LowCardinality(String)", u64(1, 0x200, 2**62)),
        b"\x01\x01" + column("a", "LowCardinality(String)", u64(1, 3, 2**61)),
        b"\x01\x01" + column("a", "JSON", u64(3)),
        b"\x01\x01" + column("a", "Dynamic", b""),
    ],
)
def test_impossible_blocks_are_refused_without_waiting(native: bytes) -> None:
    with pytest.raises(ProtocolError):
        for signal in block(Buffer(native), LIMITS):
            assert signal is not NEED, "it waits for data that cannot come"


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_mutated_blocks_are_blocks_errors_or_unfinished(data: st.DataObject) -> None:
    raw = bytearray(NATIVE)
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_parser(bytes(raw), lambda buffer: block(buffer, LIMITS))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes(raw: bytes) -> None:
    context = packets.QueryContext(packets.REVISION, 1000, 10)
    check_parser(raw, lambda buffer: block(buffer, LIMITS))
    check_parser(raw, block_info)
    check_parser(raw, packets.hello)
    check_parser(raw, lambda buffer: packets.query(buffer, context))
    check_parser(raw, lambda buffer: frame(buffer, 1 << 20))


def check_parser(raw: bytes, parser: object) -> None:
    """A parser ends, wants more, or raises ServerError; it never runs past its data."""
    buffer = Buffer(raw)
    try:
        for signal in parser(buffer):  # type: ignore[operator]
            if signal is NEED:
                return
    except ServerError:
        return
    assert 0 <= buffer.pos <= len(raw)


# --- frames


@pytest.mark.parametrize("method", [LZ4, NONE])
def test_frames_round_trip(method: int) -> None:
    raw = bytes(range(256)) * 10_000
    buffer = Buffer(compress(raw, method))
    out = b""
    while len(buffer):
        out += parse_all(frame(buffer, 1 << 21))
    assert out == raw


def test_broken_frames() -> None:
    good = bytearray(compress(b"x" * 100))
    for at in (0, 16, 17, 21, 30):
        bad = bytearray(good)
        bad[at] ^= 0x55
        with pytest.raises(ProtocolError):
            parse_all(frame(Buffer(bytes(bad)), 1 << 20))
    with pytest.raises(ProtocolError):
        parse_all(frame(Buffer(bytes(good)), 50))


def test_a_frame_cannot_unpack_to_more_than_it_says() -> None:
    import sql.server.protocol.compression as module

    packed = lz4.block.compress(b"x" * 1000, store_size=False)
    body = struct.pack("<BII", LZ4, len(packed) + 9, 10) + packed
    with pytest.raises(ProtocolError):
        parse_all(frame(Buffer(module._checksum(body) + body), 1 << 20))


# --- packets


def hello_bytes(revision: int = 54453) -> bytes:
    return (
        encode_varint(0)
        + encode_string("test")
        + encode_varint(1) * 2
        + encode_varint(revision)
        + encode_string("ringlog")
        + encode_string("default")
        + encode_string("secret")
    )


def test_hello() -> None:
    found = parse_all(packets.hello(Buffer(hello_bytes())))
    assert (found.database, found.user, found.password) == ("ringlog", "default", "secret")
    with pytest.raises(ProtocolError):
        parse_all(packets.hello(Buffer(b"GET / HTTP/1.1\r\n")))
    answer = packets.server_hello("ClickHouse", (26, 9, 2), 54453, "UTC", "x")
    assert answer.startswith(b"\x00\x0aClickHouse\x1a\x09")


def test_a_query_of_an_old_client_has_typed_settings() -> None:
    raw = encode_string("id") + b"\x00"  # no client info
    raw += encode_string("max_threads") + encode_varint(4)
    raw += encode_string("log_comment") + encode_string("hello") + encode_string("")
    raw += encode_varint(2) + encode_varint(1) + encode_string("SELECT 1")
    context = packets.QueryContext(54412, 1000, 10, frozenset({"max_threads"}))
    found = parse_all(packets.query(Buffer(raw), context))
    assert {name: setting.value for name, setting in found.settings.items()} == {
        "max_threads": "4",
        "log_comment": "hello",
    }
    assert (found.sql, found.compressed) == ("SELECT 1", True)


def test_queries_are_bounded() -> None:
    head = encode_string("id") + b"\x00"
    many = b"".join(encode_string(f"s{n}") + b"\x00\x00" for n in range(20)) + b"\x00"
    context = packets.QueryContext(54453, 1000, 10)
    with pytest.raises(ProtocolError):
        parse_all(packets.query(Buffer(head + many), context))
    long = head + b"\x00\x00\x02\x00" + encode_varint(1001)
    with pytest.raises(ProtocolError):
        parse_all(packets.query(Buffer(long), context))


def test_an_exception_packet() -> None:
    raw = packets.exception(ServerError(60, "no table"))
    assert raw[:5] == b"\x02\x3c\x00\x00\x00"
    assert raw.endswith(encode_string("DB::Exception: no table") + b"\x00\x00")


def test_a_data_packet_compresses_all_but_the_name() -> None:
    plain = packets.data(NATIVE, False)
    assert plain == b"\x01\x00" + BLOCK_INFO + NATIVE
    packed = packets.data(NATIVE, True)
    assert packed[:2] == b"\x01\x00"
    assert parse_all(frame(Buffer(packed[2:]), 1 << 20)) == BLOCK_INFO + NATIVE
