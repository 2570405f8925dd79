"""Which answers mean bad data, and which mean: try again."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from ringlog.settings import Settings
from streams.history.clickhouse import Away, ClickHouse, InsertRefused


class Server(HTTPServer):
    """Gives one answer to everything and remembers what was asked."""

    answer: tuple[int, str | None, bytes] = (200, None, b"")
    asked: list[tuple[dict[str, list[str]], bytes]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((parse_qs(urlsplit(self.path).query), body))
        status, code, text = self.server.answer
        self.send_response(status)
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        del format, args


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def clickhouse(server: Server) -> ClickHouse:
    return ClickHouse(Settings(clickhouse_http_port=server.server_port, port_shift=0))


def test_an_insert_names_its_columns_and_its_token(server: Server, clickhouse: ClickHouse) -> None:
    clickhouse.insert("raw_x", ("a", "_offset"), b"data", "t:0=1-2")
    clickhouse.insert("raw_x", ("a", "_offset"), b"other", "t:0=1-2")
    (first, body), (second, _) = server.asked
    assert body == b"data" and first["database"] == ["ringlog"]
    (sql,) = first["query"]
    assert sql.startswith("INSERT INTO raw_x (`a`, `_offset`) SETTINGS ")
    assert sql.endswith("FORMAT Avro") and "t:0=1-2:" in sql
    assert second["query"] != first["query"]  # other data never passes for a repeat


def test_rows_are_text(server: Server, clickhouse: ClickHouse) -> None:
    server.answer = 200, None, b"1\ta\n2\t\n"
    assert clickhouse.query("SELECT 1") == [["1", "a"], ["2", ""]]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((400, "117", b"Code: 117. DB::Exception: Incorrect data"), InsertRefused),
        ((500, None, b"Code: 376. DB::Exception: Cannot parse uuid"), InsertRefused),
        ((500, "1001", b"Code: 1001. DB::Exception: avro::Exception: EOF reached"), InsertRefused),
        ((500, "1001", b"Code: 1001. DB::Exception: std::bad_alloc"), Away),
        ((200, "117", b"Code: 117. DB::Exception: late"), InsertRefused),
        ((404, "60", b"Code: 60. DB::Exception: no such table"), Away),
        ((500, "241", b"Code: 241. DB::Exception: memory limit"), Away),
        ((500, "252", b"Code: 252. DB::Exception: too many parts"), Away),
        ((500, "53", b"Code: 53. DB::Exception: type mismatch"), Away),
        ((503, None, b""), Away),
    ],
)
def test_errors(
    server: Server,
    clickhouse: ClickHouse,
    answer: tuple[int, str | None, bytes],
    kind: type[Exception],
) -> None:
    server.answer = answer
    with pytest.raises(kind, match="ClickHouse: ."):
        clickhouse.insert("raw_x", ("a",), b"data", "t")


def test_nobody_there_is_away() -> None:
    nobody = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = nobody.server_port
    nobody.server_close()
    with pytest.raises(Away, match="ClickHouse at "):
        ClickHouse(Settings(clickhouse_http_port=port, port_shift=0)).query("SELECT 1")
