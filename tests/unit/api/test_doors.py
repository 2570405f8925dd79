"""The real application over HTTP, with a log in memory: no input answers 500, nobody is wronged."""

import asyncio
import gc
import json
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ringlog.api_key import api_key
from ringlog.clock import now_ms
from ringlog.health import Health, add_routes, serve
from ringlog.settings import Settings
from schemas import ids
from schemas.envelope import Event
from schemas.events import OptOut, TaskRequested
from streams.api.__main__ import _application
from streams.api.history import HistoryAway, HistoryRows
from streams.api.hub import Hub
from streams.api.models import AssignRequest

BODY = {"customer_id": "k", "phone": "13800138000", "campaign_id": "c", "pool": "p",
        "playbook": "promotion"}  # fmt: skip
JSON = {"Content-Type": "application/json"}


class Log:
    """Stands for the producer: what is sent is folded after a turn of the loop."""

    def __init__(self, hub: Hub) -> None:
        self.events: list[Event] = []
        self.hub = hub

    async def send(self, topic: str, event: Event) -> None:
        await asyncio.sleep(0.001)
        self.events.append(event)
        self.hub._fold(event)

    async def send_all(self, records: Iterable[tuple[str, Event]]) -> None:
        for topic, event in records:
            await self.send(topic, event)


