"""Answers of the REST API as models: OpenAPI is made from them, and schemathesis compares."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ringlog.campaigns.settings import CampaignSettings
from schemas.events.customers import OptOutScope
from streams.api.state import CallStatus, TaskState


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AssignAnswer(_Answer):
    """What became of a request for a call so far."""

    task_id: str
    status: TaskState
    call_id: str | None = None
    robot_id: str | None = None
    profile_version: int | None = Field(None, description="Version of the profile that was used")
    reason: str | None = None


class CancelAnswer(_Answer):
    """The wish is on the log."""

    task_id: str
    event_id: str


class ReportAnswer(_Answer):
    """The report is on the log."""

    event_id: str


class CallPage(_Answer):
    """Calls, the newest first. `next` is for the page after, null at the end."""

    items: list[CallStatus]
    next: str | None


class OptOutEntry(_Answer):
    """An opt-out. `id` tells nobody the number; `occurred_at` is ms since 1970 UTC."""

    id: str
    scope: OptOutScope
    campaign_id: str | None
    customer_id: str | None
    reason: str
    source: str
    actor: str | None
    occurred_at: int


class OptOutList(_Answer):
    """Opt-outs that are in force."""

    items: list[OptOutEntry]


class OptOutPage(OptOutList):
    """Opt-outs, the newest first. `next` is for the page after, null at the end."""

    next: str | None


class MediaSessionAnswer(_Answer):
    """Where a call's sound goes: by RTP, or by WebSocket with the token."""

    call_id: str
    rtp_host: str
    rtp_port: int = Field(ge=1, le=65_535)
    ssrc: int = Field(ge=0, le=2**32 - 1)
    ws_url: str
    token: str


class EdgeEntry(_Answer):
    """One edge. `heard_at` is ms since 1970 UTC."""

    edge_id: str
    state: Literal["serves", "draining", "gone"]
    calls: int
    capacity: int | None
    heard_at: int
    media_url: str | None
    rtp_host: str | None


class EdgeList(_Answer):
    """Every edge that was ever heard of."""

    items: list[EdgeEntry]


class DrainAnswer(_Answer):
    """How many calls still run."""

    calls: int


class RecogniserEntry(_Answer):
    """What hears the calls of a choice."""

    profile: str
    model: str
    title: str
    language: str
    closed: bool = Field(description="It knows the words of the demo's calls alone")


class BrowserChoice(_Answer):
    """A playbook that a browser can call, and in which pool."""

    pool: str
    playbook: str
    recogniser: RecogniserEntry


class BrowserChoices(_Answer):
    """All that a browser can call."""

    choices: list[BrowserChoice]


class TokenAnswer(_Answer):
    """A token of the softphone's page. Times are ms since 1970 UTC."""

    token: str
    expires_at: int
    now: int


class CampaignAnswer(_Answer):
    """A version of a campaign. `occurred_at` is ms since 1970 UTC."""

    campaign_id: str
    name: str
    state: str
    version: int
    action: str
    actor: str
    reason: str | None
    occurred_at: int
    settings: CampaignSettings | str = Field(description="As text where they cannot be read")


class CampaignList(_Answer):
    """All campaigns, by id."""

    items: list[CampaignAnswer]


class RowFault(_Answer):
    """A row of a list that was not taken."""

    row: int
    reason: str
    duplicate: bool
    cells: dict[str, str]


class ImportAnswer(_Answer):
    """What became of the rows of a list."""

    import_id: str
    rows: int
    added: int
    duplicates: int
    invalid: int
    errors: list[RowFault]


class ImportProgress(_Answer):
    """How far the newest import of a campaign is, as this process has it. `waiting`: for another
    import to end; `failed`: its answer said why; `none`: there was none since the API's start."""

    state: Literal["none", "waiting", "loading", "done", "failed"]
    import_id: str | None
    rows: int
    added: int
    duplicates: int
    invalid: int


class NumberFault(_Answer):
    """A row of a list of numbers that was not taken."""

    row: int
    reason: str
    cells: dict[str, str]


class BarredAnswer(_Answer):
    """What became of a list of numbers. `standing`: they were barred already."""

    rows: int
    added: int
    standing: int
    invalid: int
    errors: list[NumberFault]


class LaterContacts(_Answer):
    """Contacts that a rule bars now. `opens`: when the first may be called, ms since 1970 UTC."""

    contacts: int
    opens: int


class RehearsalAnswer(_Answer):
    """What would become of the contacts, in numbers and in one sentence."""

    at: int
    rows: int
    ready: int
    invalid: int
    duplicates: int
    later: dict[str, LaterContacts]
    never: dict[str, int]
    words: str
