"""`/api/media/sessions`: an external telephone system brings a call that it placed itself.

An edge owns the ports, so it answers; this route checks the key.
"""

from typing import Final
from urllib.parse import quote

from aiohttp import web

from ringlog.media_session import MediaSessionRequest
from streams.api.answers import MediaSessionAnswer
from streams.api.describe import Paths, answer, named, operation
from streams.api.edge import Edges
from streams.api.problems import body_of

PATHS: Final[Paths] = {
    "/api/media/sessions": {
        "post": operation(
            "open_media", "Bring a call that another telephone system placed itself",
            {201: answer(
                "Where its sound goes", MediaSessionAnswer,
                links={"close_media": {"call_id": "$response.body#/call_id"}},
            )},
            body=MediaSessionRequest,
            problems={
                408: "The body did not come", 409: "The call exists",
                422: "Invalid, or names what the site does not have",
                503: "No edge takes it now",
            },
        ),
    },
    "/api/media/sessions/{call_id}": {
        "delete": operation(
            "close_media", "End the media of such a call", {204: answer("It is over")},
            parameters=[named("call_id", "The call")],
            problems={404: "No such media session", 503: "The edge does not answer"},
        ),
    },
}  # fmt: skip


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
