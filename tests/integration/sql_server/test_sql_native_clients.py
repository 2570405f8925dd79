"""What native clients do beyond plain queries: parameters, totals, external tables, input()."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import uuid
from typing import Any

import clickhouse_driver
import pytest
from clickhouse_driver.errors import ServerException

from sql.server.protocol import packets
from sql.server.protocol.compression import compress
from tests.integration.sql_server.support import ServerProcess
from tests.integration.sql_server.test_sql_http import ask, good, made, rows

VALUES = [
    "it's",
    "'quoted'",
    "back\\slash",
    "\\\\two",
    "new\nline",
    "tab\t",
    "\\N",
    "\\n",
    "",
    "汉字",
]


@pytest.fixture(params=[False, "lz4"], ids=["plain", "lz4"])
def asking(server: ServerProcess, request: pytest.FixtureRequest) -> Any:
    """A client that sends its parameters apart from the query."""
    connected = server.client(compression=request.param, settings={"server_side_params": True})
    yield connected
    connected.disconnect()


# --- C1: parameters


def test_C1_values_arrive_unchanged(asking: clickhouse_driver.Client) -> None:
    for value in VALUES:
        found = asking.execute("select {s:String}, {x:UInt8}", {"s": value, "x": 7})
        assert found == [(value, 7)]
    plain = [value for value in VALUES if value]
    assert asking.execute("select {a:Array(String)}", {"a": plain}) == [(plain,)]
    assert asking.execute("select {a:Array(UInt8)}", {"a": [1, 2]}) == [([1, 2],)]
    day = dt.date(2026, 2, 3)
    found = asking.execute("select {d:Date}, {f:Float64}", {"d": day, "f": 0.5})
    assert found == [(day, 0.5)]


def test_C1_names_that_are_settings_too(asking: clickhouse_driver.Client) -> None:
    sql = "select number from numbers(10) limit {limit:UInt8} offset {offset:UInt8}"
    assert asking.execute(sql, {"limit": 2, "offset": 3}) == [(3,), (4,)]


def test_C1_a_missing_or_wrong_parameter_is_an_error(asking: clickhouse_driver.Client) -> None:
    for parameters in ({}, {"x": "word"}):
        with pytest.raises(ServerException):
            asking.execute("select {x:UInt8}", parameters)
        assert asking.execute("select 1") == [(1,)]


def test_C1_many_ids(asking: clickhouse_driver.Client) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3_000)]
    assert asking.execute("select length({ids:Array(String)})", {"ids": ids}) == [(3_000,)]


@pytest.mark.parametrize("revision", [54058, 54420, 54441, 54453, 54454, 54456, 54458, 54460])
def test_C1_clients_of_every_age(server: ServerProcess, revision: int, table: str) -> None:
    client = server.client(client_revision=revision)
    client.execute(f"create table {table} (a UInt32, b String) engine = MergeTree order by a")
    assert client.execute(f"insert into {table} values", [(1, "x"), (2, "y")]) == 2
    assert client.execute(f"select * from {table} order by a") == [(1, "x"), (2, "y")]
    assert client.execute("select toDateTime('2026-01-02 03:04:05', 'Asia/Shanghai') as t")
    with pytest.raises(ServerException):
        client.execute(f"insert into {table} (nosuch) values", [(1,)])
    assert client.execute(f"select count() from {table}") == [(2,)]
    client.disconnect()


# --- C3: totals and extremes


def test_C3_totals(client: clickhouse_driver.Client) -> None:
    sql = (
        "select toString(number % 2) as intent, count(), sum(toDecimal64(number, 2)) as d, "
        "max(toDateTime64('2026-01-01 00:00:00', 3, 'UTC')) as at, max(toUInt64(-1)) as big "
        "from numbers(5) group by intent with totals order by intent"
    )
    found, columns = client.execute(sql, with_column_types=True)
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert [name for name, _ in columns] == ["intent", "count()", "d", "at", "big"]
    assert columns[3][1] == "DateTime64(3, 'UTC')"
    big = 2**64 - 1
    assert found == [
        ("0", 3, decimal.Decimal(6), at, big),
        ("1", 2, decimal.Decimal(4), at, big),
        ("", 5, decimal.Decimal(10), at, big),
    ]


def test_C3_extremes(client: clickhouse_driver.Client) -> None:
    sql = "select number as n, materialize('text') as s from numbers(4)"
    whole = [(number, "text") for number in range(4)]
    both = [(0, "text"), (3, "text")]
    assert client.execute(sql, settings={"extremes": 1}) == whole + both
    assert client.execute(sql + " settings extremes = 1") == whole + both
    assert client.execute(sql) == whole
    client.execute("set extremes = 1")
    assert client.execute(sql) == whole + both


def test_C3_an_empty_result_and_equal_names(client: clickhouse_driver.Client) -> None:
    sql = (
        'select number as k, count() as k1, count() as "a b" from numbers(0) group by k with totals'
    )
    assert client.execute(sql) == [(0, 0, 0)]
    with pytest.raises(ServerException):
        client.execute("select throwIf(number = 3), count() from numbers(5) group by 1 with totals")
    assert client.execute("select 1") == [(1,)]


def test_C3_what_json_would_damage_is_an_error(client: clickhouse_driver.Client) -> None:
    sql = "select materialize(unhex({})) as k, count() from numbers(3) group by k with totals"
    with pytest.raises(ServerException, match="NOT_IMPLEMENTED") as damaged:
        client.execute(sql.format("'ff00fe'"))
    assert damaged.value.code == 48
    assert client.execute(sql.format("'61000a0d225c'")) == [('a\0\n\r"\\', 3), ("", 3)]


def test_C3_times_are_exact(client: clickhouse_driver.Client) -> None:
    instants = (-1_000_000_000, 0, 1234, 1792974600, 1792978200)  # the last two: 02:30, twice
    for instant in instants:
        moment = f"toDateTime({max(instant, 0)}, 'Europe/Berlin')"
        fine = f"fromUnixTimestamp64Milli({instant * 1000 + 125}, 'Europe/Berlin')"
        sql = f"select {moment} as t, {fine} as f, [t] as a from numbers(2) settings extremes = 1"
        for found, exact, listed in client.execute(sql):
            assert found.timestamp() == listed[0].timestamp() == max(instant, 0)
            assert exact.timestamp() == instant + 0.125
    sql = "select toDateTime64(number, 3, 'UTC') as t from numbers(1, 1) group by t with totals"
    assert [found.timestamp() for (found,) in client.execute(sql)] == [1, 0]


def test_C3_names_are_not_clauses(client: clickhouse_driver.Client) -> None:
    raw = "unhex('ff00fe')"  # of the longer way this would be an error
    for sql in (
        f"with totals as (select {raw} as extremes) select hex(extremes), extremes from totals",
        f"select hex({raw}), {raw} as extremes",
    ):
        client.execute(sql, settings={"strings_as_bytes": True})


def test_C3_limits_and_low_cardinality(client: clickhouse_driver.Client) -> None:
    sql = "select toLowCardinality(number % 2) as k, count() from numbers(5) group by k with totals"
    loose = {"allow_suspicious_low_cardinality_types": 0}
    assert client.execute(sql, settings=loose)[-1] == (0, 5)
    many = "select number from numbers(1000001)"
    with pytest.raises(ServerException) as refused:
        client.execute(many + " settings extremes = 1")
    assert refused.value.code == 396
    sql = "select number from numbers(200000) settings extremes = 1"
    assert len(client.execute(sql)) == 200_002
    with pytest.raises(ServerException) as refused:
        client.execute(sql, settings={"max_result_rows": 10})
    assert refused.value.code == 396
    with pytest.raises(ServerException) as refused:
        client.execute(sql + ", date_time_output_format = 'simple'")
    assert refused.value.code == 48


def test_C5_extremes_end_with_their_set(client: clickhouse_driver.Client) -> None:
    sql = "select number from numbers(3)"
    client.execute("set extremes = 1")
    assert len(client.execute(sql)) == 5
    client.execute("set extremes = 0")
    assert len(client.execute(sql)) == 3
    assert len(client.execute("select materialize('x') from numbers(1000001)")) == 1_000_001


def test_C3_over_http(server: ServerProcess) -> None:
    sql = "select number % 2 as k, count() as c from numbers(5) group by k with totals order by k"
    text = good(ask(server, sql, extremes="1"))
    assert text == b"0\t3\n1\t2\n\n0\t5\n\n0\t2\n1\t3\n"
    assert b'"totals":' in good(ask(server, sql + " format JSON"))
    nothing = sql.replace("numbers(5)", "numbers(0)") + " format JSONCompact"
    found = json.loads(good(ask(server, nothing)))
    assert (found["data"], found["totals"]) == ([], [0, 0])


# --- C2: external tables over the native protocol


def test_C2_external_tables(client: clickhouse_driver.Client) -> None:
    tables = [
        {"name": "ext", "structure": [("x", "Int32"), ("s", "String")],
         "data": [{"x": 1, "s": "a"}, {"x": 2, "s": "b"}]},
        {"name": "none", "structure": [("y", "Int32")], "data": []},
    ]  # fmt: skip
    for _ in range(2):
        found = client.execute("select x, s from ext order by x", external_tables=tables)
        assert found == [(1, "a"), (2, "b")]
    with pytest.raises(ServerException) as gone:
        client.execute("select * from ext")
    assert gone.value.code == 60


# --- C5: settings hold for one query


def test_C5_one_connection(client: clickhouse_driver.Client) -> None:
    get = "select getSetting('max_threads')"
    client.execute("set max_threads = 1")
    assert client.execute(get, settings={"readonly": 1, "max_threads": 2}) == [(2,)]
    assert client.execute(get, settings={"max_threads": 4}) == [(4,)]
    assert client.execute(get) == [(1,)]
    with pytest.raises(ServerException) as refused:
        client.execute("create table x (a Int8) engine = Memory", settings={"readonly": 1})
    assert refused.value.code == 164
    client.execute("set max_threads = 3", settings={"max_threads": 2})
    assert client.execute(get) == [(3,)]


# --- C6: INSERT SELECT from input()


def test_C6_native(client: clickhouse_driver.Client, server: ServerProcess, table: str) -> None:
    made(server, table, "id UInt64, s String")
    sql = f"insert into {table} (id, s) select id * 2, upper(s) from input('id UInt64, s String')"
    client.execute(sql, [(1, "a"), (2, "b")])
    client.execute(sql + ' format JSONEachRow {"id": 5, "s": "c"}')
    assert rows(server, table) == "2\tA\n4\tB\n10\tC\n"
    with pytest.raises(ServerException):
        client.execute(sql.replace("id UInt64,", "id Nonsense,"), [(1, "a")])
    assert client.execute("select 1") == [(1,)]


@pytest.mark.parametrize("how", ["clause", "header", "gzip", "frames", "csv"])
def test_C6_http(server: ServerProcess, table: str, how: str) -> None:
    made(server, table, "id UInt64")
    numbers = [0x3B3B3B3B, 0xFFEE_DDCC_BBAA_9980, 7]
    binary = b"".join(number.to_bytes(8, "little") for number in numbers)
    sql = f"insert into {table} (id) select id from input('id UInt64')"
    headers: dict[str, str] = {}
    more: Any = {}
    body = binary
    if how == "header":
        headers = {"X-ClickHouse-Format": "RowBinary"}
    elif how == "csv":
        sql, body = sql + " format CSV", b"\n".join(b"%d" % number for number in numbers)
    else:
        sql += " FORMAT RowBinary"
    if how == "gzip":
        headers, body = {"Content-Encoding": "gzip"}, gzip.compress(body)
    elif how == "frames":
        more, body = {"decompress": "1"}, compress(body)
    good(ask(server, sql, body, headers, **more))
    assert rows(server, table).split() == [str(number) for number in sorted(numbers)]


def test_C6_what_is_not_supported_is_told(server: ServerProcess, table: str) -> None:
    made(server, table, "id UInt64")
    sql = f"insert into {table} select id from input('id UInt64')"
    for odd in (sql, sql + " format Values", sql.replace("'id UInt64'", "concat('id', ' Int8')")):
        status, _, text = ask(server, odd, b"(1)")
        assert status == 501 and b"NOT_IMPLEMENTED" in text, text


def test_C7_native(client: clickhouse_driver.Client) -> None:
    sql = "select throwIf(number = 300000), randomPrintableASCII(20) from numbers(400000)"
    with pytest.raises(ServerException) as late:
        client.execute(sql + " settings max_block_size = 1000")
    assert late.value.code == 395
    text = "Code: 395. DB::Exception: only a text"
    assert client.execute(f"select '{text}'") == [(text,)]


def test_C1_the_revision_that_is_announced(client: clickhouse_driver.Client) -> None:
    client.execute("select 1")
    assert client.connection.server_info.used_revision == packets.REVISION == 54460
