"""Customers: what their records say, what we derive, and who must not be called."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event


class CustomerChange(Event):
    """`customers.changes`: a change in a CRM or ERP system."""

    kind: Literal["upserted", "deleted"]
    source: str
    table: str | None = None
    position: str | None = Field(None, description="LSN or message id at the source")
    name: str | None = None
    phone: str | None = None
    level: str | None = None
    tags: list[str] = Field(default_factory=list)
    purchases: int | None = None
    attributes: dict[str, str] = Field(default_factory=dict)


class Profile(Event):
    """`customers.profiles`: one customer as derived from everything known, latest wins."""

    kind: Literal["profile"] = "profile"
    version: int
    level: str = "normal"
    tags: list[str] = Field(default_factory=list)
    name: str | None = None
    purchase_intent: float = 0.0
    last_intent: str | None = None
    last_emotion: str | None = None
    opted_out: bool = False
    purchases: int = 0
    promises: list[str] = Field(default_factory=list)
    calls: int = Field(0, description="Ended calls")
    answered_calls: int = 0
    phone_hash: str | None = None


class OptOut(Event):
    """`compliance.optouts`: a number that must not be called; the key is its keyed hash."""

    kind: Literal["opted_out", "opted_in"]
    phone_hash: str
    reason: str


class Message(Event):
    """`outreach.messages`: a message by another channel, and its receipt."""

    kind: Literal["requested", "sent", "delivered", "failed"]
    channel: str
    template: str | None = None
    text: str | None = None
    reason: str | None = None
