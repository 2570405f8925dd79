"""`/whip/{pool}`: calls from browsers (WHIP, RFC 9725), and what can be called.

The edge has the sound, so it answers; this side checks the key or the softphone's token.
"""

from typing import Final
from urllib.parse import quote, urlencode

from aiohttp import web

from streams.api.answers import BrowserChoices
from streams.api.describe import (
    KEY_OR_TOKEN,
    TEXT,
    Paths,
    answer,
    at,
    header,
    named,
    operation,
)
from streams.api.edge import Edges
from streams.api.models import BrowserCallQuery
from streams.api.problems import Problem, query_of

MAX_WHIP_BYTES = 32_768
"""Longest offer; Chromium's has 3 kB."""

_POOL: Final = named("pool", "Robots to choose from")
_SESSION: Final = [named("pool", "As in `Location`"), named("call_id", "As in `Location`")]
_SDP: Final = "application/sdp"
_FRAGMENT: Final = "application/trickle-ice-sdpfrag"
_LOCATION: Final = at("/whip/{pool}/{call_id}")

PATHS: Final[Paths] = {
    "/whip/{pool}": {
        "options": operation(
            "browser_call_options", "What the endpoint takes (RFC 9725 section 4.2)",
            {204: answer("See the header", headers={"Accept-Post": f"`{_SDP}`"})},
            parameters=[_POOL], security=KEY_OR_TOKEN,
        ),
        "post": operation(
            "open_browser_call", "A call from a browser (WHIP, RFC 9725)",
            {201: answer(
                "The SDP answer", TEXT, of=_SDP, headers=_LOCATION | {"ETag": "For PATCH"}
            )},
            parameters=[_POOL], query=BrowserCallQuery, body=TEXT, body_type=_SDP,
            security=KEY_OR_TOKEN,
            problems={
                404: "No robot serves the pool", 422: "The offer, or a name, cannot be served",
                503: "No edge has room now",
            },
        ),
    },
    "/whip/{pool}/{call_id}": {
        "patch": operation(
            "trickle_browser_call", "Further addresses of the browser (trickle ICE, RFC 8840)",
            {204: answer("Taken")},
            parameters=[*_SESSION, header("If-Match", "The session's ETag", TEXT, required=True)],
            body=TEXT, body_type=_FRAGMENT, security=KEY_OR_TOKEN,
            problems={
                404: "No such session", 412: "Another ETag", 428: "No If-Match",
                429: "Too many", 503: "The edge does not answer",
            },
        ),
        "delete": operation(
            "close_browser_call", "End such a call", {200: answer("It is over")},
            parameters=_SESSION, security=KEY_OR_TOKEN,
            problems={404: "No such session", 503: "The edge does not answer"},
        ),
    },
    "/softphone/choices": {
        "get": operation(
            "browser_choices", "What a browser can call, and what hears it",
            {200: answer("Pools and playbooks", BrowserChoices)}, security=KEY_OR_TOKEN,
            problems={503: "No edge answers"},
        ),
    },
}  # fmt: skip


class WhipRoutes:
    """The WHIP endpoint of one API process."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.options("/whip/{pool}", self.options),
            web.post("/whip/{pool}", self.open),
            web.patch("/whip/{pool}/{call_id}", self.trickle),
            web.delete("/whip/{pool}/{call_id}", self.close),
            web.get("/softphone/choices", self.choices),
        ]

    async def options(self, _: web.Request) -> web.Response:
        """What the endpoint takes (RFC 9725 section 4.2)."""
        return web.Response(status=204, headers={"Accept-Post": _SDP})

    async def open(self, request: web.Request) -> web.Response:
        """201 with the SDP answer, `Location` and `ETag`; 503 with `Retry-After` when full."""
        query = urlencode(query_of(request, BrowserCallQuery).model_dump(exclude_none=True))
        path = f"/whip/{quote(request.match_info['pool'], safe='')}" + (
            f"?{query}" if query else ""
        )
        return await self._edges.open(path, headers=_headers(request), data=await _body(request))

    async def trickle(self, request: web.Request) -> web.Response:
        """204: the browser's further addresses are taken."""
        call_id, path = _session(request)
        data = await _body(request)
        return await self._edges.ask("PATCH", path, call_id, _headers(request), data=data)

    async def close(self, request: web.Request) -> web.Response:
        """200 when the call is over; 404."""
        call_id, path = _session(request)
        return await self._edges.ask("DELETE", path, call_id)

    async def choices(self, _: web.Request) -> web.Response:
        """Pools, playbooks and the recogniser that listens in each."""
        return await self._edges.ask("GET", "/whip")


def _headers(request: web.Request) -> dict[str, str]:
    return {n: request.headers[n] for n in ("Content-Type", "If-Match") if n in request.headers}


async def _body(request: web.Request) -> bytes:
    """Raises Problem 413."""
    if (request.content_length or 0) > MAX_WHIP_BYTES:
        raise Problem(413, "Too large", f"at most {MAX_WHIP_BYTES} bytes")
    return await request.read()


def _session(request: web.Request) -> tuple[str, str]:
    """The call, and its path at the edge."""
    pool, call_id = request.match_info["pool"], request.match_info["call_id"]
    return call_id, f"/whip/{quote(pool, safe='')}/{quote(call_id, safe='')}"
