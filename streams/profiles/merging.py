"""Two customers who are one person: what is known of both, and where records of the old id go.

A merge is a change at the customer who is absorbed. Their state goes to the other's inbox, and so
does every record of theirs from then on, so each customer is still folded from one inbox in one
order. All of it is pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from schemas import ids
from schemas.events import CustomerChange, ProfileInbox
from schemas.wire import Poison
from streams.profiles.changes import CONVERSATION, fewer, forgotten, last_consents
from streams.profiles.ledger import LedgerEntry, credited, entered, gone_of, latest
from streams.profiles.limits import (
    MAX_ABSORBED,
    MAX_ATTRIBUTES,
    MAX_OPTOUTS,
    MAX_PROMISES,
    MAX_PROMISES_BYTES,
    bounded,
)
from streams.profiles.router import INBOX
from streams.profiles.state import (
    ATTRIBUTE_PREFIX,
    ENDED,
    POOLS,
    Customer,
    FieldOrigin,
    from_text,
    last_numbers,
    to_text,
)

_FIELDS = {
    "name": "name", "level": "level", "purchases": "purchases", "tags": "source_tags",
    "phone": "phone_hash", **{field: field for field in CONVERSATION if field != "promises"},
}  # fmt: skip
"""Attribute of `Customer` by the name under which a field's origin is kept."""

