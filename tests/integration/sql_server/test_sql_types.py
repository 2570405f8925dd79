"""Every type goes in and comes out again through clickhouse-driver, plain and LZ4."""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid
from typing import Any

import clickhouse_driver
import pytest

UTC = dt.UTC
VALUES: list[tuple[str, Any]] = [
    ("UInt8", 255),
    ("Int64", -(2**63)),
    ("UInt128", 2**127),
    ("Int256", -5),
    ("Float32", 0.5),
    ("Float64", -1.5),
    ("Bool", True),
    ("UUID", uuid.UUID(int=5)),
    ("Date", dt.date(2020, 2, 29)),
    ("Date32", dt.date(1950, 1, 1)),
    ("DateTime('UTC')", dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("DateTime('Europe/Berlin')", dt.datetime(2020, 1, 1, tzinfo=UTC)),
    ("DateTime64(6, 'UTC')", dt.datetime(2020, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ("DateTime64(3, 'UTC')", dt.datetime(2024, 1, 2, 3, 4, 5, 123000, tzinfo=UTC)),
    ("String", "语音 \0 ' \\"),
    ("FixedString(4)", "abcd"),
    ("LowCardinality(String)", "lc"),
    ("LowCardinality(Nullable(String))", None),
    ("LowCardinality(FixedString(2))", "ab"),
    ("Nullable(UInt32)", None),
    ("Nullable(String)", "s"),
    ("Nullable(DateTime64(3, 'UTC'))", None),
    ("Array(UInt8)", []),
    ("Array(Nullable(Int64))", [None, 3]),
    ("Array(Array(LowCardinality(String)))", [["a"], ["b", "c"], []]),
    ("Array(Tuple(UInt8, String))", [(1, "a"), (2, "b")]),
    ("Array(Tuple(a UInt8, b LowCardinality(String)))", [(1, "a"), (2, "b")]),
    ("Tuple(a UInt8, b String)", (1, "x")),
    ("Map(String, UInt64)", {"a": 1, "b": 2}),
    ("Map(LowCardinality(String), Array(String))", {"a": ["1"]}),
    ("Enum8('a' = 1, 'b, (c)' = 2)", "b, (c)"),
    ("Enum16('a' = 1000)", "a"),
    ("Decimal(9, 2)", decimal.Decimal("1.25")),
    ("Decimal(18, 4)", decimal.Decimal("12.3400")),
    ("Decimal(38, 10)", decimal.Decimal("-1.5")),
    ("Decimal(76, 10)", decimal.Decimal("-1.5")),
    ("IPv4", ipaddress.ip_address("1.2.3.4")),
    ("IPv6", ipaddress.ip_address("::1")),
    ("Nested(a UInt8, b String)", [(1, "x"), (2, "y")]),
    ("SimpleAggregateFunction(sum, UInt64)", 5),
    ("Point", (1.0, 2.0)),
]
SETTINGS = {"flatten_nested": 0, "allow_suspicious_low_cardinality_types": 1}


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=[kind for kind, _ in VALUES])
def test_round_trip(client: clickhouse_driver.Client, table: str, kind: str, value: Any) -> None:
    client.execute(
        f"CREATE TABLE {table} (id UInt32, v {kind}, z String) ENGINE = MergeTree ORDER BY id",
        settings=SETTINGS,
    )
    rows = [(number, value, f"z{number}") for number in range(3)]
    client.execute(f"INSERT INTO {table} VALUES", rows)
    assert client.execute(f"SELECT * FROM {table} ORDER BY id") == rows
    assert client.execute(f"SELECT * FROM {table} WHERE 0") == []
    client.execute(f"DROP TABLE {table}")


def test_zones_of_many_blocks_after_use_and_without_rows(client: clickhouse_driver.Client) -> None:
    zoned = "SELECT toDateTime(number, 'Asia/Shanghai') AS t, toString(number) FROM numbers({})"
    client.execute("USE system")
    for count in (150_000, 0):
        rows, types = client.execute(zoned.format(count), with_column_types=True)
        assert (len(rows), types[0]) == (count, ("t", "DateTime('Asia/Shanghai')"))
    plain = client.execute("SELECT toDateTime(0) FROM numbers(1)", with_column_types=True)
    assert plain[1][0][1] == "DateTime"
    client.execute("CREATE TEMPORARY TABLE zones (t DateTime('Asia/Shanghai'))")
    client.execute("INSERT INTO zones VALUES (5)")
    instant = client.execute("SELECT t FROM zones")[0][0].replace(tzinfo=UTC)
    assert instant.timestamp() == 5  # without its zone here, but the right moment


def test_json_can_be_read(client: clickhouse_driver.Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a UInt8, j JSON) ENGINE = MergeTree ORDER BY a")
    client.execute(f"""INSERT INTO {table} VALUES (1, '{{"a": {{"b": 1}}}}')""")
    assert client.execute(f"SELECT toString(j), j.a.b::Int64 FROM {table}") == [
        ('{"a":{"b":1}}', 1)
    ]


def test_a_type_whose_end_cannot_be_found_is_refused(
    client: clickhouse_driver.Client, table: str
) -> None:
    """clickhouse-driver cannot write these types at all; reading their finished form works."""
    client.execute(
        f"CREATE TABLE {table} (k UInt8, s AggregateFunction(sum, UInt64)) "
        "ENGINE = AggregatingMergeTree ORDER BY k"
    )
    client.execute(f"INSERT INTO {table} SELECT 1, sumState(number) FROM numbers(10)")
    assert client.execute(f"SELECT sumMerge(s) FROM {table}") == [(45,)]
