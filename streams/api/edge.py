"""Asks the edges of the fleet, over their control ports: a new call goes to the least loaded one,
all else to the one that has the call."""

from collections import OrderedDict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION, ETAG, LOCATION, RETRY_AFTER
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from yarl import URL

from ringlog.clock import now_ms
from ringlog.edges import Fleet, FleetEdge
from ringlog.media_session import STARTING_RETRY_AFTER
from ringlog.settings import Settings
from ringlog.site_key import edge_control_key
from streams.api.problems import Problem

_TIMEOUT = aiohttp.ClientTimeout(total=10)

_TAKEOVER_S = 5.0
"""How long a request waits while no edge serves: a dead one's successor needs about a second."""

_REMEMBERED = 10_000
"""Calls whose edge is known without asking."""

_PASSED_ON: Final = (LOCATION, ETAG, RETRY_AFTER)


class NobodyServes(Exception):
    """No edge takes the request now; the text is the reason."""


_until_served = retry(
    retry=retry_if_exception_type(NobodyServes),
    stop=stop_after_delay(_TAKEOVER_S),
    wait=wait_fixed(0.1),
    reraise=True,
)
"""Repeats only what no edge has accepted."""


class Edges:
    """The edges, as one API process sees them. All paths are percent-encoded, `body` is what
    aiohttp takes, and every method raises Problem 503."""

    def __init__(self, config: Settings, fleet: Fleet) -> None:
        self._own = config.edge_control_url
        self._fleet = fleet
        self._edge_of: OrderedDict[str, str] = OrderedDict()  # call -> edge, the newest last
        self._key = {AUTHORIZATION: f"Bearer {edge_control_key(config)}"}

    async def open(
        self, path: str, call_id: str = "", headers: Mapping[str, str] | None = None, **body: Any
    ) -> web.Response:
        """POSTs a new call; a repeat goes to the edge that has it. Without an id the last segment
        of the answer's `Location` is the call's."""
        try:
            return await self._opened(path, call_id, headers, body)
        except NobodyServes as error:
            raise Problem(503, "No edge serves", str(error)) from None

    async def ask(
        self,
        method: str,
        path: str,
        call_id: str = "",
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> web.Response:
        """Asks the edge that has a call, if it is known, else one after the other; the answer is
        404 when none knows it."""
        try:
            return await self._asked(method, path, call_id, headers, body)
        except NobodyServes as error:
            raise Problem(503, "No edge serves", str(error)) from None

    async def ask_edge(self, edge_id: str, method: str, path: str, **body: Any) -> web.Response:
        """Asks one edge."""
        edge = self._fleet.of(edge_id)
        if edge is None or edge.reached is None or not edge.serves(now_ms()):
            raise Problem(503, "The edge is gone", edge_id)
        try:
            return await self._send(method, self._url(edge) + path, None, body)
        except NobodyServes as error:
            raise Problem(503, "The edge does not answer", str(error)) from None

    @_until_served
    async def _opened(
        self, path: str, call_id: str, headers: Mapping[str, str] | None, body: dict[str, Any]
    ) -> web.Response:
        now = now_ms()
        edges = [e for e in self._fleet.by_load(now) if e.reached is not None]
        known = self._fleet.of(self._edge_of.get(call_id, ""))
        if known is not None and known.serves(now):
            edges = [known]
        full = any(edge.full for edge in self._fleet.serving(now))
        why = NobodyServes("all edges are full" if full else "no edge takes calls")
        busy: web.Response | None = None
        for edge in edges:
            try:
                answer = await self._send("POST", self._url(edge) + path, headers, body)
            except NobodyServes as error:
                why = error
                continue
            if RETRY_AFTER not in answer.headers:
                self._fleet.gave(edge.edge_id)
                self._remember(call_id or _last_segment(answer), edge.edge_id)
                return answer
            busy = answer
        if busy is not None:
            return busy
        raise why

    @_until_served
    async def _asked(
        self,
        method: str,
        path: str,
        call_id: str,
        headers: Mapping[str, str] | None,
        body: dict[str, Any],
    ) -> web.Response:
        edges = [e for e in self._fleet.serving(now_ms()) if e.reached is not None]
        known = self._edge_of.get(call_id)
        edges.sort(key=lambda edge: edge.edge_id != known)
        if not edges:
            raise NobodyServes("no edge serves")
        for edge in edges:
            answer = await self._send(method, self._url(edge) + path, headers, body)
            if answer.status != HTTPStatus.NOT_FOUND:
                break
        return answer

    def _url(self, edge: FleetEdge) -> str:
        return (edge.reached.control_url if edge.reached is not None else "") or self._own

    def _remember(self, call_id: str, edge_id: str) -> None:
        self._edge_of[call_id] = edge_id
        self._edge_of.move_to_end(call_id)
        while len(self._edge_of) > _REMEMBERED:
            self._edge_of.popitem(last=False)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: dict[str, Any]
    ) -> web.Response:
        sent = self._key | dict(headers or {})
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                # An id is one segment, whatever is in it.
                session.request(method, URL(url, encoded=True), headers=sent, **body) as answer,
            ):
                content = await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise NobodyServes(type(error).__name__) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Problem(503, "The edge does not answer", type(error).__name__) from None
        if answer.headers.get(RETRY_AFTER) == STARTING_RETRY_AFTER:
            raise NobodyServes("an edge is starting or stopping")
        passed_on = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        return web.Response(
            status=answer.status, body=content, content_type=answer.content_type, headers=passed_on
        )


def _last_segment(answer: web.Response) -> str:
    return answer.headers.get(LOCATION, "").rpartition("/")[2]
