"""`/api/media/sessions`: a foreign telephone system brings a call that it placed itself.

The edge owns the ports, so it answers; this is the door with the key.
"""

import aiohttp
from aiohttp import web

from ringlog.settings import Settings
from streams.api.models import MediaSessionRequest
from streams.api.problems import Problem, body_of

_TIMEOUT = aiohttp.ClientTimeout(total=10)


class MediaRoutes:
    """The media session routes of one API process."""

    def __init__(self, config: Settings) -> None:
        self._edge = f"http://127.0.0.1:{config.metrics_port_of('edge')}/media/sessions"

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.post("/api/media/sessions", self.open),
            web.delete("/api/media/sessions/{call_id}", self.close),
        ]

    async def open(self, request: web.Request) -> web.Response:
        """201 with where to send RTP or open the WebSocket; 409 when the call exists."""
        body = await body_of(request, MediaSessionRequest)
        return await self._ask("POST", "", body.model_dump(exclude_none=True))

    async def close(self, request: web.Request) -> web.Response:
        """204 when the call's media is over; 404."""
        return await self._ask("DELETE", "/" + request.match_info["call_id"], None)

    async def _ask(self, method: str, path: str, body: object) -> web.Response:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.request(method, self._edge + path, json=body) as answer,
            ):
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    content_type=answer.content_type,
                )
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Problem(503, "The edge does not answer", type(error).__name__) from None
