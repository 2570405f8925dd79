"""Customers: what their records say, what we derive, and who must not be called."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from schemas.envelope import Event, Millis, Part

VOID = "void"
"""Status of an order or payment that counts no more: cancelled, charged back, its row gone."""


class CustomerChange(Event):
    """`customers.changes`: a change in a CRM or ERP system.

    `order` and `payment` tell of one order or payment, and may tell of its customer, too. `merged`
    says that `customer_id` is the same person as `merged_into`.
    """

    kind: Literal["upserted", "deleted", "order", "payment", "merged"]
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
    record_id: str | None = Field(None, description="The order's or payment's id at the source")
    amount_minor: int | None = Field(
        None, description="Its amount in the currency's smallest unit, such as fen or cents"
    )
    currency: str | None = Field(None, description="ISO 4217 code of the amount")
    made_at: Millis | None = Field(None, description="When it was ordered or paid")
    due_at: Millis | None = Field(None, description="When an order is to be paid")
    status: str | None = Field(
        None, description="What the source calls its state; `void`: it counts no more"
    )
    merged_into: str | None = Field(
        None, description="merged: the customer who they are from now on"
    )
    actor: str | None = Field(None, description="Who entered it, where somebody did")


class PlacedOrder(Part):
    """An order as the ERP tells it. Times are ms since 1970 UTC."""

    record_id: str = Field(description="Its id at the source")
    source: str = Field(description="System that it comes from")
    told_at: int = Field(description="Time of the record that told it last")
    made_at: int = Field(description="When it was ordered")
    amount_minor: int | None = Field(None, description="Amount in the currency's smallest unit")
    currency: str | None = Field(None, description="ISO 4217 code")
    due_at: int | None = Field(None, description="When it is to be paid")
    status: str | None = Field(None, description="What the source calls its state")


class Payment(Part):
    """A payment as the ERP tells it. Times are ms since 1970 UTC."""

    record_id: str = Field(description="Its id at the source")
    source: str = Field(description="System that it comes from")
    told_at: int = Field(description="Time of the record that told it last")
    made_at: int = Field(description="When it was paid")
    amount_minor: int | None = Field(None, description="Amount in the currency's smallest unit")
    currency: str | None = Field(None, description="ISO 4217 code")
    status: str | None = Field(None, description="What the source calls its state")


class PaymentPromise(Part):
    """What a customer promised to pay, and what came of it. Times are ms since 1970 UTC."""

    call_id: str = Field(description="Call in which it was said")
    said_at: int = Field(description="When it was said")
    due_at: int = Field(description="End of the promised day, where the customer is")
    amount_minor: int | None = Field(
        None, description="Amount in fen; none: no amount was named, and any payment keeps it"
    )
    state: Literal["open", "kept", "broken", "replaced"] = Field(
        description="As of this version; an open one whose `due_at` has passed is broken"
    )


class CampaignConsent(Part):
    """What a campaign's list says that a customer agreed to. It holds for that campaign alone."""

    campaign_id: str = Field(description="The campaign")
    consent: str = Field(description="The consent's kind; empty: the campaign's own counts")
    until: str = Field(description="When it runs out, ms since 1970 UTC; empty: never")
    told_at: int = Field(description="When the list was loaded, ms since 1970 UTC")


CONSENT, CONSENT_UNTIL = "consent", "consent_until"
"""Attributes that say what a customer agreed to, and until when."""


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
    sources: dict[str, str] = Field(
        default_factory=dict, description="Who told a field last, by its name"
    )
    told_at: dict[str, int] = Field(
        default_factory=dict,
        description="When they did, ms since 1970 UTC; an emptied field is named, too",
    )
    consents: list[CampaignConsent] = Field(
        default_factory=list, description="Consents that lists of campaigns name"
    )
    orders: list[PlacedOrder] = Field(default_factory=list, description="The newest orders")
    payments: list[Payment] = Field(default_factory=list, description="The newest payments")
    payment_promises: list[PaymentPromise] = Field(
        default_factory=list, description="Promises to pay, the newest last"
    )
    merged_into: str | None = Field(None, description="The customer who they are from now on")
    absorbed: list[str] = Field(
        default_factory=list, description="Ids of customers who were merged into this one"
    )

    def within(self, campaign_id: str | None) -> "Profile":
        """The profile as it holds for a campaign: its own list's consent goes first."""
        if not any(c.campaign_id == campaign_id for c in self.consents):
            return self
        consents = (c.model_dump() for c in self.consents)
        found = attributes_within(self.attributes, consents, campaign_id)
        return self.model_copy(update={"attributes": found})


def attributes_within(
    attributes: Mapping[str, str], consents: Iterable[Mapping[str, Any]], campaign_id: str | None
) -> dict[str, str]:
    """A profile's attributes as they hold for a campaign, from its parts as JSON data."""
    found = dict(attributes)
    own = next((c for c in consents if campaign_id and c["campaign_id"] == campaign_id), None)
    if own is not None:
        if own["consent"]:
            found.pop(CONSENT_UNTIL, None)
            found[CONSENT] = own["consent"]
        if own["until"]:
            found[CONSENT_UNTIL] = own["until"]
    return found


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
