"""`/api/media/sessions`: an external telephone system brings a call that it placed itself.

The edge owns the ports, so it answers; this route checks the key.
"""

from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION, RETRY_AFTER
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from yarl import URL

from ringlog.media_session import MediaSessionRequest
from ringlog.settings import Settings
from ringlog.site_key import edge_control_key
from streams.api.problems import Problem, body_of

_TIMEOUT = aiohttp.ClientTimeout(total=10)

_TAKEOVER_S = 5.0
"""How long a request waits while no edge serves: a dead one's successor needs about a second."""


class _NobodyServes(Exception):
    """The edge is dead and its successor not ready yet."""


class MediaRoutes:
    """The media session routes of one API process."""

    def __init__(self, config: Settings) -> None:
        self._edge = f"{config.edge_control_url}/media/sessions"
        self._headers = {AUTHORIZATION: f"Bearer {edge_control_key(config)}"}

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
        return await self._ask("DELETE", "/" + quote(request.match_info["call_id"], safe=""), None)

    async def _ask(self, method: str, path: str, body: object) -> web.Response:
        try:
            return await self._when_served(method, path, body)
        except _NobodyServes as error:
            raise Problem(503, "No edge serves", str(error)) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Problem(503, "The edge does not answer", type(error).__name__) from None

    @retry(
        retry=retry_if_exception_type(_NobodyServes),
        stop=stop_after_delay(_TAKEOVER_S),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    async def _when_served(self, method: str, path: str, body: object) -> web.Response:
        """Retries only what no edge has accepted."""
        url = URL(self._edge + path, encoded=True)  # an id is one segment, whatever is in it
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.request(method, url, json=body, headers=self._headers) as answer,
            ):
                content = await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise _NobodyServes(type(error).__name__) from None
        if RETRY_AFTER in answer.headers:
            raise _NobodyServes("an edge is starting")
        return web.Response(status=answer.status, body=content, content_type=answer.content_type)
