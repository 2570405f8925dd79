"""Hostile bytes on both ports: the server answers or hangs up, stays small, and serves the next."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.server.protocol.blocks import BLOCK_INFO, header
from sql.server.protocol.compression import compress
from sql.server.protocol.wire import encode_string, encode_varint
from tests.integration.sql_server.support import ServerProcess, wait_for

FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GROWTH_BYTES = 400 << 20


def hello(password: str = "") -> bytes:
    out = encode_varint(0) + encode_string("fuzz") + b"\x01\x01" + encode_varint(54453)
    return out + encode_string("") + encode_string("default") + encode_string(password)


def query(sql: str, compressed: bool = False) -> bytes:
    out = encode_varint(1) + encode_string("id") + b"\x01" + encode_string("") * 3 + bytes(8)
    out += b"\x01" + encode_string("") * 3 + b"\x01\x01" + encode_varint(54453)
    out += encode_string("") + b"\x00\x00\x00" + b"\x00\x00\x00"
    out += encode_string("") + encode_string("") + encode_varint(2)
    return out + encode_varint(compressed) + encode_string(sql) + data(header([]), compressed)


def data(native: bytes, compressed: bool = False) -> bytes:
    payload = BLOCK_INFO + native
    return b"\x02" + encode_string("") + (compress(payload) if compressed else payload)


def block(rows: int = 2) -> bytes:
    out = encode_varint(3) + encode_varint(rows)
    out += encode_string("a") + encode_string("UInt32") + struct.pack("<2I", 1, 2)
    out += (
        encode_string("s") + encode_string("String") + encode_string("x") + encode_string("y" * 200)
    )
    return out + encode_string("l") + encode_string("Array(String)") + struct.pack(
        "<2Q", 1, 2
    ) + encode_string("p") + encode_string("q")  # fmt: skip


def talk(port: int, sent: bytes, end: bool = True) -> bytes:
    """Send, say that nothing follows if ``end``, and read until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), 60) as link:
        link.settimeout(60)
        received = b""
        try:
            link.sendall(sent)
            if end:
                link.shutdown(socket.SHUT_WR)
            while part := link.recv(1 << 16):
                received += part
        except (ConnectionError, BrokenPipeError):
            pass
        return received


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own; it must have survived everything and not have grown much."""
    server = ServerProcess(tmp_path_factory.mktemp("fuzz") / "data")
    client = server.client()
    client.execute("CREATE TABLE f (a UInt32, s String, l Array(String)) ENGINE = Memory")
    assert alive(server)
    before = server.resident_bytes()
    yield server
    assert alive(server)
    client.disconnect()
    assert server.resident_bytes() - before < GROWTH_BYTES
    assert server.stop() == 0
    assert "Traceback" not in server.errors()


def alive(server: ServerProcess) -> bool:
    client = server.client()
    try:
        return bool(client.execute("SELECT 1") == [(1,)]) and b"200 OK" in talk(
            server.http, b"GET /ping HTTP/1.0\r\n\r\n", end=False
        )
    finally:
        client.disconnect()


def test_the_fuzzers_own_client_is_right(victim: ServerProcess) -> None:
    """What is mutated below is valid to begin with."""
    for compressed in (False, True):
        insert = query("INSERT INTO f VALUES", compressed) + data(block(), compressed)
        answer = talk(victim.native, hello() + insert + data(header([]), compressed))
        assert answer.startswith(b"\x00\x0aClickHouse")
        assert answer.endswith(b"\x05")
    client = victim.client()
    assert client.execute("SELECT a, s, l FROM f LIMIT 1") == [(1, "x", ["p"])]
    client.disconnect()


@FUZZ
@given(st.binary(max_size=400))
def test_random_bytes_instead_of_hello(victim: ServerProcess, raw: bytes) -> None:
    talk(victim.native, raw)


@FUZZ
@given(st.binary(max_size=400))
def test_random_bytes_after_hello(victim: ServerProcess, raw: bytes) -> None:
    assert talk(victim.native, hello() + raw).startswith(b"\x00\x0aClickHouse")


CONVERSATIONS = [
    hello() + query("SELECT number, toString(number) FROM numbers(10)") + b"\x04",
    hello() + query("INSERT INTO f VALUES") + data(block()) + data(header([])),
    hello() + query("INSERT INTO f VALUES", True) + data(block(), True) + data(header([]), True),
    hello() + query("SHOW TABLES") + query("SELECT 1 WHERE 0") + b"\x03\x04",
]


@FUZZ
@given(data_=st.data())
def test_mutated_conversations(victim: ServerProcess, data_: st.DataObject) -> None:
    raw = bytearray(data_.draw(st.sampled_from(CONVERSATIONS)))
    for _ in range(data_.draw(st.integers(1, 6))):
        at = data_.draw(st.integers(0, len(raw) - 1))
        match data_.draw(st.sampled_from(["set", "cut", "add"])):
            case "set":
                raw[at] = data_.draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + data_.draw(st.integers(1, 20))]
            case _:
                raw[at:at] = data_.draw(st.binary(min_size=1, max_size=20))
        if not raw:
            return
    talk(victim.native, bytes(raw))


@pytest.mark.parametrize(
    "native",
    [
        encode_varint(2**40) + b"\x01",
        b"\x01" + encode_varint(2**62) + encode_string("a") + encode_string("UInt64"),
        b"\x01\x01" + encode_string("a") + encode_string("String") + encode_varint(2**40),
        b"\x01\x01" + encode_string("a") + encode_string("Array(String)") + b"\xff" * 8,
        b"\x01\x01" + encode_varint(2**35),
        b"\x01\x01" + encode_string("a") + encode_string("Array(" * 3000 + "UInt8"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_sizes_that_cannot_be_are_refused(
    victim: ServerProcess, native: bytes, compressed: bool
) -> None:
    sent = hello() + query("INSERT INTO f VALUES", compressed) + data(native, compressed)
    answer = talk(victim.native, sent)
    assert b"DB::Exception" in answer


def test_huge_strings_and_frames_are_refused(victim: ServerProcess) -> None:
    for tail in (
        encode_varint(1) + encode_varint(2**31),
        query("INSERT INTO f VALUES", True) + b"\x02\x00" + bytes(16) + b"\x82" + b"\xff" * 8,
    ):
        assert b"DB::Exception" in talk(victim.native, hello() + tail)
    assert b"DB::Exception" in talk(victim.native, b"\x00" + encode_varint(2**40))


def test_half_a_conversation_leaves_nothing_behind(victim: ServerProcess) -> None:
    """Clients that vanish at any byte of an insert: no row of it, no connection left over."""
    client = victim.client()
    before = client.execute("SELECT count() FROM f")
    whole = CONVERSATIONS[1]
    for cut in range(len(hello()) + 1, len(whole) - len(data(header([]))), 37):
        talk(victim.native, whole[:cut])
    assert client.execute("SELECT count() FROM f") == before
    client.disconnect()

    def connections() -> bool:
        shown = talk(victim.http, b"GET /metrics HTTP/1.0\r\n\r\n", end=False).decode()
        line = next(line for line in shown.splitlines() if line.startswith("ringlog_sql_conn"))
        return float(line.split()[1]) <= 1.0  # the fixture's own

    wait_for(connections, "the connections to be gone")


PACKED = compress(block())
REQUESTS = [
    b"POST /?query=SELECT+1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: 3\r\n\r\n+ 2",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"8\r\nSELECT 1\r\n0\r\n\r\n",
    b"POST /?query=INSERT+INTO+f+FORMAT+Native HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(block()), block()),
    b"POST /?query=INSERT+INTO+f+FORMAT+Native&decompress=1 HTTP/1.1\r\nHost: localhost\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(PACKED), PACKED),
    b"GET /?query=SELECT+1&database=ringlog&max_threads=1&param_a=b HTTP/1.1\r\nHost: localhost\r\n"
    b"Accept-Encoding: gzip\r\nAuthorization: Basic ZGVmYXVsdDo=\r\nConnection: close\r\n\r\n",
]  # fmt: skip


def test_the_fuzzers_own_requests_are_right(victim: ServerProcess) -> None:
    assert all(
        talk(victim.http, request, end=False).startswith(b"HTTP/1.1 200") for request in REQUESTS
    )


@FUZZ
@given(raw=st.binary(max_size=300))
def test_random_bytes_over_http(victim: ServerProcess, raw: bytes) -> None:
    talk(victim.http, raw)


@FUZZ
@given(data_=st.data())
def test_mutated_requests(victim: ServerProcess, data_: st.DataObject) -> None:
    raw = bytearray(data_.draw(st.sampled_from(REQUESTS)))
    for _ in range(data_.draw(st.integers(1, 6))):
        at = data_.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data_.draw(st.integers(0, 3))] = data_.draw(st.binary(max_size=5))
        if not raw:
            return
    talk(victim.http, bytes(raw))


def test_limits_of_http(victim: ServerProcess) -> None:
    long_url = b"GET /?query=" + b"1" * (2 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert not talk(victim.http, long_url, end=False).startswith(b"HTTP/1.1 200")
    many = b"GET /ping HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n"
    assert not talk(victim.http, many, end=False).startswith(b"HTTP/1.1 200")
    size = 17 << 20
    body = b"SELECT '" + b"x" * size
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    answer = talk(victim.http, head % len(body) + body, end=False)
    assert answer == b"" or b"Code: 62." in answer
