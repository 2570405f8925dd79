"""Which edge an external call goes to, with edges that answer over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ringlog.clock import now_ms
from ringlog.edges import Fleet
from ringlog.settings import Settings
from schemas.events import Lease
from schemas.ids import root_id
from streams.api.edge import Edges
from streams.api.fleet import FleetRoutes
from streams.api.media import MediaRoutes
from streams.api.problems import problem_middleware

BODY = {"customer_id": "k", "campaign_id": "c", "playbook": "promotion"}


class Edge:
    """An edge's control port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[str] = []
        self.refuses = False
        self.drains: Any = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.post("/media/sessions", self.open),
                web.delete("/media/sessions/{call}", self.close),
                web.post("/drain", self.drain),
            ]
        )
        self.server = TestServer(app, host="127.0.0.1")
        await self.server.start_server()

    async def open(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.Response(status=503, headers={"Retry-After": "1"})
        call = (await request.json())["call_id"]
        if call in self.calls:
            return web.json_response({}, status=409)
        self.calls.append(call)
        return web.json_response({"edge": self.name}, status=201)

    async def drain(self, request: web.Request) -> web.Response:
        self.drains = await request.json()
        return web.json_response({"calls": len(self.calls)}, status=202)

    async def close(self, request: web.Request) -> web.Response:
        known = request.match_info["call"] in self.calls
        return web.Response(status=204 if known else 404)


class World:
    http: aiohttp.ClientSession

    def __init__(self, home: Path) -> None:
        self.fleet = Fleet()
        self.edges = {name: Edge(name) for name in ("east", "west")}
        config = Settings(home=home, site_key=cast(Any, "s"))
        self.app = web.Application(middlewares=[problem_middleware])
        self.asked = Edges(config, self.fleet)
        self.routes = MediaRoutes(self.asked)
        self.app.add_routes(self.routes.routes())
        self.app.add_routes(FleetRoutes(self.fleet, self.asked).routes())

    def beat(self, name: str, **fields: Any) -> None:
        if "control_url" not in fields:
            fields["control_url"] = str(self.edges[name].server.make_url("")).rstrip("/")
        lease = Lease.model_validate(
            {"event_id": root_id(name), "kind": "heartbeat", "occurred_at": 1, "producer": "edge",
             "shard": f"edge/{name}", "worker": name, "capacity": 10,
             "calls": 0} | fields
        )  # fmt: skip
        self.fleet.hear(lease, 1, now_ms())

    async def open(self, call: str) -> tuple[int, Any]:
        async with self.http.post("/api/media/sessions", json=BODY | {"call_id": call}) as answer:
            return answer.status, (await answer.json(content_type=None)).get("edge")

    async def close(self, call: str) -> int:
        async with self.http.delete(f"/api/media/sessions/{call}") as answer:
            return answer.status


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World(tmp_path)
    for edge in made.edges.values():
        await edge.start()
    server = TestServer(made.app)
    await server.start_server()
    monkeypatch.setattr(Edges._opened.retry, "stop", lambda state: True)
    monkeypatch.setattr(Edges._asked.retry, "stop", lambda state: True)
    async with aiohttp.ClientSession(str(server.make_url("/"))) as made.http:
        yield made
    await server.close()
    for edge in made.edges.values():
        await edge.server.close()


async def test_a_call_goes_to_the_least_loaded_edge_and_stays_there(world: World) -> None:
    world.beat("east", calls=5)
    world.beat("west", calls=2)
    assert await world.open("a") == (201, "west")
    world.beat("west", calls=9)
    assert await world.open("b") == (201, "east")
    assert (await world.open("a"))[0] == 409, "asked again: by the edge that has it"
    assert [await world.close(call) for call in ("a", "b", "c")] == [204, 204, 404]
    world.asked._edge_of.clear()  # another API process
    assert [await world.close(call) for call in ("a", "b", "c")] == [204, 204, 404]


async def test_who_cannot_take_it_leaves_it_to_the_next(world: World) -> None:
    assert (await world.open("nobody"))[0] == 503
    world.beat("east", calls=1)
    world.beat("west", calls=2)
    world.edges["east"].refuses = True
    assert await world.open("a") == (201, "west")
    await world.edges["east"].server.close()
    assert await world.open("b") == (201, "west")
    world.beat("east", kind="release", control_url="http://127.0.0.1:9")
    world.beat("west", draining=True)
    assert (await world.open("c"))[0] == 503
    assert await world.close("b") == 204, "a draining edge still answers for its calls"
    world.beat("west", calls=10)
    async with world.http.post("/api/media/sessions", json=BODY | {"call_id": "d"}) as answer:
        told = await answer.json(content_type=None)
    assert (answer.status, told["detail"]) == (503, "all edges are full")


async def test_one_edge_is_drained_and_the_fleet_is_listed(world: World) -> None:
    world.beat("east", calls=3)
    world.beat("west", draining=True)
    world.beat("far", kind="release", control_url="http://127.0.0.1:9")
    async with world.http.get("/api/edges") as answer:
        items = (await answer.json())["items"]
    assert [(item["edge_id"], item["state"], item["calls"]) for item in items] == [
        ("east", "serves", 3), ("far", "gone", 0), ("west", "draining", 0),
    ]  # fmt: skip

    async def drain(edge: str, body: Any) -> int:
        async with world.http.post(f"/api/edges/{edge}/drain", json=body) as answer:
            return answer.status

    assert await drain("east", {"within_s": 300}) == 202
    assert world.edges["east"].drains == {"within_s": 300} and world.edges["west"].drains is None
    assert await drain("east", {"within_s": -1}) == 422
    assert (await drain("far", {}), await drain("nobody", {})) == (503, 404)
