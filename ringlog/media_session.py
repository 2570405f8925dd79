"""The request of a telephone system for a call that it placed itself: one model for API and
edge."""

from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from ringlog.identifier import Id

STARTING_RETRY_AFTER = "1"
"""`Retry-After` of an edge that is starting: the API asks again itself."""

DOORS: Final = frozenset({"asterisk", "audiohook", "twilio"})
"""Names below `/media/` at which peers name their call themselves; no call is called so."""

Codec = Literal["pcmu", "pcma", "l16", "l16/8000", "l16/16000", "g722", "opus"]


_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"({_BYTE}\.){{3}}{_BYTE}"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


class MediaSessionRequest(BaseModel):
    """`POST /api/media/sessions`. The edge resolves its defaults once, when it opens the
    session."""

    model_config = ConfigDict(extra="forbid", strict=True)

    call_id: Id
    customer_id: Id
    campaign_id: Id
    codec: Codec = Field(
        "pcmu", description="Codec of the sound; l16 is 8 kHz; g722 and opus: by RTP only"
    )
    playbook: Id = Field(description="A published one")
    asr_profile: Id | None = Field(None, description="Default: the robot's, else the site's")
    remote: Annotated[str, StringConstraints(pattern=f"^{_IPV4}:{_PORT}$")] | None = Field(
        None,
        description="Source of the far end's RTP, IPv4:port; default: the first source",
    )
    pool: Id | None = Field(None, description="Default: that of the robot")
    robot_id: Id | None = Field(None, description="Default: an active one that has the playbook")
    tenant_id: Id | None = Field(None, description="Default: the site's")
    phone: Annotated[str, Field(json_schema_extra={"format": "phone"})] | None = Field(
        None, max_length=64, description="The customer's number"
    )
    event_payload_type: int | None = Field(
        None, ge=96, le=127, description="RTP payload type of keys (RFC 4733); default 101"
    )

    payload_type: int | None = Field(
        None, ge=96, le=127, description="RTP payload type of opus; default 107. g722's is 9"
    )

    @model_validator(mode="after")
    def _types_differ(self) -> Self:
        if self.payload_type is not None:
            if self.codec != "opus":
                raise ValueError("payload_type is for opus; other codecs have fixed ones")
            if self.payload_type == (self.event_payload_type or 101):
                raise ValueError("payload_type and event_payload_type are the same")
        return self

    @field_validator("call_id")
    @classmethod
    def _is_no_door(cls, call_id: str) -> str:
        if call_id in DOORS:
            raise ValueError(f"{call_id!r} names a door of the media server; use another id")
        return call_id

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """Where the far end's packets come from."""
        if self.remote is None:
            return None
        host, _, port = self.remote.rpartition(":")
        return host, int(port)
