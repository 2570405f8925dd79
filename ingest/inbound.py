"""Calls that come in on our trunks: the number that was called finds who answers."""

from dataclasses import replace
from typing import Final, Protocol

from aiokafka.errors import KafkaError
from pydantic import ValidationError

from ingest.call.actor import CallActor
from ingest.opening import CallExists, Opener, resolved
from ingest.ring_backs import LastCall
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

    def last_call(self, phone: str, called: str, campaign_id: str | None) -> LastCall | None:
        """The call of ours that a caller answers who rings `called`; both E.164."""
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
    try:
        phone: str | None = e164(came.caller, region)
    except InvalidNumber:
        phone = None  # withheld, or no telephone's
    last = edge.last_call(phone, called, entry.campaign_id) if phone else None
    try:
        wanted = _session(came, entry, phone, last, edge)
    except ValidationError:  # names of another system's making, which no session may have
        wanted = _session(came, entry, phone, None, edge)
    if wanted is None:
        raise NotTaken(Q850_UNALLOCATED, "the number that was called has no playbook")
    try:
        if edge.knows(wanted.call_id):
            raise CallExists(wanted.call_id)
        spec = await resolved(edge.site, wanted)
        who = replace(spec.identity, direction="inbound", variant=last.variant if last else None)
        spec = replace(spec, identity=who)
        actor = await edge.open_incoming(spec, came, trunk)
    except CallExists:
        raise NotTaken(Q850_TEMPORARY_FAILURE, "the call is over") from None
    except UnknownName as error:
        raise NotTaken(Q850_UNALLOCATED, str(error)) from None
    except (NoPort, OSError, KafkaError) as error:
        raise NotTaken(Q850_NO_CIRCUIT, f"not opened: {type(error).__name__}") from None
    return actor.our_address() if came.medium == "rtp" else None


def _session(
    came: IncomingCall, entry: Inbound, phone: str | None, last: LastCall | None, edge: Answerer
) -> MediaSessionRequest | None:
    """What the number's entry says goes before what the last call to the caller had; None without
    any playbook."""
    if last is None:
        who = edge.customer_of(phone) if phone else f"caller-{root_id(came.call_id, 'caller')[:16]}"
        campaign_id, tenant_id, playbook, pool, asr = entry.campaign_id, None, None, None, None
    else:
        who, tenant_id, playbook, pool = (
            last.customer_id, last.tenant_id, last.playbook, last.pool,
        )  # fmt: skip
        campaign_id = last.campaign_id or entry.campaign_id
        asr = last.asr_profile if last.asr_profile in edge.site.asr_profiles.names else None
    if entry.playbook is None and playbook is None:
        return None
    return MediaSessionRequest(
        call_id=came.call_id,
        customer_id=who,
        campaign_id=campaign_id or NO_CAMPAIGN,
        tenant_id=tenant_id,
        codec=came.codec,
        playbook=entry.playbook or playbook or "",
        pool=entry.pool or pool,
        robot_id=entry.robot_id,
        asr_profile=asr,
        phone=phone,
    )
