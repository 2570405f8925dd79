"""What a record of a CRM, an ERP or a campaign's list makes of a customer. Pure.

Each field keeps who told it last and when. What was told later counts, whichever record arrives
first; of two of one time, the one that arrives later.
"""

from dataclasses import replace
from typing import Any

from schemas.donotcall import GLOBAL
from schemas.events import CustomerChange
from schemas.events.customers import CONSENT, CONSENT_UNTIL
from streams.profiles.ledger import credited, entered, entry_of, gone_of
from streams.profiles.limits import (
    ATTRIBUTE,
    LONGEST_ATTRIBUTE,
    LONGEST_SOURCE,
    MAX_ATTRIBUTES,
    MAX_CONSENTS,
    MAX_CONSENTS_BYTES,
    MAX_EMPTIED,
    MAX_TAGS,
    MAX_TAGS_BYTES,
    bounded,
    short,
)
from streams.profiles.state import ATTRIBUTE_PREFIX, Customer, FieldOrigin, ListConsent

OPTED_OUT = "opted_out"
"""The attribute by which a CRM says that somebody must not be called."""

OWN = frozenset({"name", "phone", "level", "tags", "purchases"})
"""Fields of a change that are no attributes."""

CONVERSATION = ("purchase_intent", "last_intent", "last_emotion", "promises")
"""Fields that calls tell."""

_EMPTY = Customer()


def changed(customer: Customer, change: CustomerChange, phone_hash: str | None) -> Customer:
    """The customer after a change. Fields that it does not name stay as they were, unless it lists
    them in `cleared`."""
    if change.kind == "deleted":
        return forgotten(customer, change.occurred_at)
    if change.occurred_at < customer.forgotten_at:
        return customer
    where = f"{change.source}/{change.table}" if change.table else change.source
    told = FieldOrigin(short(where, LONGEST_SOURCE), change.occurred_at)
    customer = _entered(customer, change)
    customer = _fields(customer, change, told)
    customer = _phoned(customer, change, phone_hash, told)
    if change.campaign_id:
        customer = _consented(customer, change, change.campaign_id)
    customer = _attributes(customer, change, told)
    wish = change.attributes.get(OPTED_OUT, "").strip().lower()
    return customer.barred_in(GLOBAL) if wish in ("true", "1", "yes") else customer


def _entered(customer: Customer, change: CustomerChange) -> Customer:
    entry = entry_of(change) if change.kind in ("order", "payment") else None
    if entry is None:
        return customer
    if change.kind == "order":
        return replace(customer, orders=entered(customer.orders, entry))
    payments = entered(customer.payments, entry)
    gone = gone_of(customer.payments, payments)
    pledges = credited(customer.pledges, gone, customer.zone)
    return replace(customer, payments=payments, pledges=pledges)


def _fields(customer: Customer, change: CustomerChange, told: FieldOrigin) -> Customer:
    """Name, level, purchases and tags."""
    named: dict[str, Any] = {
        "level": short(change.level or "") or None,
        "name": short(change.name or "") or None,
        "purchases": change.purchases,
        "source_tags": bounded(change.tags, MAX_TAGS, MAX_TAGS_BYTES) or None,
    }
    for attribute, value in named.items():
        field = attribute.removeprefix("source_")
        if value is None and field not in change.cleared:
            continue
        if customer.heeds(field, told.at):
            new = getattr(_EMPTY, attribute) if value is None else value
            customer = replace(customer, **{attribute: new}).noting(field, told)
    return customer


def _phoned(
    customer: Customer, change: CustomerChange, phone_hash: str | None, told: FieldOrigin
) -> Customer:
    if phone_hash is not None:
        return customer.reached_by(phone_hash, told)
    empties = "phone" in change.cleared and not customer.optouts
    if empties and customer.heeds("phone", told.at):
        return replace(customer, phone_hash=None).noting("phone", told)
    return customer


