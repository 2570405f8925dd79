"""The request of a telephone system for a call that it placed itself: one model for API and
edge."""

import ipaddress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from ringlog.identifier import Id

STARTING_RETRY_AFTER = "1"
"""`Retry-After` of an edge that is starting: the API asks again itself."""

Codec = Literal["pcmu", "pcma", "l16", "l16/8000", "l16/16000"]


class MediaSessionRequest(BaseModel):
    """`POST /api/media/sessions`. The edge resolves its defaults once, when it opens the
    session."""

    model_config = ConfigDict(extra="forbid")

    call_id: Id
    customer_id: Id
    campaign_id: Id
    codec: Codec = Field("pcmu", description="Codec of the call's sound; l16 is 8 kHz")
    playbook: Id = Field(description="A published one")
    asr_profile: Id | None = Field(None, description="Default: the robot's, else the site's")
    remote: Annotated[str, StringConstraints(pattern=r"^[0-9.]+:[0-9]{1,5}$")] | None = Field(
        None,
        description="Source of the far end's RTP, IPv4:port; default: the first source",
    )
    pool: Id | None = Field(None, description="Default: that of the robot")
    robot_id: Id | None = Field(None, description="Default: an active one that has the playbook")
    tenant_id: Id | None = Field(None, description="Default: the site's")
    phone: str | None = Field(None, max_length=64, description="The customer's number")
    event_payload_type: int | None = Field(
        None, ge=96, le=127, description="RTP payload type of keys (RFC 4733); default 101"
    )

    @field_validator("remote")
    @classmethod
    def _is_an_address(cls, remote: str | None) -> str | None:
        if remote is not None:
            host, _, port = remote.rpartition(":")
            ipaddress.IPv4Address(host)  # raises ValueError
            if not 0 < int(port) < 65536:
                raise ValueError("a port is between 1 and 65535")
        return remote

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """Where the far end's packets come from."""
        if self.remote is None:
            return None
        host, _, port = self.remote.rpartition(":")
        return host, int(port)
