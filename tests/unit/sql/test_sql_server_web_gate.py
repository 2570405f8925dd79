"""C4: who may ask over HTTP, and the pieces of forms and late errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from sql.server.config import ServerConfig
from sql.server.engine import check_readonly
from sql.server.errors import ServerError
from sql.server.external import check_data_format, of_types
from sql.server.http_form import Form
from sql.server.http_output import late_error
from sql.server.statement import parse
from sql.server.web_gate import WebGate

TOOL = "https://tool.example"


def gate(host: str = "127.0.0.1", **options: tuple[str, ...]) -> WebGate:
    return WebGate(ServerConfig(Path("x"), host=host, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"Host": "127.0.0.1:18123"}, None),
        ({"Host": "localhost"}, None),
        ({"Host": "[::1]:18123"}, None),
        ({}, None),
        ({"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1"}, None),
        ({"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:2"}, "CORS"),
        ({"Host": "127.0.0.1:1", "Origin": "null"}, "CORS"),
        ({"Host": "127.0.0.1:1", "Origin": ""}, "CORS"),
        ({"Host": "127.0.0.1:1", "Sec-Fetch-Site": "cross-site"}, "another site"),
        ({"Host": "127.0.0.1:1", "Sec-Fetch-Site": "odd"}, "another site"),
        ({"Host": "rebound.example"}, "Host"),
        ({"Host": "192.0.2.1"}, "Host"),
        ({"Host": "[::1"}, "Host"),
        ({"Host": "localhost.evil.example"}, "Host"),
    ],
)
def test_C4_a_loopback_server(headers: dict[str, str], word: str | None) -> None:
    found = gate().refusal(headers)
    assert (found is None) if word is None else (found is not None and word in found)


def test_C4_an_open_server() -> None:
    wide = gate("0.0.0.0", allowed_hosts=("ch",))
    assert wide.refusal({"Host": "192.0.2.1:8123"}) is None
    assert wide.refusal({"Host": "ch:8123"}) is None
    assert wide.refusal({"Host": "rebound.example"}) is not None


def test_C4_cors_is_for_named_origins() -> None:
    tool = {"Host": "localhost", "Origin": TOOL, "Sec-Fetch-Site": "cross-site"}
    page = tool | {"Origin": "http://evil.example"}
    off, on, wide = gate(), gate(cors_origins=(TOOL,)), gate(cors_origins=("*",))
    assert off.cors_headers(tool) == {} and "off" in (off.preflight_refusal(tool) or "")
    assert on.preflight_refusal(tool) is None and on.refusal(tool) is None
    assert on.cors_headers(tool)["Access-Control-Allow-Origin"] == TOOL
    assert on.refusal(page) is not None and on.cors_headers(page) == {}
    assert on.refusal(tool | {"Host": "rebound.example"}) is not None
    assert wide.refusal(page) is None
    asked = on.cors_headers(tool | {"Access-Control-Request-Private-Network": "true"}, True)
    assert asked["Access-Control-Allow-Private-Network"] == "true"


def test_C2_types_become_columns() -> None:
    assert of_types("UInt8, Tuple(a String, b Enum8('x,(' = 1)),Date") == (
        "_1 UInt8, _2 Tuple(a String, b Enum8('x,(' = 1)), _3 Date"
    )
    assert of_types("") == ""


def test_C2_queries_of_url_and_form_are_joined() -> None:
    form = Form([("query", " + 1"), ("param_a", "x"), ("query", " + 2")])
    assert form.arguments({"query": "select 1"}) == {"query": "select 1 + 1 + 2", "param_a": "x"}


def test_C7_the_end_of_a_body_that_failed() -> None:
    assert late_error(ServerError(395, "é"), "TAG") == (
        b"\r\n__exception__\r\nTAG\r\nCode: 395. DB::Exception: \xc3\xa9\n29 TAG"
        b"\r\n__exception__\r\n"
    )


@pytest.mark.parametrize(
    ("level", "sql", "good"),
    [
        ("1", "SELECT 1", True),
        ("1", "SELECT * FROM system.settings s", True),
        ("1", "SHOW SETTINGS LIKE 'x'", True),
        ("1", "SELECT 1 SETTINGS max_threads = 1", False),
        ("2", "SELECT 1 SETTINGS max_threads = 1", True),
        ("1", "SET max_threads = 1", False),
        ("2", "SET max_threads = 1", True),
        ("2", "KILL QUERY WHERE 1", False),
        ("2", "INSERT INTO t VALUES (1)", False),
        ("0", "DROP TABLE t", True),
    ],
)
def test_C5_what_readonly_forbids(level: str, sql: str, good: bool) -> None:
    if good:
        check_readonly(level, parse(sql))
    else:
        with pytest.raises(ServerError, match="readonly"):
            check_readonly(level, parse(sql))


@pytest.mark.parametrize("form", ["Values", "VALUES", "Template", "Regexp", "MySQLDump"])
def test_C2_formats_that_can_hold_sql_are_refused(form: str) -> None:
    with pytest.raises(ServerError):
        check_data_format(form)
    check_data_format("CSV")
