"""WHIP (RFC 9725) on the edge's control port: for the API, which answers browsers.

`POST /whip/{pool}` begins a call, `PATCH` brings the browser's addresses, `DELETE` ends it.
`GET /whip` tells what can be called.
"""

import asyncio
import secrets
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import ClientPayloadError, web
from aiohttp.hdrs import CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, RETRY_AFTER
from aiohttp.http_exceptions import HttpProcessingError
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from ingest.addresses import resolve
from ingest.call.actor import CallActor
from ingest.call.types import HungUp
from ingest.control import Control, later
from ingest.edge import Edge
from ingest.rtp.socket import NoPort
from ingest.sessions import SessionSpec, UnknownName
from ingest.trunks.driver import MediaAddress, Refused
from ingest.webrtc.offer import MAX_SDP_BYTES, Offer, parse_offer
from ingest.webrtc.peer import Peer
from ingest.webrtc.refusal import WhipRefused
from ingest.webrtc.transport import BrowserTransport
from ingest.webrtc.whip import OFFER_TYPE, Generation, begun, patch
from ringlog import log
from ringlog.media_session import MediaSessionRequest
from ringlog.problems import problem

logger = log.logger("ringlog.ingest.whip")

MAX_BROWSERS: Final = 16
"""Browsers in calls at once: Opus, SRTP and ICE take 3 to 4 % of a core a call, both talking."""

FULL_RETRY_S: Final = 10

ANSWER_S: Final = 5.0

BROWSER_CUSTOMER: Final = "softphone"
"""Customer and campaign of a browser that names none."""


@dataclass(slots=True)
class _Browser:
    """One WHIP session."""

    actor: CallActor
    peer: Peer
    state: Generation