class World:
    """One API that listens on a port, and a client."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.config = Settings(home=home, site_key=cast(Any, "s"), **settings)
        self.hub = Hub(self.config, cast(Any, None))
        self.log = Log(self.hub)
        self.health = Health("api", ready=True)
        self.away = False
        self.rows: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> "World":
        life = cast(Any, SimpleNamespace(settings=self.config, health=self.health))
        app = _application(life, self.hub, cast(Any, self.log))
        self.runner = await serve(app, "127.0.0.1", 0)
        port = self.runner.addresses[0][1]
        self.session = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)
        )
        self.port = port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.runner.cleanup()

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, path, **options) as answer:
            data = await answer.read()
            return answer.status, (await answer.json(content_type=None)) if data else {}

    @property
    def requests(self) -> list[TaskRequested]:
        return [e for e in self.log.events if isinstance(e, TaskRequested)]


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with World(tmp_path) as world:

        async def rows(_: HistoryRows, query: str, key: str) -> list[dict[str, Any]]:
            if world.away:
                raise HistoryAway("ClientConnectorError")
            return [row | {"task_id": known} for known, row in world.rows.items() if known in key]

        monkeypatch.setattr(HistoryRows, "_rows", rows)
        yield world


async def test_R1_a_number_is_stored_as_e164_however_it_is_written(api: World) -> None:
    for n, phone in enumerate(["13800138000", "+86 138-0013-8000", "0086 13800138000",
                               "８６１３８００１３８０００", "tel:+8613800138000"]):  # fmt: skip
        key = {"Idempotency-Key": str(n)}
        status, _ = await api.ask(
            "POST", "/api/tasks/assign", json=BODY | {"phone": phone}, headers=key
        )
        assert status == 202
    assert {e.phone for e in api.requests} == {"+8613800138000"}
    for phone in ("110", "120", "call me", "1" * 65):
        status, told = await api.ask("POST", "/api/tasks/assign", json=BODY | {"phone": phone})
        assert (status, "phone" in told["detail"]) == (422, True)


async def test_R6_of_fifty_requests_with_one_key_and_two_bodies_one_body_wins(api: World) -> None:
    async def one(n: int) -> tuple[int, str]:
        phone = ("13800138000", "13900139000")[n % 2]
        status, _ = await api.ask(
            "POST", "/api/tasks/assign", json=BODY | {"phone": phone},
            headers={"Idempotency-Key": "one"},
        )  # fmt: skip
        return status, phone

    answers = Counter(await asyncio.gather(*(one(n) for n in range(50))))
    assert len(api.requests) == 1
    winner = api.requests[0].phone
    assert {(s, f"+86{p}" == winner) for s, p in answers} == {(202, True), (409, False)}


async def test_R6_an_old_key_with_clickhouse_away_is_no_new_one(api: World) -> None:
    api.away = True
    key = {"Idempotency-Key": "25 hours old"}
    async with api.session.post("/api/tasks/assign", json=BODY, headers=key) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert not api.requests
    assert (await api.ask("POST", "/api/tasks/assign", json=BODY))[0] == 202
    api.away = False
    digest = AssignRequest.model_validate(BODY).sha256()  # from before numbers were normalised
    task = ids.task_id("default", "/api/tasks/assign", "25 hours old")
    api.rows[task] = {"body_sha256": digest}
    assert (await api.ask("POST", "/api/tasks/assign", json=BODY, headers=key))[0] == 202
    other = BODY | {"phone": "13900139000"}
    assert (await api.ask("POST", "/api/tasks/assign", json=other, headers=key))[0] == 409
    assert len(api.requests) == 1


@pytest.mark.parametrize("charset", ["utf8mb4", "hex", "base64", "rot13", "undefined", "utf-8,x"])
async def test_R3a_an_odd_charset_is_refused(api: World, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    for path in ("/api/tasks/assign", "/api/calls/status", "/api/media/sessions", "/api/optouts"):
        status, _ = await api.ask("POST", path, data=b"{}", headers=headers)
        assert status in (400, 415, 422)


@pytest.mark.parametrize(
    "data",
    [
        b'{"wait_ms": ' + b"9" * 5_000 + b"}", b"\xef\xbb\xbf{}", b'{"a": 1, "a": 2}',
        b"[" * 60_000, b'{"a": {"b": 1, "b": 1}}', b"\xff", b"",
    ],
)  # fmt: skip
async def test_R3_what_is_no_sound_json_is_400(api: World, data: bytes) -> None:
    assert (await api.ask("POST", "/api/tasks/assign", data=data, headers=JSON))[0] == 400


async def test_R3d_gbk_is_decoded_where_it_is_named(api: World) -> None:
    data = '{"phone": "13800138000", "reason": "不要再打了"}'.encode("gbk")
    headers = {"Content-Type": "application/json; charset=gbk"}
    status, told = await api.ask("POST", "/api/optouts", data=data, headers=headers)
    assert (status, told["reason"]) == (201, "不要再打了")
    assert (await api.ask("POST", "/api/optouts", data=data, headers=JSON))[0] == 400


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"not_before": 1_795_866_650}, "seconds"),
        ({"deadline": 1_795_866_650}, "seconds"),
        ({"not_before": 2**63}, "milliseconds"),
        ({"not_before": "2026-11-27 17:00:00"}, "zone"),
    ],
)
async def test_R5c_seconds_never_mean_now(api: World, change: dict[str, Any], word: str) -> None:
    status, told = await api.ask("POST", "/api/tasks/assign", json=BODY | change)
    assert status == 422 and word in told["detail"] and next(iter(change)) in told["detail"]


async def test_R5_a_report_from_the_far_future_or_past_is_refused(api: World) -> None:
    report = {"call_id": "x", "kind": "answered", "source": "pbx"}
    hour = 3_600_000
    for shift, status in ((-hour, 202), (hour, 422), (-200 * hour, 422)):
        body = report | {"occurred_at": now_ms() + shift}
        assert (await api.ask("POST", "/api/calls/status", json=body))[0] == status


@pytest.mark.parametrize("call_id", ["a/b", "a?b", "a#b", "50%", "a%2Fb", "..", "../../x"])
async def test_R4_a_call_that_could_not_be_closed_is_not_opened(api: World, call_id: str) -> None:
    body = {"call_id": call_id, "customer_id": "k", "campaign_id": "c", "playbook": "promotion"}
    status, told = await api.ask("POST", "/api/media/sessions", json=body)
    assert status == 422 and "call_id" in told["detail"]


async def test_an_optout_is_entered_once_and_can_be_taken_back(api: World) -> None:
    body = {"phone": "138 0013 8000", "reason": "asked by letter"}
    status, told = await api.ask("POST", "/api/optouts", json=body)
    assert status == 201 and "13800138000" not in str(told)
    again = await api.ask("POST", "/api/optouts", json=body | {"phone": "+8613800138000"})
    assert again == (200, told)
    for _ in range(2):
        assert (await api.ask("DELETE", f"/api/optouts/{told['id']}"))[0] == 204
    assert (await api.ask("GET", "/api/optouts"))[1]["items"] == []
    assert (await api.ask("POST", "/api/optouts", json=body))[0] == 201
    written = [e for e in api.log.events if isinstance(e, OptOut)]
    assert [e.kind for e in written] == ["opted_out", "opted_in", "opted_out"]
    assert len({e.event_id for e in written}) == 3
    assert (await api.ask("DELETE", "/api/optouts/unknown"))[0] == 404


async def test_optouts_have_pages_and_scopes(api: World) -> None:
    for n in range(3):
        body = {"phone": f"1380013800{n}", "reason": "x", "scope": "campaign", "campaign_id": "c"}
        assert (await api.ask("POST", "/api/optouts", json=body))[0] == 201
    first = (await api.ask("GET", "/api/optouts?limit=2"))[1]
    second = (await api.ask("GET", f"/api/optouts?limit=2&next={first['next']}"))[1]
    assert [len(p["items"]) for p in (first, second)] == [2, 1]
    assert (await api.ask("GET", "/api/optouts?next=gone"))[0] == 410
    for wrong in ({"scope": "campaign"}, {"campaign_id": "c"}):
        body = {"phone": "13800138009", "reason": "x"} | wrong
        assert (await api.ask("POST", "/api/optouts", json=body))[0] == 422


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many", "9" * 5_000, "١"])
async def test_a_limit_is_checked(api: World, limit: str) -> None:
    assert (await api.ask("GET", "/api/calls/status", params={"limit": limit}))[0] == 422


async def test_an_unknown_cursor_is_not_the_first_page(api: World) -> None:
    assert (await api.ask("GET", "/api/calls/status?next=evicted"))[0] == 410


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}, {"Via": "1.1 p"},
        {"X-Real-IP": "203.0.113.9"}, {"x-forwarded-proto": "https"}, {"Host": "evil.example"},
        {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": "Bearer \xff"}, {"Authorization": "Bearer wrong"},
    ],
)  # fmt: skip
async def test_a_proxy_or_a_page_needs_the_key(api: World, headers: dict[str, str]) -> None:
    headers = {
        k: v.encode("utf-8", "surrogateescape").decode("latin-1") for k, v in headers.items()
    }
    assert (await api.ask("GET", "/api/calls/status", headers=headers))[0] == 401
    key = (api.config.home / "api-key").read_text().strip()
    right = headers | {"Authorization": f"Bearer {key}"}
    assert (await api.ask("GET", "/api/calls/status", headers=right))[0] == 200


async def test_nginx_as_it_comes_opens_nothing(api: World) -> None:
    """`proxy_pass http://127.0.0.1:PORT` sends that host, from loopback, in HTTP/1.0."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET /api/calls/status HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()


