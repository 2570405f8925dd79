"""Requests of the REST API, as pydantic models; OpenAPI is made from them."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from ringlog.campaigns.settings import CampaignSettings
from ringlog.identifier import Id
from schemas.events.customers import OptOutScope
from schemas.phone import MAX_CHARACTERS
from schemas.times import checked_ms


def _time(value: object, info: ValidationInfo) -> int:
    return checked_ms(value, (info.context or {}).get("zone", ""))


Label = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s|\x00-\x1f]+$")
]
"""Text that names no path: a tag, a skill, a call that was opened before ids were checked."""

Phone = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
"""A number in any spelling; `schemas.phone.e164` says whether it is one."""

Level = Annotated[int, Field(ge=1, le=10)]
Time = Annotated[int, BeforeValidator(_time)]
"""ISO 8601 text or milliseconds since 1970 UTC; the context's `zone` is of text without one."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AssignRequest(_Request):
    """`POST /api/tasks/assign`: a call to be made."""

    customer_id: Id
    phone: Phone
    campaign_id: Id
    pool: Id
    priority: Literal["high", "medium", "low"] = "medium"
    skills: dict[Label, Level] = Field(default_factory=dict, max_length=32)
    tags: list[Label] = Field(default_factory=list, max_length=64)
    playbook: Id
    not_before: Time | None = None
    deadline: Time | None = None
    wait_ms: int = Field(0, ge=0, le=30_000, description="Longest wait for an assignment, ms")

    def sha256(self) -> str:
        """Digest of the request; how long the caller waits is not part of it."""
        data = self.model_dump(exclude={"wait_ms"})
        text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


Actor = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class CampaignRequest(_Request):
    """`POST /api/campaigns`: a new campaign."""

    campaign_id: Id
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    settings: CampaignSettings
    actor: Actor = Field("api", description="Who does it")
    reason: Words | None = None


class CampaignChangeRequest(_Request):
    """`PUT /api/campaigns/{id}`: other settings, from the next decision on."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    settings: CampaignSettings
    actor: Actor = Field("api", description="Who does it")
    reason: Words | None = None


class CampaignStepRequest(_Request):
    """`POST /api/campaigns/{id}/start`, `pause`, `resume`, `stop`."""

    actor: Actor = Field("api", description="Who does it")
    reason: Words | None = None


class TestCallRequest(_Request):
    """`POST /api/campaigns/{id}/test-call`: the campaign's script on one's own telephone."""

    phone: Phone
    actor: Actor = Field("api", description="Who does it")


class OptOutRequest(_Request):
    """`POST /api/optouts`: a number that must not be called any more."""

    phone: Phone
    scope: OptOutScope = "global"
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    campaign_id: Id | None = None
    customer_id: Id | None = None
    actor: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="Who enters it"
    )


class OptOutQuery(_Request):
    """`POST /api/optouts/find`: the opt-outs of one number."""

    phone: Phone


class CallStatusRequest(_Request):
    """`POST /api/calls/status`: a carrier's or a telephone system's report on a call."""

    call_id: Label
    kind: Literal[
        "dialing", "ringing", "early_media", "answered", "amd", "bridged", "transferred", "dtmf",
        "ended", "refused",
    ]  # fmt: skip
    occurred_at: Time
    source: Label
    cause_q850: int | None = Field(None, ge=0, le=127)
    cause_sip: int | None = Field(None, ge=100, le=699)
    digits: Annotated[str, StringConstraints(pattern=r"^[0-9A-D*#]{0,64}$")] | None = None
    try_no: int | None = Field(None, ge=1, le=9_999, description="The try that was refused")

    @model_validator(mode="after")
    def _names_its_try(self) -> Self:
        if (self.kind == "refused") != (self.try_no is not None):
            raise ValueError("try_no: `refused` names its try, and nothing else does")
        return self
