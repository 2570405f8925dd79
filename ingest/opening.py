"""Opens sessions of calls that another system placed: asked by the API, or by a first message."""

import asyncio
from typing import Final, Protocol

from aiokafka.errors import KafkaError

from ingest.call.actor import CallActor
from ingest.rtp.socket import NoPort
from ingest.sessions import SessionSpec, Site, UnknownName
from ingest.trunks.driver import Medium
from ingest.ws.line import WsLine
from ingest.ws.server import NoSession
from ringlog.media_session import MediaSessionRequest
from schemas.phone import InvalidNumber

_ON_ITS_WAY_S: Final = 0.1
_ON_ITS_WAY_TIMES: Final = 10
"""How often, and how long apart, a name that may just have been published is looked up again."""

LATER_S: Final = 2.0
"""When a peer may ask again after we could open no session for a reason that passes."""


class CallExists(Exception):
    """A call of this id runs, or ended lately."""


class Opener(Protocol):
    """What opening a session needs from the edge."""

    site: Site

    @property
    def draining(self) -> bool:
        """Whether no new calls are taken."""
        ...

    def knows(self, call_id: str) -> bool:
        """Whether a call with this id runs, or ended recently."""
        ...

    async def open_external(self, spec: SessionSpec, medium: Medium = "rtp") -> CallActor:
        """Opens media and writes the first record; raises NoPort, OSError, KafkaError."""
        ...


async def open_session(
    edge: Opener, wanted: MediaSessionRequest, medium: Medium = "rtp"
) -> CallActor:
    """Opens the session that a telephone system wants.

    Raises CallExists, UnknownName, InvalidNumber, NoPort, OSError, KafkaError.
    """
    if edge.knows(wanted.call_id):
        raise CallExists(wanted.call_id)
    spec = await resolved(edge.site, wanted)
    if edge.knows(wanted.call_id):  # opened by another request meanwhile
        raise CallExists(wanted.call_id)
    return await edge.open_external(spec, medium)


async def resolved(site: Site, wanted: MediaSessionRequest) -> SessionSpec:
    """The session with its defaults; waits a moment for names that may just have been published.

    Raises UnknownName, InvalidNumber.
    """
    for _ in range(_ON_ITS_WAY_TIMES):
        try:
            return site.resolve(wanted)
        except UnknownName:
            await asyncio.sleep(_ON_ITS_WAY_S)
    return site.resolve(wanted)


async def open_by_message(edge: Opener, wanted: MediaSessionRequest) -> WsLine:
    """Opens the session that a socket's first message wants; raises NoSession."""
    if edge.draining:
        raise NoSession("the edge is stopping", LATER_S)
    try:
        actor = await open_session(edge, wanted, "socket")
    except CallExists:
        raise NoSession("the call is over") from None
    except UnknownName as error:
        raise NoSession(str(error)) from None
    except InvalidNumber as error:
        raise NoSession(f"phone: {error}") from None
    except (NoPort, OSError, KafkaError) as error:
        raise NoSession(f"not opened: {type(error).__name__}", LATER_S) from None
    assert actor.ws is not None, "its media is open"
    return actor.ws
