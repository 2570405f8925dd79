"""`/openapi.json` says what the API does: every route is in it, and schemathesis finds nothing."""

import asyncio
import contextlib
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from aiohttp import web
from aiohttp.hdrs import METH_HEAD
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from ingest import opening
from ingest.control import Control
from ingest.edge import Edge
from ingest.webrtc.calls import BrowserCalls
from ringlog.clock import now_ms
from ringlog.identifier import checked_id
from ringlog.lifecycle import Lifecycle
from ringlog.problems import BY_KIND
from ringlog.settings import Settings
from schemas.events import CampaignContact, Lease
from schemas.ids import root_id
from schemas.registry import MemoryRegistry
from schemas.wire import Codec
from streams.api import calls, openapi
from streams.api.auth import is_open
from streams.api.contacts import ContactLog
from streams.api.crm import PATH as CRM_PATH
from streams.api.docs_page import OPEN_PATHS
from streams.api.history import HistoryRows
from streams.api.problems import json_of
from streams.api.softphone import PAGE_FILES
from tests.unit.api.test_doors import World

KEY = "k" * 20

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}

EXAMPLES = int(os.environ.get("RINGLOG_TEST_EXAMPLES", "8"))
"""Requests of each mode and operation."""

SAME_EVERY_TIME = "RINGLOG_TEST_EXAMPLES" not in os.environ
"""A run that asks for more draws them anew. It may meet what only looks like a fault, such as a
«wrong» id that happens to be right."""

UNDESCRIBED = {"/ws/events", *OPEN_PATHS, *PAGE_FILES}
"""A WebSocket, and pages for people with their files."""

BEYOND_SCHEMAS = {
    "open_media", "open_browser_call", "trickle_browser_call",  # this edge has no playbooks
    "create_campaign", "change_campaign",  # windows of hours are more than a pattern
    "import_list", "rehearse_campaign", "bar_list",  # a list has headings
}  # fmt: skip
"""Operations that also refuse what their schema lets pass."""

TAKES_ANY_TEXT = {"import_list", "rehearse_campaign"}
"""Operations whose body is a file: what is no text becomes text on its way."""

CAMPAIGN = "autumn"

DRAFT: dict[str, Any] = {
    "campaign_id": CAMPAIGN, "settings": {"playbook": "promotion", "purpose": "service"},
}  # fmt: skip


OF_THE_CONNECTION = {"connection", "content-length", "expect", "host", "transfer-encoding"}
"""Headers that the HTTP server itself answers for, in plain text; chance finds their names, too."""


