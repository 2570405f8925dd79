"""The registry's answers over HTTP: what is clear is kept, and everything else is asked again."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from schemas.registry import MAX_ANSWER_BYTES, Registry, RegistryError
from schemas.wire import ABSENT_FOR_S, HEADER, MAX_REFUSED, Codec, Poison
from schemas.writer_schema import Unusable
from tests.unit.schemas.odd_schemas import record

NOT_FOUND = 404, {"error_code": 40403, "message": "Schema 7 not found."}


class FakeRegistry:
    """Answers every question the same way; `asked` are the paths."""

    def __init__(self) -> None:
        self.answer: tuple[int, Any] = NOT_FOUND
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked.append(self.path)
                status, body = fake.answer
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in fake.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    yield server
    server.close()


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error_code": 50001, "message": "store"}),
        (429, {"error_code": 42901}),
        (401, {}), (403, b"<html>"), (400, {"error_code": 400}), (302, b""),
        (404, b""), (404, b"<html>nginx</html>"), (404, {"error_code": 404}), (404, []),
        (200, b"<html>log in</html>"), (200, {}), (200, {"schema": 5}), (200, []),
        (200, b"[" * 9000),
        (204, b""),
    ],
)  # fmt: skip
def test_k2_an_answer_that_is_not_clear_is_no_verdict(
    fake: FakeRegistry, answer: tuple[int, Any]
) -> None:
    fake.answer = answer
    registry = Registry(fake.url)
    codec = Codec(registry)
    value = HEADER.pack(0, 7) + b"\x02"
    with pytest.raises(RegistryError):
        codec.decode("dialogue.turns", value)
    assert codec.must_ask(value), "the record waits"
    fake.answer = 200, {"schema": record("int")}
    with pytest.raises(Poison, match="Avro"):
        codec.decode("dialogue.turns", value)
    assert not codec.must_ask(value)


def test_k2_a_registry_that_asks_for_patience_does_not_stop_the_reader(fake: FakeRegistry) -> None:
    fake.answer, fake.headers = (429, {}), {"Retry-After": "3600"}
    begun_s = time.monotonic()
    with pytest.raises(RegistryError, match="429"):
        Registry(fake.url).schema_of(7)
    assert time.monotonic() - begun_s < 5


def test_an_endless_answer_is_cut_off(fake: FakeRegistry) -> None:
    fake.answer = 200, b'{"schema": "' + b"x" * (MAX_ANSWER_BYTES + 1)
    with pytest.raises(RegistryError):
        Registry(fake.url).schema_of(7)


@pytest.mark.parametrize("kind", ["PROTOBUF", "JSON", "x" * 5_000, 7])
def test_k1_a_schema_of_another_kind_is_named(fake: FakeRegistry, kind: Any) -> None:
    fake.answer = 200, {"schema": record("int"), "schemaType": kind}
    with pytest.raises(Unusable, match=f"is {str(kind)[:50]}, not Avro"):
        Registry(fake.url).schema_of(7)


def test_the_default_kind_is_avro(fake: FakeRegistry) -> None:
    fake.answer = 200, {"schema": record("int"), "schemaType": "AVRO"}
    assert Registry(fake.url).schema_of(7) == record("int")


@pytest.mark.parametrize("schema_id", [0, 2**31, 2**32 - 1])
def test_k2_an_id_that_cannot_be_is_not_asked_for(fake: FakeRegistry, schema_id: int) -> None:
    value = HEADER.pack(0, schema_id) + b"\x02a"
    codec = Codec(Registry(fake.url))
    assert not codec.must_ask(value)
    with pytest.raises(Poison, match=f"{schema_id} is none that a registry gives"):
        codec.decode("calls.events", value)
    assert fake.asked == []


def test_k2_an_eight_byte_id_and_a_body_without_header_are_poison(fake: FakeRegistry) -> None:
    codec = Codec(Registry(fake.url))
    for value in (b"\x00" + (26).to_bytes(8) + b"\x02a", bytes(5), b"\x00\x02a\x04bc"):
        with pytest.raises(Poison):
            codec.decode("calls.events", value)
    assert len(fake.asked) <= 1


def test_k1_a_flood_of_one_bad_id_asks_once_a_second(fake: FakeRegistry) -> None:
    now_s = 0.0
    codec = Codec(Registry(fake.url), lambda: now_s)
    value = HEADER.pack(0, 7) + b"\x02"
    for _ in range(500):
        with pytest.raises(Poison, match="not in the registry"):
            codec.decode("calls.events", value)
    assert len(fake.asked) == 1
    fake.answer = 200, {"schema": record("int", name="Turn")}
    now_s += ABSENT_FOR_S
    with pytest.raises(Poison, match="is of Turn, not of calls.events"):
        codec.decode("calls.events", value)
    assert len(fake.asked) == 2


def test_k1_what_is_kept_of_a_flood_of_many_bad_ids_is_bounded() -> None:
    class Counting:
        asked = 0

        def id_of(self, subject: str, schema: str) -> int:
            raise AssertionError

        def schema_of(self, schema_id: int) -> str:
            self.asked += 1
            return '"string"'

    source = Counting()
    codec = Codec(source)
    for schema_id in [*range(1, 2 * MAX_REFUSED + 1), *range(MAX_REFUSED + 1, 2 * MAX_REFUSED)]:
        with pytest.raises(Poison, match="is not a record"):
            codec.decode("calls.events", HEADER.pack(0, schema_id) + b"\x02")
    assert source.asked == 2 * MAX_REFUSED
    assert len(codec._refused) == MAX_REFUSED
