"""C1, C3, C6: parameters, marks, and input() as the native protocol and the parser have them."""

from __future__ import annotations

import pytest
from clickhouse_driver.context import Context
from clickhouse_driver.util.escape import escape_param
from hypothesis import given
from hypothesis import strategies as st

from sql.server.errors import ProtocolError, ServerError
from sql.server.native_totals import may_have_both
from sql.server.policy import Policy
from sql.server.protocol import packets
from sql.server.protocol.blocks import BlockLimits, block, header, marked, split
from sql.server.protocol.quoted import unquoted
from sql.server.protocol.wire import Buffer, encode_string, encode_varint, parse_all
from sql.server.statement import Answer, parse

MARKED = BlockLimits(marked=True)


@pytest.mark.parametrize(
    ("quoted", "plain"),
    [
        ("'it\\'s'", "it's"),
        ("'\\\\N'", "\\N"),
        ("'\\N'", ""),
        ("'a\\d'", "a\\d"),
        ("'\\x41\\n'", "A\n"),
        ("'\\xC3\\xa9t\\xC3\\xA9 \\xe6\\xb1\\x89汉'", "été 汉汉"),
        ("''", ""),
        ("'[\\'x\\', \\'y\\']'", "['x', 'y']"),
    ],
)
def test_C1_values_are_unquoted(quoted: str, plain: str) -> None:
    assert unquoted(quoted) == plain


@pytest.mark.parametrize(
    "bad", ["", "'", "x", "'it's'", "'a\\'", "'\\x4'", "'\\xzz'", "'\\xe9'", "NULL", "'\udcff'"]
)
def test_C1_what_is_not_quoted_is_an_error(bad: str) -> None:
    with pytest.raises(ServerError):
        unquoted(bad)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_C1_what_the_driver_quotes_comes_back_escaped_once(value: str) -> None:
    twice = escape_param(value, Context(), for_server=True)
    once = escape_param(value, Context(), for_server=False)
    assert unquoted(twice) == once[1:-1]


@given(st.text(max_size=30))
def test_C1_any_value_is_read_or_an_error(value: str) -> None:
    for text in (value, f"'{value}'"):
        try:
            unquoted(text)
        except ServerError:
            pass


def asked(revision: int, count: int = 1) -> bytes:
    """A Query packet without client info, with parameters where the revision has them."""
    out = encode_string("id") + b"\x00" + encode_string("") + encode_string("")
    out += encode_varint(2) + encode_varint(0) + encode_string("select 1")
    if revision >= packets.WITH_PARAMETERS:
        for number in range(count):
            name = "limit" if number == 0 else f"p{number}"
            out += encode_string(name) + encode_varint(2) + encode_string("'3'")
        out += encode_string("")
    return out


def test_C1_parameters_are_read_from_54459_on() -> None:
    for revision, found in ((54453, {}), (54458, {}), (54460, {"limit": "'3'"})):
        buffer = Buffer(asked(revision))
        context = packets.QueryContext(revision, 1000, 10)
        assert parse_all(packets.query(buffer, context)).parameters == found
        assert len(buffer) == 0
    with pytest.raises(ProtocolError, match="Too many parameters"):
        parse_all(packets.query(Buffer(asked(54460, 20)), packets.QueryContext(54460, 1000, 10)))


def test_C1_blocks_with_marks() -> None:
    native = b"\x02\x02" + b"\x01a\x05UInt8\x01\x02" + b"\x01s\x06String\x01x\x02yz"
    sent = marked(native)
    assert sent == b"\x02\x02" + b"\x01a\x05UInt8\x00\x01\x02" + b"\x01s\x06String\x00\x01x\x02yz"
    read = parse_all(block(Buffer(sent), MARKED))
    assert read.plain(sent) == native
    assert parse_all(block(Buffer(marked(header(()))), MARKED)).columns == ()
    sparse = sent.replace(b"UInt8\x00", b"UInt8\x01")
    with pytest.raises(ProtocolError, match="custom serialisation"):
        parse_all(block(Buffer(sparse), MARKED))
    assert [piece for _, piece in split(native)] == [native]


@given(st.binary(max_size=200))
def test_C1_any_marked_block_is_read_or_an_error(data: bytes) -> None:
    try:
        shape = parse_all(block(Buffer(data), BlockLimits(1000, 100, True, 100)))
    except ProtocolError:
        return
    assert len(shape.plain(data)) == shape.end - shape.start - len(shape.columns)


@pytest.mark.parametrize(
    ("sql", "settings", "both"),
    [
        ("select 1 group by 1 with totals", {}, True),
        ("select 1 group by 1 WITH /* x */ Totals", {}, True),
        ("select 'with totals'", {}, False),
        ("select 1", {"extremes": "1"}, True),
        ("select 1", {"extremes": "0"}, False),
        ("select 1 settings extremes = 1", {}, True),
        ("select 1 settings max_threads = 1, extremes = true", {}, True),
        ("select * from (select 1 settings a = 1, `extremes` = 1)", {}, True),
        ("select 1 settings extremes", {}, True),
        ("select 1 settings extremes = 0, a = 2", {}, False),
        ("select a, extremes = 1 from extremes settings max_threads = 1", {}, False),
        ("select extremes, (select 1 settings a = 1), extremes from x", {}, False),
        ("with totals as (select 1) select * from totals", {}, False),
        ("with totals (a) as (select 1) select * from totals", {}, False),
        ("with totals as (select 1) select 1 group by 1 with totals order by 1", {}, True),
        ("select * from (select 1 as x group by x with totals)", {}, True),
    ],
)
def test_C3_who_asks_for_totals(sql: str, settings: dict[str, str], both: bool) -> None:
    assert may_have_both(parse(sql), settings) is both


def test_C6_input_is_found() -> None:
    sql = "/*x*/ insert into t (id) select id from input('id UInt64') FORMAT RowBinary\n;\udcff"
    found = parse(sql)
    insert = found.insert
    assert found.answer is Answer.DATA and insert is not None and insert.input is not None
    call = insert.input
    assert insert.head[call.start : call.end] == "input('id UInt64')"
    assert (call.structure, insert.format, sql[insert.data_at :]) == (
        "id UInt64", "RowBinary", "\n;\udcff",
    )  # fmt: skip
    Policy().check(found)
    bare = parse("insert into t select * from input('a Int8')").insert
    assert bare is not None and bare.input is not None and bare.format == ""
    for plain in ("insert into t select input from x", "select * from input('a Int8')"):
        assert parse(plain).insert is None


@pytest.mark.parametrize(
    "sql",
    [
        "insert into t select * from input(concat('a', 'b')) format CSV",
        "insert into t select * from input('a Int8') join input('b Int8') using a format CSV",
        "insert into t select * from input('a Int8') format Values",
    ],
)
def test_C6_other_forms_say_that_they_are_not_supported(sql: str) -> None:
    with pytest.raises(ServerError, match="NOT_IMPLEMENTED"):
        parse(sql)
