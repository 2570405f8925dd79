"""`/api/media/sessions`: an external telephone system brings a call that it placed itself.

An edge owns the ports, so it answers; this route checks the key.
"""

from urllib.parse import quote

from aiohttp import web

from ringlog.media_session import MediaSessionRequest
from streams.api.edge import Edges
from streams.api.problems import body_of


class MediaRoutes:
    """The media session routes of one API process."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.post("/api/media/sessions", self.open),
            web.delete("/api/media/sessions/{call_id}", self.close),
        ]

    async def open(self, request: web.Request) -> web.Response:
        """201 with where to send RTP or open the WebSocket; 409 when the call exists; 503 when no
        edge takes another call."""
        body = await body_of(request, MediaSessionRequest)
        return await self._edges.open(
            "/media/sessions", body.call_id, json=body.model_dump(exclude_none=True)
        )

    async def close(self, request: web.Request) -> web.Response:
        """204 when the call's media is over; 404."""
        call_id = request.match_info["call_id"]
        path = f"/media/sessions/{quote(call_id, safe='')}"
        return await self._edges.ask("DELETE", path, call_id)