def _consented(customer: Customer, change: CustomerChange, campaign_id: str) -> Customer:
    """What a campaign's list says of consent holds for that campaign alone."""
    consent, until = (
        short(change.attributes.get(name, "").strip(), 32) for name in (CONSENT, CONSENT_UNTIL)
    )
    own = next((c for c in customer.consents if c.campaign_id == campaign_id), None)
    if not (consent or until) or (own is not None and own.told_at > change.occurred_at):
        return customer
    new = ListConsent(campaign_id, consent, until, change.occurred_at)
    return replace(customer, consents=last_consents((*customer.consents, new)))


def last_consents(consents: tuple[ListConsent, ...]) -> tuple[ListConsent, ...]:
    """The last one of each campaign, as many as a profile keeps, the oldest first."""
    by_campaign = {c.campaign_id: c for c in sorted(consents, key=lambda c: c.told_at)}
    newest = sorted(by_campaign.values(), key=lambda c: (c.told_at, c.campaign_id), reverse=True)
    room, kept = MAX_CONSENTS_BYTES, list[ListConsent]()
    for consent in newest[:MAX_CONSENTS]:
        room -= len(consent.campaign_id.encode())
        if room < 0:
            break
        kept.append(consent)
    return tuple(reversed(kept))


def _attributes(customer: Customer, change: CustomerChange, told: FieldOrigin) -> Customer:
    """Attributes after a change. One that became empty, or too long to be a value, is dropped:
    its old value would be wrong."""
    given = dict.fromkeys(change.cleared, "") | change.attributes
    aside = {OPTED_OUT, *((CONSENT, CONSENT_UNTIL) if change.campaign_id else ())}
    known, times = dict(customer.attributes), dict(customer.told)
    for name, value in sorted(given.items()):
        field = ATTRIBUTE_PREFIX + name
        if name in aside or not ATTRIBUTE.fullmatch(name) or not customer.heeds(field, told.at):
            continue
        text = value.strip()
        keeps = bool(text) and len(text) <= LONGEST_ATTRIBUTE
        if keeps and name not in known and len(known) >= MAX_ATTRIBUTES:
            continue
        if name in OWN and name not in change.attributes and name not in known:
            continue
        known.pop(name, None)
        if keeps:
            known[name] = short(text)
        times[field] = told
    return replace(
        customer,
        attributes=tuple(sorted(known.items())),
        told=tuple(sorted(fewer(times, known).items(), key=lambda item: item[0])),
    )


def fewer(times: dict[str, FieldOrigin], known: dict[str, str]) -> dict[str, FieldOrigin]:
    """Fields' origins without those of attributes that were emptied longest ago."""
    emptied = [f for f in times if f.startswith(ATTRIBUTE_PREFIX)
               and f.removeprefix(ATTRIBUTE_PREFIX) not in known]  # fmt: skip
    emptied.sort(key=lambda field: (times[field].at, field))
    gone = set(emptied[: max(0, len(emptied) - MAX_EMPTIED)])
    return {field: told for field, told in times.items() if field not in gone}


def forgotten(customer: Customer, at: int) -> Customer:
    """What is kept of a deleted customer: how often we called, since when the law leaves them in
    peace and, if they must not be called or are on a call right now, their numbers' hashes, which
    keep them protected. What was told after the deletion stays. Nothing else about who they are,
    what they bought, said or promised."""
    if at < customer.forgotten_at:
        return customer
    protected = bool(customer.optouts) or customer.active is not None
    stays = {field for field, told in customer.told if told.at > at}

    def kept(attribute: str, field: str) -> Any:
        return getattr(customer if field in stays else _EMPTY, attribute)

    fields = {name: kept(name, name) for name in ("level", "name", "purchases", *CONVERSATION)}
    return replace(
        customer,
        **fields,
        source_tags=kept("source_tags", "tags"),
        attributes=tuple(a for a in customer.attributes if ATTRIBUTE_PREFIX + a[0] in stays),
        phone_hash=customer.phone_hash if protected or "phone" in stays else None,
        numbers=tuple(n for n in customer.numbers if protected or n[1] > at),
        told=tuple(each for each in customer.told if each[1].at > at),
        consents=tuple(c for c in customer.consents if c.told_at > at),
        orders=tuple(o for o in customer.orders if o.told_at > at),
        payments=tuple(p for p in customer.payments if p.told_at > at),
        pledges=tuple(p for p in customer.pledges if p.said_at > at),
        forgotten_at=at,
    )
