"""Requests of the REST API, bodies and queries, as pydantic models; OpenAPI is made from them."""

import hashlib
import json
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.tables import Format
from ringlog.identifier import Id
from schemas.events.customers import OptOutScope
from schemas.phone import MAX_CHARACTERS
from schemas.times import FIRST_MS, LAST_MS, checked_ms
from streams.api.state import CallState

LONGEST_PAGE: Final = 1_000


def _time(value: object, info: ValidationInfo) -> int:
    return checked_ms(value, (info.context or {}).get("zone", ""))


Label = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s|\x00-\x1f\x85\ufeff]+$")
]
"""Text that names no path: a tag, a skill, a call that was opened before ids were checked. The
last two characters are blanks to some readers of the pattern and none to others."""

Phone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_CHARACTERS),
    Field(json_schema_extra={"format": "phone"}),
]
"""A number in any spelling; `schemas.phone.e164` says whether it is one."""

Level = Annotated[int, Field(ge=1, le=10)]

Skills = Annotated[
    dict[Label, Level],
    Field(max_length=32),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": TypeAdapter(Label).json_schema(),
            "additionalProperties": TypeAdapter(Level).json_schema(),
            "maxProperties": 32,
        }
    ),
]
"""Skill -> level. The schema is ours since pydantic's lets in names that it refuses."""

Time = Annotated[
    int,
    BeforeValidator(_time),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": FIRST_MS, "maximum": LAST_MS},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]
"""ISO 8601 text or milliseconds since 1970 UTC; the context's `zone` is of text without one."""


def _whole_number(value: object) -> object:
    """A query's number: plain digits, whatever else pydantic or Python would take."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 6):
            raise ValueError(f"a whole number from 1 to {LONGEST_PAGE}")
        return int(value)
    return value


class _Request(BaseModel):
    # Strict: a number in quotes, or `true` for 1, is a caller's mistake.
    model_config = ConfigDict(extra="forbid", strict=True)


class _Page(BaseModel):
    """The query of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, BeforeValidator(_whole_number)] = Field(
        100, ge=1, le=LONGEST_PAGE, description="Items on a page"
    )
    next: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None, description="`next` of the page before"
    )


class AssignRequest(_Request):
    """`POST /api/tasks/assign`: a call to be made."""

    customer_id: Id
    phone: Phone
    campaign_id: Id
    pool: Id
    priority: Literal["high", "medium", "low"] = "medium"
    skills: Skills = Field(default_factory=dict)
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


BATCH_ITEMS: Final = 1_000

BATCH_BYTES: Final = 2 << 20
"""Longest body of a batch."""


class AssignBatch(_Request):
    """`POST /api/tasks/assign`: many calls to be made. Each is checked and answered alone."""

    tasks: list[object] = Field(min_length=1, max_length=BATCH_ITEMS)


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


class ListQuery(BaseModel):
    """`POST /api/campaigns/{id}/import` and `dry-run`: how the list is read."""

    model_config = ConfigDict(extra="forbid")

    format: Format | None = Field(None, description="Default: by Content-Type")
    map: list[Annotated[str, StringConstraints(pattern=r"^[\s\S]+:[\s\S]*$")]] = Field(
        default_factory=list, description="Heading:field, as often as needed"
    )
    actor: Actor = Field("api", description="Who does it")


class TestCallRequest(_Request):
    """`POST /api/campaigns/{id}/test-call`: the campaign's script on one's own telephone."""

    phone: Phone
    actor: Actor = Field("api", description="Who does it")


class OptOutRequest(_Request):
    """`POST /api/optouts`: a number that must not be called any more."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"scope": {"const": "campaign"}}, "required": ["scope"]},
            "then": {
                "properties": {"campaign_id": {"type": "string"}}, "required": ["campaign_id"],
            },
            "else": {"properties": {"campaign_id": {"type": "null"}}},
        }
    )  # fmt: skip

    phone: Phone
    scope: OptOutScope = "global"
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    campaign_id: Id | None = None
    customer_id: Id | None = None
    actor: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="Who enters it"
    )

    @model_validator(mode="after")
    def _campaign_is_named(self) -> Self:
        if (self.scope == "campaign") != (self.campaign_id is not None):
            raise ValueError("campaign_id: needed for scope campaign, and only there")
        return self


class OptOutPageQuery(_Page):
    """`GET /api/optouts`."""


class OptOutUndoQuery(BaseModel):
    """`DELETE /api/optouts/{id}`."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(max_length=500)] = Field(
        "undone by an operator", description="Why"
    )
    actor: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="Who undoes it"
    )


class OptOutListQuery(ListQuery):
    """`POST /api/optouts/import`: what holds for all numbers of the list."""

    reason: Words = Field(description="Why")
    scope: OptOutScope = Field("global", description="Where they hold")
    campaign_id: Id | None = Field(None, description="For scope campaign, and only there")


class OptOutQuery(_Request):
    """`POST /api/optouts/find`: the opt-outs of one number."""

    phone: Phone


class CallStatusRequest(_Request):
    """`POST /api/calls/status`: a carrier's or a telephone system's report on a call."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"kind": {"const": "refused"}}},
            "then": {"properties": {"try_no": {"type": "integer"}}, "required": ["try_no"]},
            "else": {"properties": {"try_no": {"type": "null"}}},
        }
    )

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


class CallsQuery(_Page):
    """`GET /api/calls/status`: with `call_id` the others have no effect."""

    call_id: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None, description="This call alone"
    )
    state: CallState | None = Field(None, description="Only calls of this state")


class BrowserCallQuery(BaseModel):
    """`POST /whip/{pool}`. WHIP clients may add parameters of their own."""

    playbook: Id | None = Field(None, description="Default: the pool's first by name")
    customer_id: Id | None = Field(None, description="Default: `softphone`")
    campaign_id: Id | None = Field(None, description="Default: `softphone`")
    asr_profile: Id | None = Field(None, description="Recogniser; default: the robot's")
