"""A customer's profile as a fold over `profiles.inbox`, and what follows from each record.

`evolve(customer, record)` and `decide(before, after, record, pools)` are pure; `decide` speaks in
the order in which the events have to be written. The record's own time is the time of all that
follows from it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson
from pydantic import ValidationError

from schemas import ids
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CustomerChange,
    DispatchInbox,
    OptOut,
    Profile,
    ProfileInbox,
    TaskRequested,
    Turn,
)
from schemas.text import from_json, to_json, to_line
from schemas.wire import Poison
from streams.profiles.interest import purchase_intent
from streams.profiles.router import KINDS
from streams.profiles.state import ENDED, POOLS, ActiveCall, Customer

PRODUCER = "profiles"
DEFAULT_POOL = "default"
NOT_TALKED = frozenset({"no_answer", "busy", "failed", "abandoned"})
"""Dispositions of calls in which the customer was not reached, unless they said something."""

MAX_TAGS, MAX_PROMISES, MAX_TEXT = 32, 10, 120
"""Limits of what one profile holds; it travels with every request and call."""

MAX_ATTRIBUTES, ATTRIBUTE = 16, re.compile(r"[a-z][a-z0-9_]{0,39}")
"""So many attributes are kept, by names that a playbook can write."""
LONGEST_ATTRIBUTE = 60
"""Characters; a longer one is a note and no value, and stays in `customers.changes`."""

Output = tuple[str, Event]
Source = TaskRequested | CustomerChange | Turn | CallEvent
"""What a profile is folded from."""


@dataclass(frozen=True, slots=True)
class Record:
    """An inbox record with its source event parsed, and the hash of the phone that it names."""

    inbox: ProfileInbox
    source: Source
    phone_hash: str | None

    @property
    def customer_id(self) -> str:
        """Whose profile it concerns."""
        return self.inbox.customer_id or ""


def parse(inbox: ProfileInbox, site_key: bytes) -> Record:
    """The record of an inbox event; raises Poison with the reason."""
    if not inbox.customer_id:
        raise Poison("no customer_id")
    if inbox.source_topic not in KINDS:
        raise Poison(f"nothing is folded from {inbox.source_topic}")
    try:
        source = from_json(inbox.source_topic, orjson.loads(inbox.body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        raise Poison(f"body: field {where}: {first['msg']}"[:500]) from None
    except (ValueError, TypeError) as error:
        raise Poison(f"body: {type(error).__name__}: {error}"[:500]) from None
    if not isinstance(source, Source):
        raise Poison(f"{inbox.source_topic} holds no {type(source).__name__}")
    phone = source.phone if isinstance(source, TaskRequested | CustomerChange) else None
    return Record(inbox, source, ids.phone_hash(phone, site_key) if phone else None)


def evolve(customer: Customer, record: Record) -> Customer:
    """The customer after a record; the same value when the record was worked before."""
    if customer.knows(record.inbox.event_id):
        return customer
    before = customer
    customer = customer.remember(record.inbox.event_id)
    match record.source:
        case TaskRequested():
            customer = _requested(customer, record.source, record.phone_hash)
        case CustomerChange():
            customer = _changed(customer, record.source, record.phone_hash)
        case Turn():
            customer = _turn(customer, record.source)
        case CallEvent():
            customer = _ended(customer, record.source)
    if customer.facts() != before.facts() or before.version == 0:
        customer = replace(customer, version=before.version + 1, tenant_id=record.inbox.tenant_id)
    return customer


def decide(before: Customer, after: Customer, record: Record, pools: Iterable[str]) -> list[Output]:
    """What follows from a record that led from `before` to `after`. `pools` are all that exist."""
    if before.knows(record.inbox.event_id):
        return []
    inbox, out = record.inbox, list[Output]()
    profile = profile_event(after, record)
    if after.version != before.version:
        out.append(("customers.profiles", profile))
        if isinstance(record.source, CustomerChange) and before.active is not None:
            out.append(("calls.events", _profile_changed(before.active, profile, inbox)))
        out += [
            _to_pool(inbox, "profile", pool, to_line("customers.profiles", profile))
            for pool in after.pools
            if not isinstance(record.source, TaskRequested)
        ]
    if after.opted_out and after.phone_hash is not None:
        # Also for a number that comes to be known only after its owner opted out.
        news = not before.opted_out or after.phone_hash != before.phone_hash
        out += _optout(after.phone_hash, record, {*pools, *after.pools}) if news else []
    if isinstance(record.source, TaskRequested):
        out += _forward(record.source, after, profile, inbox)
    return out


def profile_event(customer: Customer, record: Record) -> Profile:
    """The profile as published. Its id comes from the record that led to it."""
    inbox = record.inbox
    return Profile(
        event_id=ids.event_id(inbox.event_id, "profile"),
        occurred_at=inbox.occurred_at,
        producer=PRODUCER,
        causation_id=inbox.event_id,
        tenant_id=customer.tenant_id,
        customer_id=inbox.customer_id,
        version=customer.version,
        level=customer.level,
        tags=list(customer.tags),
        name=customer.name,
        purchase_intent=customer.purchase_intent,
        last_intent=customer.last_intent,
        last_emotion=customer.last_emotion,
        opted_out=customer.opted_out,
        purchases=customer.purchases,
        promises=list(customer.promises),
        calls=customer.calls,
        answered_calls=customer.answered_calls,
        phone_hash=customer.phone_hash,
        attributes=dict(customer.attributes),
    )


def _requested(customer: Customer, request: TaskRequested, phone_hash: str | None) -> Customer:
    if request.kind != "requested":
        return customer
    pool = request.pool or DEFAULT_POOL
    pools = (*(p for p in customer.pools if p != pool), pool)[-POOLS:]
    return replace(customer, pools=pools, phone_hash=phone_hash or customer.phone_hash)


def _changed(customer: Customer, change: CustomerChange, phone_hash: str | None) -> Customer:
    """What a change does not name stays as it was; of a deleted customer our own facts stay."""
    if change.kind == "deleted":
        return replace(customer, level="normal", source_tags=(), name=None, purchases=0,
                       attributes=())  # fmt: skip
    wish = change.attributes.get("opted_out", "").lower()
    tags = tuple(dict.fromkeys(_short(tag) for tag in change.tags))[:MAX_TAGS]
    return replace(
        customer,
        level=_short(change.level or customer.level),
        source_tags=tags or customer.source_tags,
        name=_short(change.name) if change.name else customer.name,
        purchases=customer.purchases if change.purchases is None else change.purchases,
        phone_hash=phone_hash or customer.phone_hash,
        opted_out=customer.opted_out or wish in ("true", "1", "yes"),
        attributes=_attributes(customer, change),
    )


def _attributes(customer: Customer, change: CustomerChange) -> tuple[tuple[str, str], ...]:
    """Attributes after a change. One that became empty, or too long to be a value, is dropped:
    its old value would be wrong."""
    known = dict(customer.attributes)
    for name in change.cleared:
        known.pop(name, None)
    for name, value in sorted(change.attributes.items()):
        if name == "opted_out" or not ATTRIBUTE.fullmatch(name):
            continue
        known.pop(name, None)
        text = value.strip()
        if text and len(text) <= LONGEST_ATTRIBUTE and len(known) < MAX_ATTRIBUTES:
            known[name] = text
    return tuple(sorted(known.items()))


def _turn(customer: Customer, turn: Turn) -> Customer:
    if turn.call_id and turn.call_id not in customer.ended:
        same = customer.active is not None and customer.active.call_id == turn.call_id
        customer = replace(
            customer,
            active=ActiveCall(
                turn.call_id, turn.task_id, turn.campaign_id, turn.pool, turn.robot_id
            ),
            spoke=(same and customer.spoke) or bool(turn.text),
        )
    heard = turn.input_kind == "final" and bool(turn.text)
    return replace(
        customer,
        purchase_intent=purchase_intent(customer.purchase_intent, turn),
        last_intent=turn.intent or customer.last_intent,
        last_emotion=turn.emotion if heard else customer.last_emotion,
        opted_out=customer.opted_out or turn.outcome == "opted_out",
        promises=_promised(customer.promises, turn),
    )


def _promised(promises: tuple[str, ...], turn: Turn) -> tuple[str, ...]:
    """What we said we would do: a slot named `promise…`, or the outcome that we call again."""
    said = [value for name, value in sorted(turn.slots.items()) if name.startswith("promise")]
    if turn.outcome == "callback":
        when = turn.slots.get("time", "")
        said.append(f"callback {when}".strip())
    for text in map(_short, said):
        if text:
            promises = (*(p for p in promises if p != text), text)
    return promises[-MAX_PROMISES:]


def _ended(customer: Customer, call: CallEvent) -> Customer:
    call_id = call.call_id or ""
    if call_id in customer.ended:
        return customer  # the first end of a call counts
    was_on = customer.active is not None and customer.active.call_id == call_id
    talked = (was_on and customer.spoke) or (
        call.disposition is not None and call.disposition not in NOT_TALKED
    )
    return replace(
        customer,
        calls=customer.calls + 1,
        answered_calls=customer.answered_calls + int(talked),
        opted_out=customer.opted_out or call.disposition == "opted_out",
        active=None if was_on else customer.active,
        spoke=customer.spoke and not was_on,
        ended=(*customer.ended, call_id)[-ENDED:],
    )


def _forward(
    request: TaskRequested, customer: Customer, profile: Profile, inbox: ProfileInbox
) -> list[Output]:
    """A request goes to its pool with the newest profile; a cancellation to wherever it may be."""
    body = {
        "request": to_json("tasks.requested", request),
        "profile": to_json("customers.profiles", profile),
    }
    text = orjson.dumps(body).decode()
    if request.kind == "requested":
        return [_to_pool(inbox, "request", request.pool or DEFAULT_POOL, text)]
    pools = (request.pool,) if request.pool else customer.pools or (DEFAULT_POOL,)
    return [_to_pool(inbox, "cancel", pool, text) for pool in pools]


def _optout(phone_hash: str, record: Record, pools: set[str]) -> list[Output]:
    inbox, source = record.inbox, record.source
    optout = OptOut(
        event_id=ids.event_id(inbox.event_id, "opted_out"),
        kind="opted_out",
        occurred_at=inbox.occurred_at,
        producer=PRODUCER,
        causation_id=inbox.event_id,
        tenant_id=inbox.tenant_id,
        call_id=source.call_id,
        task_id=source.task_id,
        customer_id=inbox.customer_id,
        campaign_id=source.campaign_id,
        phone_hash=phone_hash,
        reason="said so in a call" if isinstance(source, Turn | CallEvent) else "customer's record",
    )
    text = to_line("compliance.optouts", optout)
    copies = [
        _to_pool(inbox, "opted_out", pool, text, "compliance.optouts") for pool in sorted(pools)
    ]
    return [("compliance.optouts", optout), *copies]


def _profile_changed(call: ActiveCall, profile: Profile, inbox: ProfileInbox) -> CallEvent:
    return CallEvent(
        event_id=ids.event_id(inbox.event_id, "profile_changed"),
        kind="profile_changed",
        occurred_at=inbox.occurred_at,
        producer=PRODUCER,
        causation_id=inbox.event_id,
        tenant_id=inbox.tenant_id,
        call_id=call.call_id,
        task_id=call.task_id,
        customer_id=inbox.customer_id,
        campaign_id=call.campaign_id,
        pool=call.pool,
        robot_id=call.robot_id,
        source=PRODUCER,
        profile=to_line("customers.profiles", profile),
        profile_version=profile.version,
    )


def _to_pool(
    inbox: ProfileInbox, kind: str, pool: str, body: str, source_topic: str | None = None
) -> Output:
    record = DispatchInbox.model_validate(
        {
            "event_id": ids.event_id(inbox.event_id, f"{kind}/{pool}"),
            "kind": kind,
            "occurred_at": inbox.occurred_at,
            "producer": PRODUCER,
            "causation_id": inbox.event_id,
            "tenant_id": inbox.tenant_id,
            "task_id": inbox.task_id,
            "customer_id": inbox.customer_id,
            "campaign_id": inbox.campaign_id,
            "pool": pool,
            "source_topic": source_topic or inbox.source_topic,
            "body": body,
        }
    )
    return "dispatch.inbox", record


def _short(text: str) -> str:
    return text[:MAX_TEXT]
