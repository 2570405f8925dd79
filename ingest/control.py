"""`/media/sessions` on the edge's control port, for this machine only: the API has the key."""

import ipaddress
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import quote

from aiohttp import web
from aiohttp.hdrs import RETRY_AFTER
from aiokafka.errors import KafkaError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ingest.call.types import HungUp, Identity
from ingest.edge import Edge
from ingest.rtp.socket import NoPort
from ingest.sound.types import TELEPHONE_EVENT, format_of
from ringlog import log

logger = log.logger("ringlog.ingest.control")

Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s|\x00-\x1f]+$")]


class SessionRequest(BaseModel):
    """A call that another telephone system placed itself."""

    model_config = ConfigDict(extra="forbid")

    call_id: Id
    customer_id: Id
    campaign_id: Id
    codec: Literal["pcmu", "pcma", "l16", "l16/8000", "l16/16000"] = "pcmu"
    playbook: Id
    asr_profile: Id = "demo"
    remote: Annotated[str, StringConstraints(pattern=r"^[0-9.]+:[0-9]{1,5}$")] | None = None
    pool: Id | None = None
    robot_id: Id | None = None
    tenant_id: Id | None = None
    phone: Annotated[str, Field(max_length=32)] | None = None
    event_payload_type: Annotated[int, Field(ge=96, le=127)] = TELEPHONE_EVENT

    def remote_address(self) -> tuple[str, int] | None:
        """Where the far end's packets come from; raises ValueError."""
        if self.remote is None:
            return None
        host, _, port = self.remote.rpartition(":")
        if not 0 < int(port) < 65536:
            raise ValueError("remote: the port is none")
        return str(ipaddress.IPv4Address(host)), int(port)


def problem(status: HTTPStatus, title: str, detail: str = "") -> web.Response:
    """An error as problem+json (RFC 9457)."""
    body = {"type": "about:blank", "title": title, "status": int(status), "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json")


class Control:
    """The two routes."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def add_routes(self, app: web.Application) -> None:
        """Adds them to the service's application."""
        app.add_routes(
            [
                web.post("/media/sessions", self.open),
                web.delete("/media/sessions/{call_id}", self.close),
            ]
        )

    async def open(self, request: web.Request) -> web.Response:
        """201 {call_id, rtp_host, rtp_port, ssrc, ws_url, token}."""
        if (refusal := self._refusal(request)) is not None:
            return refusal
        try:
            asked = SessionRequest.model_validate_json(await request.read())
            remote = asked.remote_address()
        except ValidationError as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Not a media session", str(error))
        except ValueError as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Not a media session", str(error))
        edge = self._edge
        if edge.knows(asked.call_id):
            return problem(HTTPStatus.CONFLICT, "The call exists", asked.call_id)
        default = edge.defaults.of(asked.playbook, asked.pool)
        identity = Identity(
            call_id=asked.call_id,
            edge_id=edge.edge_id,
            direction="foreign",
            tenant_id=asked.tenant_id or edge.config.tenant_id,
            customer_id=asked.customer_id,
            campaign_id=asked.campaign_id,
            pool=default.pool,
            robot_id=asked.robot_id or default.robot_id,
            phone=asked.phone,
            playbook=asked.playbook,
            playbook_version=default.playbook_version,
            asr_profile=asked.asr_profile,
        )
        try:
            actor = await edge.open_foreign(
                identity, format_of(asked.codec), remote, asked.event_payload_type
            )
        except (NoPort, OSError) as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "No media port", str(error))
        except KafkaError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "Not recorded", type(error).__name__)
        ours, token = actor.our_address(), edge.token_of(asked.call_id)
        path = f"{edge.config.media_ws_url}/{quote(asked.call_id, safe='')}"
        body = {
            "call_id": asked.call_id,
            "rtp_host": ours.host,
            "rtp_port": ours.port,
            "ssrc": ours.ssrc,
            "ws_url": f"{path}?codec={quote(asked.codec, safe='')}&token={token}",
            "token": token,
        }
        return web.json_response(body, status=HTTPStatus.CREATED)

    async def close(self, request: web.Request) -> web.Response:
        """204 once the call's media is over."""
        if (refusal := self._refusal(request)) is not None:
            return refusal
        actor = self._edge.actors.get(request.match_info["call_id"])
        if actor is None:
            return problem(HTTPStatus.NOT_FOUND, "No such media session")
        actor.put(HungUp("completed"))
        await actor.over.wait()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _refusal(self, request: web.Request) -> web.Response | None:
        try:
            local = ipaddress.ip_address(request.remote or "").is_loopback
        except ValueError:
            local = False
        if not local:
            return problem(HTTPStatus.FORBIDDEN, "Only from this machine")
        if not self._edge.life.health.ready:
            waiting = self._edge.life.health.waiting_for
            refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready", waiting)
            refusal.headers[RETRY_AFTER] = "1"
            return refusal
        return None