def _is_id(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(checked_id(text))
    return False


schemathesis.openapi.format("phone", st.sampled_from(["13800138000", "+86 138 0013 8000"]))
schemathesis.openapi.format("ringlog-id", st.text(min_size=1, max_size=128).filter(_is_id))

# A sound cursor may name nothing any more, and a sound tag may be another session's.
SOUND = ["2xx", "401", "404", "409", "410", "412"]
ACCEPTANCE = {"checks": {"positive_data_acceptance": {"expected-statuses": SOUND}}}
CONFIG = schemathesis.Config.from_dict(ACCEPTANCE)
DESCRIBED = schemathesis.openapi.from_dict(openapi.document(), config=CONFIG)
OPERATIONS = {
    described["operationId"]: DESCRIBED[path][method]
    for path, methods in openapi.document()["paths"].items()
    for method, described in methods.items()
}


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def _text(_: object, value: object) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


@contextlib.asynccontextmanager
async def _edge(home: Path) -> AsyncIterator[str]:
    """A real edge's control port; yields its address."""
    edge = Edge(
        Lifecycle("edge", Settings(home=home, site_key=cast(Any, "s"))), Codec(MemoryRegistry())
    )
    edge.life.health.set_ready()
    app = web.Application()
    control = Control(edge)
    control.add_routes(app)
    BrowserCalls(edge, control).add_routes(app)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")
    await edge.disconnect()


@contextlib.asynccontextmanager
async def _site(home: Path) -> AsyncIterator[World]:
    """An API with a key, an edge that beats, and a history that knows nothing."""

    async def nothing(*_: object) -> list[dict[str, Any]]:
        return []

    async def no_contacts(*_: object) -> AsyncIterator[list[CampaignContact]]:
        yield []

    async def beat(url: str) -> None:
        while True:
            lease = Lease(
                event_id=root_id("east"), kind="heartbeat", occurred_at=now_ms(), producer="edge",
                shard="edge/east", worker="east", capacity=10, calls=0, control_url=url,
            )  # fmt: skip
            world.hub.fleet.hear(lease, 1, now_ms())
            await asyncio.sleep(0.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HistoryRows, "_rows", nothing)
        patch.setattr(calls, "LOOKUP_S", 0.0)
        patch.setattr(opening, "_ON_ITS_WAY_TIMES", 0)
        patch.setattr(ContactLog, "of", no_contacts)
        async with _edge(home / "east") as url, World(home, api_key=cast(Any, KEY)) as world:
            beating = asyncio.create_task(beat(url))
            await world.ask("POST", "/api/campaigns", json=DRAFT, headers=AUTHORIZED)
            yield world
            beating.cancel()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site in a thread of its own: schemathesis asks with a client that blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api")
    thread.start()
    site = _site(tmp_path_factory.mktemp("api"))
    world = asyncio.run_coroutine_threadsafe(site.__aenter__(), loop).result(30)
    yield f"http://127.0.0.1:{world.port}"
    asyncio.run_coroutine_threadsafe(site.__aexit__(None, None, None), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def _on_time(body: Any) -> None:
    """Only a clock can tell which times are good."""
    if not isinstance(body, dict):
        return
    for item in body.get("tasks", ()):
        _on_time(item)
    for name, ahead_ms in (("occurred_at", -1_000), ("deadline", 600_000)):
        if body.get(name) is not None:
            at_ms = now_ms() + ahead_ms
            as_text = datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat()
            body[name] = at_ms if isinstance(body[name], int) else as_text
    if isinstance(body.get("not_before"), str):
        body["not_before"] = datetime.now(UTC).isoformat()
    if "wait_ms" in body:
        body["wait_ms"] = 0


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in OPERATIONS
        for mode in GenerationMode
        if (name, mode) != ("description", GenerationMode.NEGATIVE)
    ],  # nothing in it can be wrong
    ids=str,
)
def test_schemathesis_finds_nothing(address: str, name: str, mode: GenerationMode) -> None:
    left_out: list[Any] = []
    if name in BEYOND_SCHEMAS:
        left_out = [CHECKS.get_one("positive_data_acceptance")]
    if name in TAKES_ANY_TEXT:
        left_out.append(CHECKS.get_one("negative_data_rejection"))

    @given(OPERATIONS[name].as_strategy(generation_mode=mode))
    @effort(
        max_examples=EXAMPLES, derandomize=SAME_EVERY_TIME, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: "schemathesis.Case[Any]") -> None:
        for header in [name for name in case.headers if name.lower() in OF_THE_CONNECTION]:
            del case.headers[header]
        if mode is GenerationMode.POSITIVE:
            _on_time(case.body)
            if case.path.startswith("/api/campaigns/{id}"):
                case.path_parameters["id"] = CAMPAIGN
        case.call_and_validate(base_url=address, headers=AUTHORIZED, excluded_checks=left_out)

    ask()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path, api_key=cast(Any, KEY)) as made:
        yield made


async def test_every_route_is_described_and_nothing_else(api: World) -> None:
    app = api.runner.app
    assert app is not None
    served = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method != METH_HEAD
    }
    described = {(path, m) for path, ms in openapi.document()["paths"].items() for m in ms}
    assert described <= served
    assert {path for path, _ in served - described} == UNDESCRIBED


def test_every_reference_and_every_link_leads_somewhere() -> None:
    document = openapi.document()
    components, text = document["components"]["schemas"], json.dumps(document)
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred == set(components)
    linked = {
        link["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    }
    assert linked and linked <= set(OPERATIONS)


async def test_only_what_is_described_as_open_is_open(api: World) -> None:
    """Without a key, every described operation answers 401, but for those without security; the
    webhook has its signature for a key."""
    for path, methods in openapi.document()["paths"].items():
        if path == CRM_PATH:
            continue
        for method, operation in methods.items():
            url = path.replace("{kind}", next(iter(BY_KIND)))
            async with api.session.request(method, url) as answer:
                is_free = operation.get("security") == []
                assert (answer.status != 401) == is_free == is_open(url), (method, path)
                if not is_free:
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                    assert (await answer.json(content_type=None))["type"] == "/problems/key-needed"


async def test_another_method_is_told_which_there_are(api: World) -> None:
    async with api.session.put("/api/optouts", headers=AUTHORIZED) as answer:
        told = await answer.json(content_type=None)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,POST")
    assert (told["type"], answer.content_type) == ("about:blank", "application/problem+json")


@pytest.mark.parametrize("query", ["stat=ended", "limit=1&limit=2", "call_id=", "state=gone"])
async def test_a_query_is_checked(api: World, query: str) -> None:
    status, told = await api.ask("GET", f"/api/calls/status?{query}", headers=AUTHORIZED)
    assert status == 422 and told["detail"].startswith(query.partition("=")[0])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_whole_or_not_however_it_is_written(number: float) -> None:
    read = json_of(repr(number).encode())
    assert read == number and isinstance(read, int) == (number.is_integer() and abs(number) < 2**53)
