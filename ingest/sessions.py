"""A media session's defaults, resolved once, before the call begins."""

from collections.abc import Iterable
from dataclasses import dataclass

from ingest.asr_profiles import AsrProfiles
from ingest.call.types import Identity
from ingest.defaults import Defaults
from ingest.rtp.wire import SOUND, Wire, wire_of
from ingest.sound.types import TELEPHONE_EVENT, Format, format_of
from ringlog.media_session import MediaSessionRequest
from schemas.phone import e164


class UnknownName(ValueError):
    """A session names something that does not exist here. `known` lists the valid names."""

    def __init__(self, field: str, name: str, known: Iterable[str]) -> None:
        self.field = field
        self.known = sorted(known)
        super().__init__(
            f"{field}: there is no {name!r}; there are: {', '.join(self.known) or 'none yet'}"
        )


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What the edge opens: who the call is, how it sounds, where its packets come from."""

    identity: Identity
    sound: Format
    remote: tuple[str, int] | None
    event_type: int
    wire: Wire | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The sources of a session's defaults."""

    edge_id: str
    tenant_id: str
    region: str
    defaults: Defaults
    asr_profiles: AsrProfiles

    def resolve(self, request: MediaSessionRequest) -> SessionSpec:
        """The session with its defaults; raises UnknownName, and InvalidNumber for its phone."""
        _must_exist("playbook", request.playbook, self.defaults.playbooks)
        _must_exist("pool", request.pool, self.defaults.pools)
        _must_exist("robot_id", request.robot_id, self.defaults.robots)
        _must_exist("asr_profile", request.asr_profile, self.asr_profiles.names)
        default = self.defaults.of(request.playbook, request.pool, request.robot_id)
        wire = wire_of(request.codec, request.payload_type)
        identity = Identity(
            call_id=request.call_id,
            edge_id=self.edge_id,
            direction="foreign",
            tenant_id=request.tenant_id or self.tenant_id,
            customer_id=request.customer_id,
            campaign_id=request.campaign_id,
            pool=default.pool,
            robot_id=default.robot_id,
            phone=e164(request.phone, self.region) if request.phone else None,
            playbook=request.playbook,
            playbook_version=default.playbook_version,
            asr_profile=self.asr_profiles.resolve((request.asr_profile, default.asr_profile)),
        )
        return SessionSpec(
            identity,
            format_of(request.codec) if wire is None else SOUND,
            request.remote_address,
            request.event_payload_type or TELEPHONE_EVENT,
            wire,
        )


def _must_exist(field: str, name: str | None, known: Iterable[str]) -> None:
    if name is not None and name not in (names := list(known)):
        raise UnknownName(field, name, names)