class BrowserCalls:
    """The WHIP sessions of one edge."""

    def __init__(self, edge: Edge, control: Control) -> None:
        self._edge = edge
        self._control = control
        self._browsers: dict[str, _Browser] = {}
        self._opening = 0

    def add_routes(self, app: web.Application) -> None:
        """Adds the routes to the service's application."""
        app.add_routes(
            [
                web.get("/whip", self.choices),
                web.post("/whip/{pool}", self.open),
                web.patch("/whip/{pool}/{call_id}", self.trickle),
                web.delete("/whip/{pool}/{call_id}", self.close),
            ]
        )

    async def choices(self, request: web.Request) -> web.Response:
        """200 {choices: [{pool, playbook, recogniser}]}."""
        if (refusal := self._control.refusal(request)) is not None:
            return refusal
        site = self._edge.site
        found = []
        for pool, playbook in site.defaults.choices:
            profile = site.asr_profiles.resolve((site.defaults.of(playbook, pool).asr_profile,))
            recogniser = site.asr_profiles.recogniser_of(profile)._asdict()
            found.append({"pool": pool, "playbook": playbook, "recogniser": recogniser})
        return web.json_response({"choices": found})

    async def open(self, request: web.Request) -> web.Response:
        """201 with the SDP answer, the session's `Location` and its `ETag`."""
        if (refusal := self._control.refusal(request)) is not None:
            return refusal
        if not self._edge.takes_calls:
            return later("This edge takes no more calls", "another one may")
        if len(self._browsers) + self._opening >= MAX_BROWSERS:
            answer = problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "No browser can be served now", "try again later"
            )
            answer.headers[RETRY_AFTER] = str(FULL_RETRY_S)
            return answer
        self._opening += 1
        try:
            if request.content_type != OFFER_TYPE:
                raise WhipRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {OFFER_TYPE}")
            offer = parse_offer(await _body(request))
            return await self._opened(offer, self._resolved(request))
        except WhipRefused as refused:
            return _refused(refused)
        finally:
            self._opening -= 1

    def _resolved(self, request: web.Request) -> SessionSpec:
        """The call that a request wants; raises WhipRefused."""
        site, query = self._edge.site, request.query
        pool, playbook = request.match_info["pool"], query.get("playbook")
        choices = site.defaults.choices
        if all(pool != known for known, _ in choices):
            raise WhipRefused(HTTPStatus.NOT_FOUND, "no robot serves this pool")
        if playbook is None:
            playbook = next(of for known, of in choices if known == pool)
        elif (pool, playbook) not in choices:
            raise WhipRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY, "playbook: no robot of this pool has it"
            )
        try:
            wanted = MediaSessionRequest(
                call_id=f"web-{uuid.uuid4().hex}",
                customer_id=query.get("customer_id", BROWSER_CUSTOMER),
                campaign_id=query.get("campaign_id", BROWSER_CUSTOMER),
                codec="l16/16000",
                playbook=playbook,
                pool=pool,
                asr_profile=query.get("asr_profile"),
            )
            return site.resolve(wanted)
        except UnknownName as error:
            raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}") from None

    async def _opened(self, offer: Offer, spec: SessionSpec) -> web.Response:
        edge, call_id = self._edge, spec.identity.call_id
        peer = Peer()
        try:
            host, _ = await resolve(MediaAddress(edge.rtp_host, 9, None))
            async with asyncio.timeout(ANSWER_S):
                answer = await peer.answer(
                    offer, edge.config.bind_host, host, edge.config.browser_ports
                )
            actor = await edge.open_external(spec, "socket")
        except (NoPort, OSError, TimeoutError, KafkaError, Refused) as error:
            await peer.close()
            raise WhipRefused(HTTPStatus.SERVICE_UNAVAILABLE, f"{error or 'time-out'}") from None
        except Exception as error:  # whatever the library makes of an offer that we let pass
            logger.warning("offer not taken", error=f"{type(error).__name__}: {error}")
            await peer.close()
            raise WhipRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY, "the offer cannot be served"
            ) from None
        browser = _Browser(actor, peer, begun(offer, secrets.token_hex(8)))
        self._browsers[call_id] = browser
        if (session := actor.session) is not None:
            session.attach(BrowserTransport(session, offer, peer))
        edge.spawn(self._until_over(call_id, browser), f"browser {call_id}")
        headers = {
            LOCATION: f"/whip/{spec.identity.pool}/{call_id}",
            ETAG: f'"{browser.state.etag}"',
            CONTENT_TYPE: OFFER_TYPE,
        }
        return web.Response(status=HTTPStatus.CREATED, text=answer, headers=headers)

    async def _until_over(self, call_id: str, browser: _Browser) -> None:
        try:
            await browser.actor.over.wait()
        finally:
            self._browsers.pop(call_id, None)
            await browser.peer.close()

    async def trickle(self, request: web.Request) -> web.Response:
        """204: the addresses are taken."""
        if (refusal := self._control.refusal(request)) is not None:
            return refusal
        browser = self._browsers.get(request.match_info["call_id"])
        if browser is None:
            return problem(HTTPStatus.NOT_FOUND, "No such session")
        try:
            browser.state, fresh = patch(
                browser.state, request.headers.get(IF_MATCH), request.content_type,
                await _body(request),
            )  # fmt: skip
        except WhipRefused as refused:
            return _refused(refused)
        await browser.peer.add(fresh)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def close(self, request: web.Request) -> web.Response:
        """200 once the call is over."""
        if (refusal := self._control.refusal(request)) is not None:
            return refusal
        browser = self._browsers.get(request.match_info["call_id"])
        if browser is None:
            return problem(HTTPStatus.NOT_FOUND, "No such session")
        browser.actor.put(HungUp("completed"))
        await browser.actor.over.wait()
        return web.Response(status=HTTPStatus.OK)


async def _body(request: web.Request) -> bytes:
    """The body, cut off behind the longest that is taken; raises WhipRefused."""
    body = bytearray()
    try:
        async with asyncio.timeout(ANSWER_S):
            while len(body) <= MAX_SDP_BYTES and (more := await request.content.readany()):
                body += more
    except (TimeoutError, ClientPayloadError, HttpProcessingError):
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "the body is incomplete") from None
    return bytes(body[: MAX_SDP_BYTES + 1])


def _refused(refused: WhipRefused) -> web.Response:
    return problem(refused.status, refused.status.phrase, str(refused))
