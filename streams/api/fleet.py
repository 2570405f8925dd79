"""`/api/edges`: the fleet, and draining one edge of it."""

from typing import Final
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from ringlog.clock import now_ms
from ringlog.edges import Fleet
from streams.api.answers import DrainAnswer, EdgeList
from streams.api.describe import Paths, answer, named, operation
from streams.api.edge import Edges
from streams.api.problems import Problem, body_of


class EdgeDrainRequest(BaseModel):
    """`POST /api/edges/{edge_id}/drain`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    within_s: float | None = Field(
        None, ge=0, le=86_400, description="When running calls are ended; none: in their own time"
    )


_EDGE: Final = named("edge_id", "The edge")
_GONE: Final = {404: "No such edge", 503: "It is gone, or does not answer"}

PATHS: Final[Paths] = {
    "/api/edges": {
        "get": operation(
            "edges", "The edges: state, calls, room, addresses", {200: answer("All", EdgeList)}
        ),
    },
    "/api/edges/{edge_id}/drain": {
        "post": operation(
            "drain_edge", "Let an edge take no new calls",
            {202: answer("It takes none", DrainAnswer)},
            parameters=[_EDGE], body=EdgeDrainRequest, problems=_GONE,
        ),
        "delete": operation(
            "fill_edge", "Let an edge take calls again", {204: answer("It takes calls")},
            parameters=[_EDGE], problems=_GONE,
        ),
    },
}  # fmt: skip


class FleetRoutes:
    """The fleet routes of one API process."""

    def __init__(self, fleet: Fleet, edges: Edges) -> None:
        self._fleet = fleet
        self._edges = edges

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.get("/api/edges", self.list),
            web.post("/api/edges/{edge_id}/drain", self.drain),
            web.delete("/api/edges/{edge_id}/drain", self.resume),
        ]

    async def list(self, _: web.Request) -> web.Response:
        """200 {items}: every edge that was ever heard of, with its load."""
        now = now_ms()
        items = [
            {
                "edge_id": edge.edge_id,
                "state": "draining" if edge.draining and edge.serves(now)
                else "serves" if edge.serves(now) else "gone",
                "calls": edge.calls,
                "capacity": None if edge.reached is None else edge.reached.capacity,
                "heard_at": edge.heard_ms,
                "media_url": None if edge.reached is None else edge.reached.media_url,
                "rtp_host": None if edge.reached is None else edge.reached.rtp_host,
            }
            for edge in self._fleet.all()
        ]  # fmt: skip
        return web.json_response({"items": items})

    async def drain(self, request: web.Request) -> web.Response:
        """202 {calls}: the edge takes no new calls from now on."""
        body = await body_of(request, EdgeDrainRequest)
        return await self._send(request, "POST", json=body.model_dump())

    async def resume(self, request: web.Request) -> web.Response:
        """204: the edge takes calls again."""
        return await self._send(request, "DELETE")

    async def _send(self, request: web.Request, method: str, **body: object) -> web.Response:
        edge_id = request.match_info["edge_id"]
        if self._fleet.of(edge_id) is None:
            known = ", ".join(edge.edge_id for edge in self._fleet.all())
            raise Problem(404, "No such edge", f"{quote(edge_id)}; there are: {known or 'none'}")
        return await self._edges.ask_edge(edge_id, method, "/drain", **body)
