"""What HTTP clients do beyond plain queries: forms, external tables, late errors, web pages."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.external import ExternalData

from tests.integration.sql_server.support import ServerProcess
from tests.integration.sql_server.test_sql_http import ask, good, made, rows

CURL = shutil.which("curl") or "curl"
PAGE = "http://evil.example"
ALLOWED = "https://tool.example"
LATE = "select throwIf(number = {n}) as t, randomPrintableASCII(20) as s from numbers({n} + 1) "
LATE_ROWS = 300_000
LATE_SETTINGS = " settings max_block_size=1000"


@pytest.fixture(scope="module")
def connect(server: ServerProcess) -> Iterator[Client]:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.http, autogenerate_session_id=False
    )
    yield client
    client.close()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that lets the pages of one origin ask."""
    path = tmp_path_factory.mktemp("sql-cors") / "data"
    running = ServerProcess(path, "--cors-origin", ALLOWED)
    yield running
    assert running.stop() == 0


# --- C2: forms and external data


@pytest.mark.parametrize("count", [300, 3_000])
def test_C2_long_parameters(server: ServerProcess, connect: Client, table: str, count: int) -> None:
    made(server, table, "call_id String")
    ids = [str(uuid.uuid4()) for _ in range(count)]
    connect.insert(table, [[one] for one in [*ids, "another"]], column_names=["call_id"])
    sql = f"select count() from {table} where call_id in {{ids:Array(String)}}"
    assert connect.query(sql, parameters={"ids": ids}).result_rows == [(count,)]
    assert connect.query(sql, parameters={"ids": ids[:7]}).result_rows == [(7,)]


def test_C2_form_encoded_parameters(server: ServerProcess) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.http, form_encode_query_params=True
    )
    values = ["it's", "'quoted'", "back\\slash", "new\nline", "tab\t", "\\N", "", "汉字"]
    for value in values:
        found = client.query(
            "select {s:String}, {a:Array(String)}", parameters={"s": value, "a": [value]}
        )
        assert found.result_rows == [(value, [value])]
    found = client.query(
        "select {limit:UInt8} + {offset:UInt8}", parameters={"limit": 3, "offset": 4}
    )
    assert found.result_rows == [(7,)]
    client.close()


def test_C2_external_data(connect: Client) -> None:
    data = ExternalData(
        file_name="ext", data=b"1\tone\n2\ttwo\n", fmt="TSV", structure=["id UInt32", "s String"]
    )
    data.add_file(file_name="more", data=b"2,x\n3,y\n", fmt="CSV", types=["UInt32", "String"])
    found = connect.query(
        "select ext.s, more._2 from ext join more on ext.id = more._1", external_data=data
    )
    assert found.result_rows == [("two", "x")]