async def test_a_proxy_of_another_user_opens_nothing(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP/1.1, a loopback Host and no header of its own: only its user tells it from ours."""
    assert (await api.ask("GET", "/api/calls/status"))[0] == 200
    monkeypatch.setattr("ringlog.callers.owner_of", lambda peer, ours: 33)  # www-data
    assert (await api.ask("GET", "/api/calls/status"))[0] == 401


async def test_only_the_key_rebuilds_and_no_web_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Settings(home=tmp_path)
    monkeypatch.setattr("ringlog.health.settings", lambda: config)

    async def rebuild() -> dict[str, int]:
        return {"calls": 1}

    app = web.Application()
    add_routes(app, Health("api", ready=True, rebuild=rebuild))
    runner = await serve(app, "127.0.0.1", 0)
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"},
                        {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):  # fmt: skip
            async with session.post("/rebuild", headers=headers) as answer:
                assert answer.status == 403
        async with session.post("/rebuild") as answer:
            assert answer.status == 401
        key, _ = api_key(config)
        async with session.post("/rebuild", headers={"Authorization": f"Bearer {key}"}) as answer:
            assert answer.status == 200
    await runner.cleanup()


async def test_a_thousand_connections_at_once_are_all_answered(api: World) -> None:
    answers = await asyncio.gather(
        *(api.ask("POST", "/api/tasks/assign", json=BODY) for _ in range(1_000))
    )
    assert Counter(status for status, _ in answers) == {202: 1_000}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
_fields = st.sampled_from(
    ["customer_id", "phone", "campaign_id", "pool", "playbook", "priority", "skills", "tags",
     "not_before", "deadline", "wait_ms", "call_id", "kind", "occurred_at", "source", "digits",
     "codec", "remote", "scope", "reason"]
)  # fmt: skip
_bodies = st.binary(max_size=200) | st.dictionaries(_fields, _json, max_size=8)
_headers = st.dictionaries(
    st.sampled_from(["Content-Type", "Idempotency-Key", "Authorization", "Content-Encoding",
                     "Origin", "X-Forwarded-For"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    | st.text(st.characters(min_codepoint=160, max_codepoint=255), max_size=10)
    | st.sampled_from(["application/json", "application/json; charset=hex", "gzip", "deflate"]),
    max_size=3,
)  # fmt: skip


async def test_no_body_and_no_header_answers_500(api: World) -> None:
    paths = ("/api/tasks/assign", "/api/calls/status", "/api/optouts", "/api/tasks/x/cancel")
    cases: list[tuple[Any, dict[str, str]]] = []

    @given(_bodies, _headers)
    @effort(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def collect(body: Any, headers: dict[str, str]) -> None:
        cases.append((body, headers))

    collect()
    answered = 0
    for n, (body, headers) in enumerate(cases):
        path = paths[n % len(paths)]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            status, _ = await api.ask("POST", path, data=data, headers=JSON | headers)
        except (aiohttp.ClientError, ValueError):
            continue  # the client itself sends no such header
        assert status < 500, (path, body, headers)
        answered += 1
    assert answered > 50


async def test_a_flood_of_garbage_leaves_memory_flat(api: World) -> None:
    """About 1 MB/s for three seconds, in bodies just under the limit; memory in bytes."""
    garbage = b'\x00[{"' * 15_000
    for _ in range(5):
        await api.ask("POST", "/api/tasks/assign", data=garbage, headers=JSON)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    end = time.monotonic() + 3
    sent = 0
    while time.monotonic() < end or sent < 3_000_000:
        status, _ = await api.ask("POST", "/api/tasks/assign", data=garbage, headers=JSON)
        assert status == 400
        sent += len(garbage)
        await asyncio.sleep(0.05)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2_000_000
