"""Customers: what their records say, what we derive, and who must not be called."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event


class CustomerChange(Event):
    """`customers.changes`: a change in a CRM or ERP system."""

    kind: Literal["upserted", "deleted"]
    source: str = Field(description="System that it comes from")
    table: str | None = Field(None, description="Table there")
    position: str | None = Field(None, description="LSN or message id at the source")
    name: str | None = Field(None, description="The customer's name")
    phone: str | None = Field(None, description="Number")
    level: str | None = Field(None, description="Customer level")
    tags: list[str] = Field(default_factory=list, description="Labels")
    purchases: int | None = Field(None, description="Purchases so far")
    attributes: dict[str, str] = Field(default_factory=dict, description="Anything else")
    cleared: list[str] = Field(
        default_factory=list,
        description="Fields that are empty at the source and are to be emptied here",
    )


class Profile(Event):
    """`customers.profiles`: one customer as derived from everything known, latest wins."""

    kind: Literal["profile"] = "profile"
    version: int = Field(description="Counts its changes")
    level: str = Field("normal", description="Customer level")
    tags: list[str] = Field(default_factory=list, description="Labels")
    name: str | None = Field(None, description="The customer's name")
    purchase_intent: float = Field(0.0, description="0 to 1, from what was said")
    last_intent: str | None = Field(None, description="Newest intent")
    last_emotion: str | None = Field(None, description="Newest emotion")
    opted_out: bool = Field(False, description="Must not be called by this tenant at all")
    opted_out_in: list[str] = Field(
        default_factory=list,
        description="Where they must not be called: global, tenant:<id>, campaign:<id>",
    )
    purchases: int = Field(0, description="Purchases so far")
    promises: list[str] = Field(default_factory=list, description="What the customer promised")
    calls: int = Field(0, description="Ended calls")
    answered_calls: int = Field(0, description="Calls that were answered")
    phone_hash: str | None = Field(None, description="Keyed hash of the number")
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="Short attributes of the CRM, such as amount_due and zone; what robots say",
    )


OptOutScope = Literal["global", "tenant", "campaign"]


class OptOut(Event):
    """`compliance.optouts`: a number that must not be called, or (`opted_in`) may be again.

    `schemas.donotcall` says what follows from these records. `tenant_id` and `campaign_id` name
    what a scope of that name is limited to.
    """

    kind: Literal["opted_out", "opted_in"]
    phone_hash: str = Field(description="HMAC-SHA-256 of the number with the site's key")
    reason: str = Field(description="Why")
    scope: OptOutScope = Field("global", description="global, tenant or campaign")
    source: str = Field("unknown", description="Where it was said: voice, api, operator, crm, …")
    actor: str | None = Field(None, description="Who said or entered it")


class Message(Event):
    """`outreach.messages`: a message by another channel, and its receipt."""

    kind: Literal["requested", "sent", "delivered", "failed"]
    channel: str = Field(description="sms, wechat, email, …")
    template: str | None = Field(None, description="Template")
    text: str | None = Field(None, description="Its words")
    reason: str | None = Field(None, description="Why it failed")
