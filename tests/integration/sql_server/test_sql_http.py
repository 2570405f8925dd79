"""HTTP: clickhouse-connect, curl, inserts of every shape, errors, sessions, compression."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import http.client
import io
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

import clickhouse_connect
import fastavro
import lz4.frame
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import DatabaseError

from sql.server.protocol.compression import compress, frame
from sql.server.protocol.wire import Buffer, parse_all
from tests.integration.sql_server.support import ServerProcess, wait_for

Answer = tuple[int, Mapping[str, str], bytes]


def ask(
    server: ServerProcess,
    query: str = "",
    body: bytes | None = b"",
    headers: Mapping[str, str] | None = None,
    path: str = "/",
    **arguments: str,
) -> Answer:
    """One request: POST with a body, GET with ``body=None``. Status, headers, body."""
    if query:
        arguments["query"] = query
    url = f"{server.url}{path}?{urllib.parse.urlencode(arguments)}"
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def good(answer: Answer) -> bytes:
    assert answer[0] == 200, answer[2]
    return answer[2]


def made(server: ServerProcess, table: str, columns: str = "a String, b UInt32") -> str:
    good(ask(server, f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY tuple()"))
    return table


def rows(server: ServerProcess, table: str) -> str:
    return good(ask(server, f"SELECT * FROM {table} ORDER BY ALL")).decode()


def test_ping_and_health(server: ServerProcess) -> None:
    for path in ("/ping", "/replicas_status", "/", "/healthz", "/readyz"):
        assert good(ask(server, body=None, path=path)).lower().startswith(b"ok")
    assert b"ringlog_sql_query_seconds" in good(ask(server, body=None, path="/metrics"))
    assert ask(server, body=None, path="/nosuch")[0] == 404


def test_queries_in_url_and_body(server: ServerProcess) -> None:
    assert good(ask(server, "SELECT 1", None)) == b"1\n"
    assert good(ask(server, body=b"SELECT 1, 'x'")) == b"1\tx\n"
    assert good(ask(server, "SELECT 1", b" + 1")) == b"2\n"
    assert good(ask(server, "SELECT 1 FORMAT CSVWithNames", None)) == b'"1"\n1\n'
    _, headers, body = ask(server, "SELECT 1 AS x", None, default_format="JSONEachRow")
    assert (json.loads(body), headers["X-ClickHouse-Format"]) == ({"x": 1}, "JSONEachRow")
    body = good(ask(server, "SELECT 1 AS x", None, {"X-ClickHouse-Format": "JSONCompact"}))
    assert json.loads(body)["meta"] == [{"name": "x", "type": "UInt8"}]
    empty = good(ask(server, "SELECT 1 AS x WHERE 0 FORMAT JSONCompact", None))
    assert json.loads(empty)["meta"] == [{"name": "x", "type": "UInt8"}]


def test_settings_parameters_and_database(server: ServerProcess) -> None:
    get = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    assert good(ask(server, get, None, max_threads="3")) == b"3\n"
    sql = "SELECT {a:UInt8} + 1, {b:String}, {c:Array(String)}"
    answer = ask(server, sql, None, param_a="3", param_b="it's", param_c="['x', 'y']")
    assert good(answer) == b"4\tit\\'s\t['x','y']\n"
    assert good(ask(server, "SELECT currentDatabase()", None)) == b"ringlog\n"
    assert good(ask(server, "SELECT currentDatabase()", None, database="system")) == b"system\n"


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT * FROM nosuch", 60, 404),
        ("SELEC 1", 62, 400),
        ("SELECT FROM WHERE", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT * FROM url('http://127.0.0.1/', CSV)", 497, 403),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 497, 403),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1 FORMAT NoSuchFormat", 73, 400),
    ],
)
def test_errors(server: ServerProcess, sql: str, code: int, status: int) -> None:
    found, headers, body = ask(server, sql)
    assert (found, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert b"OUTFILE '/proc" not in body


def test_bad_arguments(server: ServerProcess) -> None:
    def code(answer: Answer) -> str:
        return answer[1]["X-ClickHouse-Exception-Code"]

    assert code(ask(server, "SELECT 1", None, nosuch="1")) == "115"
    assert code(ask(server, "SELECT 1", None, database="nosuch")) == "81"
    assert code(ask(server, "SELECT 1", None, default_table_engine="File")) == "497"
    assert code(ask(server, "SELECT 1", None, default_format="a b")) == "117"
    assert code(ask(server, "DROP TABLE IF EXISTS x", None)) == "164"
    assert code(ask(server, body=b"SELECT 1", headers={"Content-Encoding": "nosuch"})) == "89"
    assert code(ask(server, body=b"no gzip", headers={"Content-Encoding": "gzip"})) == "271"
    assert code(ask(server, body=b"\xff\xfe\x00")) == "62"
    assert code(ask(server, body=b"SELECT '\xff'")) == "117"


def test_users(server: ServerProcess) -> None:
    basic = base64.b64encode(b"default:").decode()
    assert good(ask(server, "SELECT 1", None, {"Authorization": f"Basic {basic}"}))
    assert good(ask(server, "SELECT 1", None, user="default", password=""))
    assert good(ask(server, "SELECT 1", None, {"X-ClickHouse-User": "default"}))
    for answer in (
        ask(server, "SELECT 1", None, user="stranger"),
        ask(server, "SELECT 1", None, password="wrong"),
        ask(server, "SELECT 1", None, {"X-ClickHouse-Key": "wrong"}),
        ask(server, "SELECT 1", None, {"Authorization": "Basic %%%"}),
        ask(server, "SELECT 1", None, {"Authorization": "Bearer x"}),
    ):
        assert (answer[0], answer[1]["X-ClickHouse-Exception-Code"]) == (403, "516")


def test_inserts_with_data_in_the_body(server: ServerProcess, table: str) -> None:
    made(server, table)
    good(ask(server, f"INSERT INTO {table} FORMAT TSV", b"x\t1\n"))
    good(ask(server, body=f'INSERT INTO {table} FORMAT CSV\n"y",2\n'.encode()))
    good(
        ask(
            server, body=f'insert into {table} (b, a) format JSONEachRow {{"a":"z","b":3}}'.encode()
        )
    )
    good(ask(server, f"INSERT INTO {table} VALUES", b"('v', 4), (concat('w', 'w'), 5)"))
    good(ask(server, body=f"INSERT INTO {table} VALUES ('语', 6)".encode()))
    good(ask(server, f"INSERT INTO {table} SELECT 'q', 7"))
    good(ask(server, f"INSERT INTO {table} SETTINGS max_threads = 1 FORMAT TSV", b"s\t8\n"))
    good(ask(server, f"INSERT INTO {table} FORMAT TSV", b""))
    expected = "q\t7\ns\t8\nv\t4\nww\t5\nx\t1\ny\t2\nz\t3\n语\t6\n"
    assert rows(server, table) == expected


@pytest.mark.parametrize("coding", ["gzip", "lz4", "zstd", "frames", "chunked"])
def test_compressed_and_chunked_inserts(server: ServerProcess, table: str, coding: str) -> None:
    made(server, table)
    data = b"".join(b"row\t%d\n" % number for number in range(100_000))
    sql = f"INSERT INTO {table} FORMAT TSV"
    if coding == "frames":
        good(ask(server, sql, compress(data), decompress="1"))
    elif coding == "chunked":
        link = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
        parts = (data[at : at + 77_777] for at in range(0, len(data), 77_777))
        target = "/?" + urllib.parse.urlencode({"query": sql})
        link.request("POST", target, body=parts, encode_chunked=True,
                     headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        assert link.getresponse().status == 200
        link.close()
    else:
        packed = {
            "gzip": gzip.compress,
            "lz4": lz4.frame.compress,
            "zstd": zstandard.ZstdCompressor().compress,
        }[coding](data)
        good(ask(server, sql, packed, {"Content-Encoding": coding}))
    found = good(ask(server, f"SELECT count(), sum(b) FROM {table}", None))
    assert found == b"100000\t4999950000\n"


def avro(count: int) -> bytes:
    schema = {
        "type": "record",
        "name": "row",
        "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "long"}],
    }
    out = io.BytesIO()
    fastavro.writer(out, schema, ({"a": f"r{n}", "b": n} for n in range(count)))
    return out.getvalue()


def test_avro_goes_in_whole_or_not_at_all(server: ServerProcess, table: str) -> None:
    made(server, table, "a String, b Int64, CONSTRAINT small CHECK b < 1000")
    good(ask(server, f"INSERT INTO {table} (a, b) FORMAT Avro", avro(1000)))
    assert good(ask(server, f"SELECT count(), sum(b) FROM {table}")) == b"1000\t499500\n"
    statement = f"INSERT INTO {table} FORMAT Avro\n".encode()
    good(ask(server, body=statement + avro(10)))
    assert good(ask(server, f"SELECT count() FROM {table}")) == b"1010\n"
    status, headers, _ = ask(server, f"INSERT INTO {table} FORMAT Avro", avro(1001))
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "469")
    status, headers, _ = ask(server, f"INSERT INTO {table} FORMAT Avro", avro(500)[:-40])
    assert status != 200 and headers["X-ClickHouse-Exception-Code"]
    assert good(ask(server, f"SELECT count() FROM {table}")) == b"1010\n"


def test_any_bytes_are_data(server: ServerProcess, table: str) -> None:
    made(server, table)
    good(ask(server, body=f"INSERT INTO {table} FORMAT TSV\n".encode() + b"\xff\xfe\t1\n"))
    good(ask(server, f"INSERT INTO {table} FORMAT RowBinary", b"\x02\xff\xfe\x01\0\0\0"))
    found = good(ask(server, f"SELECT hex(a), b FROM {table}"))
    assert found == b"FFFE\t1\nFFFE\t1\n"


def test_failed_inserts(server: ServerProcess, table: str) -> None:
    made(server, table, "a String, b UInt8, CONSTRAINT small CHECK b < 100")

    def code(data: bytes, form: str = "TSV") -> str:
        answer = ask(server, f"INSERT INTO {table} FORMAT {form}", data)
        assert answer[0] != 200
        return answer[1]["X-ClickHouse-Exception-Code"]

    assert code(b"x\t1\ny\t200\n") == "469"
    assert code(b"x\tnumber\n") == "27"
    assert code(b"x", "NoSuchFormat") == "73"
    answer = ask(server, "INSERT INTO nosuch FORMAT TSV", b"x\n")
    assert answer[1]["X-ClickHouse-Exception-Code"] == "60"
    answer = ask(server, f"INSERT INTO {table} VALUES", b"(file('/etc/hostname'), 1)")
    assert answer[1]["X-ClickHouse-Exception-Code"] == "497"
    assert rows(server, table) == ""


def test_results_are_streamed_and_compressed(server: ServerProcess) -> None:
    sql = "SELECT number FROM numbers(500000)"
    expected = "".join(f"{number}\n" for number in range(500_000)).encode()
    assert good(ask(server, sql, None)) == expected

    def packed(coding: str) -> bytes:
        accept = {"Accept-Encoding": coding}
        _, headers, body = ask(server, sql, None, accept, enable_http_compression="1")
        assert headers["Content-Encoding"] == coding
        return body

    assert gzip.decompress(packed("gzip")) == expected
    assert lz4.frame.decompress(packed("lz4")) == expected
    unpack = zstandard.ZstdDecompressor().decompressobj()
    assert unpack.decompress(packed("zstd")) == expected
    buffer = Buffer(good(ask(server, sql, None, compress="1")))
    raw = b""
    while len(buffer):
        raw += parse_all(frame(buffer, 1 << 24))
    assert raw == expected


def test_a_failure_in_the_middle_breaks_the_stream(server: ServerProcess) -> None:
    sql = "SELECT number, throwIf(number = 5000000) FROM numbers(10000000)"
    link = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    link.request("GET", "/?" + urllib.parse.urlencode({"query": sql}))
    answer = link.getresponse()
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert b"Code: 395. DB::Exception" in caught.value.partial[-2000:]
    link.close()
    held = "SELECT number, throwIf(number = 300000) FROM numbers(1000000)"
    assert ask(server, held, None, wait_end_of_query="1")[0] == 500


def test_named_sessions_keep_their_state(server: ServerProcess) -> None:
    good(ask(server, "CREATE TEMPORARY TABLE mine (a UInt8)", session_id="s1"))
    good(ask(server, "INSERT INTO mine VALUES (1)", session_id="s1"))
    good(ask(server, "SET max_threads = 3", session_id="s1"))
    assert good(ask(server, "SELECT a FROM mine", session_id="s1")) == b"1\n"
    assert ask(server, "SELECT a FROM mine", session_id="s2")[0] == 404
    assert ask(server, "SELECT a FROM mine")[0] == 404


def running(server: ServerProcess, marker: str) -> bool:
    sql = (
        f"SELECT count() > 0 FROM system.processes WHERE position(query, '{marker}') > 0 "
        "AND position(query, 'system.processes') = 0"
    )
    return good(ask(server, sql)) == b"1\n"


def test_a_session_is_used_by_one_at_a_time_and_leaving_kills(server: ServerProcess) -> None:
    sql = "SELECT sleepEachRow(1) AS http_long FROM numbers(600) SETTINGS max_block_size = 1"
    target = "/?" + urllib.parse.urlencode({"query": sql, "session_id": "locked"})
    link = socket.create_connection(("127.0.0.1", server.http), 60)
    link.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_for(lambda: running(server, "http_long"), "the query to run")
    answer = ask(server, "SELECT 1", session_id="locked")
    assert (answer[0], answer[1]["X-ClickHouse-Exception-Code"]) == (409, "373")
    link.close()
    wait_for(lambda: not running(server, "http_long"), "the query to end")

    def unlocked() -> bool:
        return ask(server, "SELECT 1", session_id="locked")[0] == 200

    wait_for(unlocked, "the session to be free")


@pytest.mark.parametrize("coding", [False, "lz4", "zstd", "gzip"])
def test_clickhouse_connect(server: ServerProcess, table: str, coding: bool | str) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.http, compress=coding, autogenerate_session_id=True
    )
    client.command(
        f"CREATE TABLE {table} (a UInt32, b LowCardinality(String), c Nullable(Float64), "
        "d DateTime64(3), e Array(String), m Map(String, UInt64)) ENGINE = MergeTree ORDER BY a"
    )
    columns = ["a", "b", "c", "d", "e", "m"]
    when = dt.datetime.fromisoformat("2020-01-01T00:00:00.123")
    data = [
        [n, f"k{n % 7}", None if n % 2 else 0.5, when, ["p", "q"], {"a": n}] for n in range(5000)
    ]
    summary = client.insert(table, data, column_names=columns)
    assert summary.written_rows == 5000
    found = client.query(f"SELECT * FROM {table} ORDER BY a").result_rows
    assert [list(row) for row in found] == data
    assert client.query("SELECT {x:UInt32} + 1", parameters={"x": 4}).result_rows == [(5,)]
    assert client.command("SELECT count() FROM numbers(7)") == 7
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
        assert sum(len(block) for block in stream) == 300_000
    with pytest.raises(DatabaseError, match="code: 60"):
        client.query("SELECT * FROM nosuch")
    with pytest.raises(DatabaseError, match="code: 62"):
        client.query("SELEC 1")
    client.close()


CURL = shutil.which("curl")


@pytest.mark.skipif(CURL is None, reason="curl is not on this machine")
def test_curl(server: ServerProcess, table: str) -> None:
    def curl(*arguments: str, data: bytes = b"") -> bytes:
        assert CURL is not None
        command = [CURL, "-sS", "--fail-with-body", "-m", "60", *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    assert curl(f"{server.url}/ping") == b"Ok.\n"
    assert curl(f"{server.url}/?query=SELECT+1") == b"1\n"
    create = f"CREATE TABLE {table} (a String, b UInt8) ENGINE = MergeTree ORDER BY b"
    curl(server.url, "-d", create)
    insert = urllib.parse.quote(f"INSERT INTO {table} FORMAT TSV")
    curl(f"{server.url}/?query={insert}", "--data-binary", "@-", data=b"x\t1\ny\t2\n")
    packed = gzip.compress(b"z\t3\n")
    curl("-H", "Content-Encoding: gzip", f"{server.url}/?query={insert}", "--data-binary", "@-",
         data=packed)  # fmt: skip
    select = urllib.parse.quote(f"SELECT * FROM {table} ORDER BY b")
    assert curl(f"{server.url}/?query={select}") == b"x\t1\ny\t2\nz\t3\n"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        curl(f"{server.url}/?query=SELECT+*+FROM+nosuch")
    assert caught.value.stdout.startswith(b"Code: 60.")
