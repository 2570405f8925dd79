"""`/media/sessions` on the edge's control port: for the API on this machine, and nobody else.

A web page in a browser on this machine can reach the port, too. It has no key, cannot send
`application/json` to another origin without a preflight, and its requests carry its own Origin or
Host.
"""

import asyncio
import ipaddress
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.hdrs import RETRY_AFTER
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from yarl import URL

from ingest.call.types import HungUp
from ingest.draining import DrainRequest
from ingest.edge import Edge
from ingest.opening import CallExists, open_session
from ingest.rtp.socket import NoPort
from ingest.rtp.wire import wire_of
from ingest.sessions import UnknownName
from ringlog import log
from ringlog.callers import has_key, is_from_a_page
from ringlog.clock import now_ms
from ringlog.media_session import STARTING_RETRY_AFTER, MediaSessionRequest
from ringlog.problems import problem
from ringlog.site_key import edge_control_key
from schemas.phone import InvalidNumber

logger = log.logger("ringlog.ingest.control")


BODY_S: Final = 5.0
"""Time for a request's body, s."""


class Control:
    """The two routes."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._key = edge_control_key(edge.config)

    def add_routes(self, app: web.Application) -> None:
        """Adds them to the service's application."""
        app.add_routes(
            [
                web.post("/media/sessions", self.open),
                web.delete("/media/sessions/{call_id}", self.close),
                web.post("/drain", self.drain),
                web.delete("/drain", self.fill),
            ]
        )

    async def open(self, request: web.Request) -> web.Response:
        """201 {call_id, rtp_host, rtp_port, ssrc, ws_url, token}."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        if request.content_type != "application/json":
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON expected")
        edge = self._edge
        if not self._edge.takes_calls:
            return later("This edge takes no more calls", "another one may")
        try:
            try:
                async with asyncio.timeout(BODY_S):
                    asked = await request.read()
            except RuntimeError:  # so aiohttp calls a connection that has closed meanwhile
                raise TimeoutError from None
            wanted = MediaSessionRequest.model_validate_json(asked)
            actor = await open_session(edge, wanted)
        except TimeoutError:
            return problem(HTTPStatus.REQUEST_TIMEOUT, "The body did not come")
        except CallExists as error:
            return problem(HTTPStatus.CONFLICT, "The call exists", str(error))
        except UnknownName as error:
            return problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "No such name", str(error),
                field=error.field, known=error.known,
            )  # fmt: skip
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "Not a media session", f"{where}: {first['msg']}"
            )
        except InvalidNumber as error:
            return problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "Not a media session", f"phone: {error}"
            )
        except (NoPort, OSError) as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "No media port", str(error))
        except KafkaError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "Not recorded", type(error).__name__)
        call_id = wanted.call_id
        codec = wanted.codec if wire_of(wanted.codec) is None else "l16/16000"  # coded by RTP only
        ours, token = actor.our_address(), edge.token_of(call_id)
        path = f"{edge.media_ws_url}/{quote(call_id, safe='')}"
        body = {
            "call_id": call_id,
            "rtp_host": ours.host,
            "rtp_port": ours.port,
            "ssrc": ours.ssrc,
            "ws_url": f"{path}?codec={quote(codec, safe='')}&token={token}",
            "token": token,
        }
        return web.json_response(body, status=HTTPStatus.CREATED)

    async def close(self, request: web.Request) -> web.Response:
        """204 once the call's media is over."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        actor = self._edge.actors.get(request.match_info["call_id"])
        if actor is None:
            return problem(HTTPStatus.NOT_FOUND, "No such media session")
        actor.put(HungUp("completed"))
        await actor.over.wait()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def drain(self, request: web.Request) -> web.Response:
        """202 {calls}: no new calls from now on."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        if request.content_type != "application/json":
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON expected")
        try:
            wish = DrainRequest.model_validate_json(await request.read())
        except ValidationError as error:
            why = error.errors(include_url=False, include_input=False)[0]["msg"]
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Not a wish to drain", why)
        self._edge.drain.begin(wish.within_s, now_ms())
        return web.json_response({"calls": len(self._edge.actors)}, status=HTTPStatus.ACCEPTED)

    async def fill(self, request: web.Request) -> web.Response:
        """204: new calls are taken again."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        self._edge.drain.end()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _named(self, request: web.Request) -> bool:
        """Whether the request came by the control URL that the settings name."""
        named = URL(self._edge.config.control_url).host
        return named is not None and "Origin" not in request.headers and request.url.host == named

    def refusal(self, request: web.Request) -> web.Response | None:
        """Why a request is not for us, or not now; None when it is."""
        try:
            local = ipaddress.ip_address(request.remote or "").is_loopback
        except ValueError:
            local = False
        named = self._named(request)
        if not (local or named) or (is_from_a_page(request) and not named):
            return problem(HTTPStatus.FORBIDDEN, "Only for programs on this machine")
        if not has_key(request, self._key):
            return problem(HTTPStatus.UNAUTHORIZED, "Only for the API", "ask /api/media/sessions")
        if not self._edge.life.health.ready:
            return later("Not ready", self._edge.life.health.waiting_for)
        return None


def later(title: str, detail: str) -> web.Response:
    """503 of an edge that takes no call now: another one may."""
    answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, title, detail)
    answer.headers[RETRY_AFTER] = STARTING_RETRY_AFTER
    return answer