def test_C2_curl(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "x.tsv"
    file.write_text("1\n2\n3\n")

    def curl(*fields: str, **arguments: str) -> str:
        query = "&".join(f"{key}={value}" for key, value in arguments.items())
        forms = [word for one in fields for word in ("-F", one)]
        command = [CURL, "-sS", *forms, f"{server.url}/?{query}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert curl("query=select 1;") == "1\n"
    assert curl("query=select {x:UInt8} + 1", "param_x=4") == "5\n"
    structure = {"t_structure": "id%20UInt32", "query": "select%20sum(id)%20from%20t"}
    assert curl(f"t=@{file}", **structure) == "6\n"
    # Both queries are joined, the URL's first, as ClickHouse does it.
    joined = structure | {"query": structure["query"] + "%20"}
    assert curl(f"t=@{file}", "query=where id > 1", **joined) == "5\n"
    assert "Code: 36." in curl(f"t=@{file}", query="select%201")
    assert "Code: 497." in curl(
        f"t=@{file}", t_structure="id%20UInt32%20default%20file('/etc/passwd')", query="select%201"
    )
    assert "Code: 62." in curl(
        f"t=@{file}", t_structure="id%20UInt32);select%20(1", query="select%201"
    )
    assert "Code: 38." in curl(f"t=@{file}", t_structure="id%20Date", query="select%201")


def test_C2_tables_of_a_form_end_with_it(server: ServerProcess) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n7\n\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    session: Any = {"session_id": f"s{uuid.uuid4()}"}
    for _ in range(2):
        found = ask(server, "select * from t", body, kind, t_types="UInt8", **session)
        assert good(found) == b"7\n"
    assert ask(server, "select * from t", None, **session)[0] == 404
    for broken in (body[:-8], b"nothing", b"", body.replace(b'name="t"; ', b"")):
        status, _, text = ask(server, "select 1", broken, kind)
        assert (status, text[:9]) == (400, b"Code: 117"), text


# --- C4: web pages


def test_C4_a_page_neither_writes_nor_reads(server: ServerProcess, table: str) -> None:
    made(server, table, "id UInt32")
    insert = f"insert into {table} values (1)".encode()
    host = f"127.0.0.1:{server.http}"
    pages = [
        {"Origin": PAGE},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{server.http + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": f"evil.example:{server.http}"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "10.0.0.1"},
    ]
    for page in pages:
        choices: list[Any] = [{}, {"add_http_cors_header": "1"}]
        for settings in choices:
            status, headers, text = ask(
                server, body=insert, headers=page | {"Content-Type": "text/plain"}, **settings
            )
            assert (status, text[:8]) == (403, b"Refused:"), page
            assert "Access-Control-Allow-Origin" not in headers
            assert ask(server, f"select * from {table}", None, page, **settings)[0] == 403
    assert rows(server, table) == ""
    for own in ({"Origin": f"http://{host}"}, {"Sec-Fetch-Site": "none"}, {"Host": "localhost:1"}):
        assert good(ask(server, "select 1", None, own)) == b"1\n"


def preflight(server: ServerProcess, origin: str) -> str:
    command = [
        CURL, "-sSi", "-X", "OPTIONS", f"{server.url}/", "-H", f"Origin: {origin}",
        "-H", "Access-Control-Request-Method: POST",
        "-H", "Access-Control-Request-Headers: authorization",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_C4_preflight_off_says_so(server: ServerProcess) -> None:
    answer = preflight(server, PAGE)
    assert answer.startswith("HTTP/1.1 403") and "CORS) are off" in answer
    assert "access-control" not in answer.lower()


def test_C4_preflight_and_errors_when_on(open_server: ServerProcess) -> None:
    answer = preflight(open_server, ALLOWED)
    assert answer.startswith("HTTP/1.1 204")
    assert f"Access-Control-Allow-Origin: {ALLOWED}" in answer
    assert "authorization" in answer.partition("Access-Control-Allow-Headers")[2]
    assert preflight(open_server, PAGE).startswith("HTTP/1.1 403")
    tool = {"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"}
    for sql, status in (("select 1", 200), ("select nosuch", 404), ("selec", 400)):
        found = ask(open_server, sql, None, tool, add_http_cors_header="1")
        assert (found[0], found[1]["Access-Control-Allow-Origin"]) == (status, ALLOWED)
    assert ask(open_server, "select 1", None, {"Origin": PAGE})[0] == 403


def test_C4_show_create_in_any_spelling(connect: Client, server: ServerProcess, table: str) -> None:
    made(server, table)
    found = good(ask(server, f"SHOW CREATE TABLE {table} FoRmAt JSON", None))
    assert b'"statement": "CREATE TABLE' in found


# --- C5: settings hold for one query


def test_C5_readonly_in_a_session(server: ServerProcess) -> None:
    session: Any = {"session_id": f"s{uuid.uuid4()}"}
    get = "select getSetting('max_threads')"
    assert good(ask(server, "set max_threads = 1", **session)) == b""
    assert good(ask(server, get, None, readonly="1", max_threads="2", **session)) == b"2\n"
    assert good(ask(server, get, None, max_threads="4", **session)) == b"4\n"
    assert good(ask(server, get, None, **session)) == b"1\n"
    limit = "select getSetting('max_execution_time')"
    for value in ("7", "8"):
        found = ask(server, limit, None, readonly="2", max_execution_time=value, **session)
        assert good(found) == value.encode() + b"\n"
    assert good(ask(server, limit, None, **session)) == b"0\n"
    for sql in ("create table x (a Int8) engine = Memory", "set max_threads = 3"):
        assert ask(server, sql, readonly="1", **session)[0] == 403
    assert (
        b"Code: 164" in ask(server, get + " settings max_threads = 3", readonly="1", **session)[2]
    )
    assert good(ask(server, "select count() > 9 from system.settings", readonly="1")) == b"1\n"


# --- C7: errors after the status


@pytest.mark.parametrize("form", ["CSV", "JSONEachRow", "Native", "RowBinary"])
@pytest.mark.parametrize("coding", ["", "gzip", "lz4", "zstd", "compress"])
def test_C7_curl_sees_the_break(server: ServerProcess, form: str, coding: str) -> None:
    sql = LATE.format(n=LATE_ROWS) + f"format {form}" + LATE_SETTINGS
    arguments = "?compress=1" if coding == "compress" else "?enable_http_compression=1"
    headers = ["-H", f"Accept-Encoding: {coding}"] if coding not in ("", "compress") else []
    command = [CURL, "-sS", "-D", "-", "--data-binary", sql, *headers, server.url + "/" + arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.stdout.startswith(b"HTTP/1.1 200"), done.stdout[:200]
    assert done.returncode == 18, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    tag = next(line for line in head.split(b"\r\n") if b"Exception-Tag" in line).split(b": ")[1]
    if not coding:
        _, mark, end = body.rpartition(b"\r\n__exception__\r\n" + tag + b"\r\n")
        assert mark and b"Code: 395." in end, body[-500:]
        assert body.endswith(b" " + tag + b"\r\n__exception__\r\n")


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_C7_clickhouse_connect_raises(server: ServerProcess, compress: bool | str) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.http, compress=compress, autogenerate_session_id=False
    )
    with pytest.raises(ClickHouseError, match="395"):
        client.query(LATE.format(n=LATE_ROWS) + LATE_SETTINGS)
    text = "Code: 395. DB::Exception: only a text\n"
    found = client.query(
        f"select '{text}' as s from numbers(60000)", settings={"max_block_size": 1000}
    )
    assert (len(found.result_rows), found.result_rows[-1]) == (60_000, (text,))
    client.close()
