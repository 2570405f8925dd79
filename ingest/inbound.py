"""Calls that come in on our trunks: the number that was called finds who answers."""

from dataclasses import replace
from typing import Final, Protocol

from aiokafka.errors import KafkaError

from ingest.call.actor import CallActor
from ingest.opening import CallExists, Opener, resolved
from ingest.rtp.socket import NoPort
from ingest.sessions import SessionSpec, UnknownName
from ingest.trunks.driver import IncomingCall, MediaAddress, NotTaken
from ingest.trunks.plan import Inbound
from ringlog.media_session import MediaSessionRequest
from schemas.ids import root_id
from schemas.phone import InvalidNumber, e164

Q850_UNALLOCATED: Final = 1
Q850_NO_CIRCUIT: Final = 34
Q850_TEMPORARY_FAILURE: Final = 41

NO_CAMPAIGN: Final = "inbound"
"""Campaign of a number that names none."""


class Answerer(Opener, Protocol):
    """What answering needs from the edge, in addition."""

    def of_called(self, number: str) -> tuple[str, Inbound] | None:
        """The trunk and the entry of a number of ours, E.164."""
        ...

    def customer_of(self, phone: str) -> str:
        """An id for the customer of a number that no system has named."""
        ...

    async def open_incoming(self, spec: SessionSpec, came: IncomingCall, trunk: str) -> CallActor:
        """Opens media and writes the first record; raises NoPort, OSError, KafkaError."""
        ...


async def answer(edge: Answerer, came: IncomingCall) -> MediaAddress | None:
    """Opens the session of a call that comes in; gives where its sound goes, None by a socket.

    Raises NotTaken.
    """
    if edge.draining:
        raise NotTaken(Q850_TEMPORARY_FAILURE, "the edge is stopping")
    region = edge.site.region
    try:
        called = e164(came.called, region)
    except InvalidNumber:
        called = came.called  # a short number of the site's own
    found = edge.of_called(called)
    if found is None:
        raise NotTaken(Q850_UNALLOCATED, "no trunk has the number that was called (`inbound:`)")
    trunk, entry = found
    if entry.playbook is None:
        raise NotTaken(Q850_UNALLOCATED, "the number that was called has no playbook")
    wanted = _session(came, entry, region, edge)
    try:
        if edge.knows(wanted.call_id):
            raise CallExists(wanted.call_id)
        spec = await resolved(edge.site, wanted)
        spec = replace(spec, identity=replace(spec.identity, direction="inbound"))
        actor = await edge.open_incoming(spec, came, trunk)
    except CallExists:
        raise NotTaken(Q850_TEMPORARY_FAILURE, "the call is over") from None
    except UnknownName as error:
        raise NotTaken(Q850_UNALLOCATED, str(error)) from None
    except (NoPort, OSError, KafkaError) as error:
        raise NotTaken(Q850_NO_CIRCUIT, f"not opened: {type(error).__name__}") from None
    return actor.our_address() if came.medium == "rtp" else None


def _session(
    came: IncomingCall, entry: Inbound, region: str, edge: Answerer
) -> MediaSessionRequest:
    try:
        phone: str | None = e164(came.caller, region)
    except InvalidNumber:
        phone = None  # withheld, or no telephone's
    who = edge.customer_of(phone) if phone else f"caller-{root_id(came.call_id, 'caller')[:16]}"
    return MediaSessionRequest(
        call_id=came.call_id,
        customer_id=who,
        campaign_id=entry.campaign_id or NO_CAMPAIGN,
        codec=came.codec,
        playbook=entry.playbook or "",
        pool=entry.pool,
        robot_id=entry.robot_id,
        phone=phone,
    )
