"""`/api/media/sessions`: an external telephone system brings a call that it placed itself.

An edge owns the ports, so it answers; this route checks the key and chooses the edge: the least
loaded one that takes calls. A repeated request goes to the edge that has the call.
"""

from collections import OrderedDict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION, RETRY_AFTER
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from yarl import URL

from ringlog.clock import now_ms
from ringlog.edges import Fleet, FleetEdge
from ringlog.media_session import MediaSessionRequest
from ringlog.settings import Settings
from ringlog.site_key import edge_control_key
from streams.api.problems import Problem, body_of

_TIMEOUT = aiohttp.ClientTimeout(total=10)

_TAKEOVER_S = 5.0
"""How long a request waits while no edge serves: a dead one's successor needs about a second."""


_REMEMBERED = 10_000
"""Calls whose edge is known without asking."""


class _NobodyServes(Exception):
    """The edge is dead and its successor not ready yet."""


class MediaRoutes:
    """The media session routes of one API process."""

    def __init__(self, config: Settings, fleet: Fleet) -> None:
        self._own = config.edge_control_url
        self._fleet = fleet
        self._edge_of: OrderedDict[str, str] = OrderedDict()  # call -> edge, the newest last
        self._headers = {AUTHORIZATION: f"Bearer {edge_control_key(config)}"}

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
        try:
            return await self._opened(body.call_id, body.model_dump(exclude_none=True))
        except _NobodyServes as error:
            raise Problem(503, "No edge serves", str(error)) from None

    async def close(self, request: web.Request) -> web.Response:
        """204 when the call's media is over; 404."""
        call_id = request.match_info["call_id"]
        try:
            return await self._closed(call_id)
        except _NobodyServes as error:
            raise Problem(503, "No edge serves", str(error)) from None

    @retry(
        retry=retry_if_exception_type(_NobodyServes),
        stop=stop_after_delay(_TAKEOVER_S),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    async def _opened(self, call_id: str, body: dict[str, Any]) -> web.Response:
        """Retries only what no edge has accepted."""
        now = now_ms()
        edges = [e for e in self._fleet.by_load(now) if e.reached is not None]
        known = self._fleet.of(self._edge_of.get(call_id, ""))
        if known is not None and known.serves(now):
            edges = [known]
        full = any(edge.full for edge in self._fleet.serving(now))
        why = _NobodyServes("all edges are full" if full else "no edge takes calls")
        for edge in edges:
            try:
                answer = await self._ask("POST", self._url(edge), body)
            except _NobodyServes as error:
                why = error
            else:
                self._remember(call_id, edge.edge_id)
                return answer
        raise why

    @retry(
        retry=retry_if_exception_type(_NobodyServes),
        stop=stop_after_delay(_TAKEOVER_S),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    async def _closed(self, call_id: str) -> web.Response:
        edges = [e for e in self._fleet.serving(now_ms()) if e.reached is not None]
        known = self._edge_of.get(call_id)
        edges.sort(key=lambda edge: edge.edge_id != known)
        if not edges:
            raise _NobodyServes("no edge serves")
        for edge in edges:
            answer = await self._ask("DELETE", f"{self._url(edge)}/{quote(call_id, safe='')}", None)
            if answer.status != HTTPStatus.NOT_FOUND:
                break
        return answer

    def _url(self, edge: FleetEdge) -> str:
        url = edge.reached.control_url if edge.reached is not None else ""
        return f"{url or self._own}/media/sessions"

    def _remember(self, call_id: str, edge_id: str) -> None:
        self._edge_of[call_id] = edge_id
        self._edge_of.move_to_end(call_id)
        while len(self._edge_of) > _REMEMBERED:
            self._edge_of.popitem(last=False)

    async def _ask(self, method: str, url: str, body: object) -> web.Response:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                # An id is one segment, whatever is in it.
                session.request(
                    method, URL(url, encoded=True), json=body, headers=self._headers
                ) as answer,
            ):
                content = await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise _NobodyServes(type(error).__name__) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Problem(503, "The edge does not answer", type(error).__name__) from None
        if RETRY_AFTER in answer.headers:
            raise _NobodyServes("an edge is starting or stopping")
        return web.Response(status=answer.status, body=content, content_type=answer.content_type)
