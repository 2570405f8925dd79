"""`/whip/{pool}`: calls from browsers (WHIP, RFC 9725), and what can be called.

The edge has the sound, so it answers; this side checks the key or the softphone's token.
"""

from urllib.parse import quote, urlencode

from aiohttp import web

from streams.api.edge import Edges
from streams.api.problems import Problem

MAX_WHIP_BYTES = 32_768
"""Longest offer; Chromium's has 3 kB."""

_QUERY = ("playbook", "customer_id", "campaign_id", "asr_profile")


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
        return web.Response(status=204, headers={"Accept-Post": "application/sdp"})

    async def open(self, request: web.Request) -> web.Response:
        """201 with the SDP answer, `Location` and `ETag`; 503 with `Retry-After` when full."""
        query = urlencode({name: request.query[name] for name in _QUERY if name in request.query})
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