_EMPTY = Customer()


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What was known of a customer who was merged into this one."""

    customer_id: str
    known: Customer


def absorbed_of(body: str) -> Absorbed:
    """The source in an inbox record of that kind; raises Poison."""
    try:
        data = orjson.loads(body)
        return Absorbed(str(data["customer_id"]), from_text(data["known"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Poison(f"body: {type(error).__name__}: {error}"[:500]) from None


def next_of(customer: Customer, inbox: ProfileInbox) -> str | None:
    """The customer to whom a record goes on; None: it is worked here. Customers who were merged
    into each other are the one of the smallest id, where a record that went round stops."""
    target, this = customer.merged_into, inbox.customer_id or ""
    if target is None or target not in inbox.via:
        return target
    smallest = min(this, *inbox.via)
    return None if smallest == this else smallest


def target_of(customer: Customer, change: CustomerChange, customer_id: str) -> str | None:
    """Into whom a change merges this customer; None where it does not, or did so already."""
    target = change.merged_into if change.kind == "merged" else None
    return None if not target or target in (customer_id, *customer.absorbed) else target


def left_behind(customer: Customer, target: str) -> Customer:
    """What stays of a customer at the old id: where they are now."""
    return Customer(
        version=customer.version,
        tenant_id=customer.tenant_id,
        seen=customer.seen,
        as_of=customer.as_of,
        merged_into=target,
    )


def handed_over(
    customer: Customer, inbox: ProfileInbox, target: str, producer: str
) -> ProfileInbox:
    """The inbox record that brings what was known of an absorbed customer to the other."""
    known = replace(customer, seen=())
    body = orjson.dumps({"customer_id": inbox.customer_id, "known": to_text(known)}).decode()
    return _sent_on(inbox, target, producer, "absorbed", {
        "kind": "absorbed", "source_topic": INBOX, "body": body, "via": [inbox.customer_id],
    })  # fmt: skip


def sent_on(inbox: ProfileInbox, target: str, producer: str) -> ProfileInbox:
    """The copy of a record for the customer whom its own one was merged into."""
    return _sent_on(inbox, target, producer, "merged", {"via": [*inbox.via, inbox.customer_id]})


def _sent_on(
    inbox: ProfileInbox, target: str, producer: str, name: str, fields: dict[str, Any]
) -> ProfileInbox:
    event_id = ids.event_id(inbox.event_id, f"{name}/{target}")
    update = {"event_id": event_id, "customer_id": target, "producer": producer, **fields}
    return inbox.model_copy(update=update)


def absorbing(customer: Customer, taken: Absorbed, inbox: ProfileInbox) -> Customer:
    """What is known of both: of each field what was told later, opt-outs and numbers of either,
    calls of both together. Who was deleted after the merge is forgotten under both ids."""
    other = taken.known
    if inbox.occurred_at <= customer.forgotten_at:
        other = forgotten(other, customer.forgotten_at)
    told, fields = dict(customer.told), dict[str, Any]()
    for field, attribute in _FIELDS.items():
        if _theirs(
            customer, other, field, getattr(customer, attribute) == getattr(_EMPTY, attribute)
        ):
            fields[attribute] = getattr(other, attribute)
            _note(told, other, field)
    attributes = dict(customer.attributes)
    for field in (name for name, _ in other.told if name.startswith(ATTRIBUTE_PREFIX)):
        if other.told_at(field) > customer.told_at(field):
            name = field.removeprefix(ATTRIBUTE_PREFIX)
            attributes.pop(name, None)
            if name in dict(other.attributes) and len(attributes) < MAX_ATTRIBUTES:
                attributes[name] = dict(other.attributes)[name]
            _note(told, other, field)
    numbers = dict(customer.numbers)
    for number, at in other.numbers:
        numbers[number] = max(at, numbers.get(number, 0))
    promises = bounded((*customer.promises[::-1], *other.promises[::-1]),
                       MAX_PROMISES, MAX_PROMISES_BYTES)  # fmt: skip
    optouts = dict.fromkeys((*customer.optouts, *other.optouts))
    absorbed = dict.fromkeys((*customer.absorbed, *other.absorbed, taken.customer_id))
    absorbed.pop(inbox.customer_id or "", None)  # two who were merged into each other
    payments = _together(customer.payments, other.payments)
    gone = gone_of((*customer.payments, *other.payments), payments)
    pledges = latest((*customer.pledges, *other.pledges))
    return replace(
        customer,
        **fields,
        promises=promises[::-1],
        attributes=tuple(sorted(attributes.items())),
        told=tuple(sorted(fewer(told, attributes).items(), key=lambda item: item[0])),
        numbers=last_numbers(numbers),
        optouts=tuple(sorted(optouts, key=lambda extent: ":" in extent)[: MAX_OPTOUTS + 1]),
        calls=customer.calls + other.calls,
        answered_calls=customer.answered_calls + other.answered_calls,
        talked_at=_last(customer.talked_at, other.talked_at),
        refused_at=_last(customer.refused_at, other.refused_at),
        active=customer.active or other.active,
        spoke=customer.spoke if customer.active else other.spoke,
        ended=(*other.ended, *customer.ended)[-ENDED:],
        pools=tuple(dict.fromkeys((*other.pools, *customer.pools)))[-POOLS:],
        consents=last_consents((*other.consents, *customer.consents)),
        orders=_together(customer.orders, other.orders),
        payments=payments,
        pledges=credited(pledges, gone, dict(attributes).get("zone", "")),
        forgotten_at=max(customer.forgotten_at, other.forgotten_at),
        as_of=max(customer.as_of, other.as_of),
        absorbed=tuple(absorbed)[-MAX_ABSORBED:],
        merged_into=None,
    )


def _theirs(mine: Customer, other: Customer, field: str, empty: bool) -> bool:
    """Whether the other's field counts: told later, or, where neither names a time, the only
    one."""
    at, theirs = mine.told_at(field), other.told_at(field)
    return theirs > at or (theirs == at == 0 and empty)


def _note(told: dict[str, FieldOrigin], other: Customer, field: str) -> None:
    origin = dict(other.told).get(field)
    if origin is not None:
        told[field] = origin


def _together(
    entries: tuple[LedgerEntry, ...], others: Iterable[LedgerEntry]
) -> tuple[LedgerEntry, ...]:
    for entry in others:
        entries = entered(entries, entry)
    return entries


def _last(a: int | None, b: int | None) -> int | None:
    return max((at for at in (a, b) if at is not None), default=None)
