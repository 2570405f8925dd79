"""The edge's control port: for the API alone, and never for a web page (review 16)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ingest.control import Control
from ingest.edge import Edge
from ringlog.lifecycle import Lifecycle
from ringlog.media_session import STARTING_RETRY_AFTER
from ringlog.settings import Settings
from ringlog.site_key import edge_control_key
from schemas.registry import MemoryRegistry
from schemas.wire import Codec

Client = TestClient[web.Request, web.Application]
BODY = {"call_id": "c", "customer_id": "c", "campaign_id": "s", "playbook": "nobody-has-it"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[tuple[Client, dict[str, str]]]:
    config = Settings(home=tmp_path)
    edge = Edge(Lifecycle("edge", config), Codec(MemoryRegistry()))
    edge.life.health.set_ready()
    app = web.Application()
    Control(edge).add_routes(app)
    async with TestClient(TestServer(app, host="127.0.0.1")) as made:
        yield made, {"Authorization": f"Bearer {edge_control_key(config)}"}
    await edge.disconnect()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Host": "rebound.example:18091"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer \xff"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 422),
    ],
)
async def test_only_the_api_opens_a_session(
    client: tuple[Client, dict[str, str]], headers: dict[str, str], status: int
) -> None:
    http, right = client
    async with http.post("/media/sessions", json=BODY, headers=right | headers) as answer:
        assert answer.status == status
        problem = await answer.json(content_type=None)
    assert problem["title"] and problem["status"] == status
    if status == 422:
        assert (problem["field"], problem["known"]) == ("playbook", [])


async def test_a_page_ends_no_session(client: tuple[Client, dict[str, str]]) -> None:
    http, right = client
    async with http.delete("/media/sessions/c") as answer:
        assert answer.status == 401
    async with http.delete("/media/sessions/c", headers=right) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ud800", '{"call_id": 1}'])
async def test_a_body_that_is_none_is_refused(
    client: tuple[Client, dict[str, str]], text: str
) -> None:
    http, right = client
    data = text.encode("utf-8", "surrogatepass")
    headers = right | {"Content-Type": "application/json"}
    async with http.post("/media/sessions", data=data, headers=headers) as answer:
        assert answer.status == 422


async def test_draining_is_asked_for_with_the_key(client: tuple[Client, dict[str, str]]) -> None:
    http, right = client
    for headers, body, status in (
        ({}, {}, 401), (right, {"within_s": -1}, 422), (right, {"more": 1}, 422),
        (right | {"Origin": "http://evil.example"}, {}, 403), (right, {"within_s": 60}, 202),
    ):  # fmt: skip
        async with http.post("/drain", json=body, headers=headers) as answer:
            assert answer.status == status
    async with http.post("/media/sessions", json=BODY, headers=right) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, STARTING_RETRY_AFTER)
    async with http.delete("/drain", headers=right) as answer:
        assert answer.status == 204
    async with http.post("/media/sessions", json=BODY, headers=right) as answer:
        assert answer.status == 422


@pytest.mark.parametrize(
    ("url", "host", "status"),
    [
        ("http://edge-1.example:18091", "edge-1.example:18091", 422),
        ("http://edge-1.example:18091", "rebound.example:18091", 403),
        ("", "edge-1.example:18091", 403),
    ],
)
async def test_another_machine_names_the_control_url(
    tmp_path: Path, url: str, host: str, status: int
) -> None:
    config = Settings(home=tmp_path, control_url=url)
    edge = Edge(Lifecycle("edge", config), Codec(MemoryRegistry()))
    edge.life.health.set_ready()
    app = web.Application()
    Control(edge).add_routes(app)
    headers = {"Authorization": f"Bearer {edge_control_key(config)}", "Host": host}
    async with (
        TestClient(TestServer(app, host="127.0.0.1")) as http,
        http.post("/media/sessions", json=BODY, headers=headers) as answer,
    ):
        assert answer.status == status
    await edge.disconnect()
