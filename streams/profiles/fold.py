"""A customer's profile as a fold over `profiles.inbox`, and what follows from each record.

`evolve(customer, given)` and `decide(before, after, given)` are pure; `decide` returns events in
the order to write them. All events carry the time of their record.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from pydantic import ValidationError

from ringlog.dispositions import MEDIA_FAULTS, NOT_A_PERSON
from schemas import ids
from schemas.donotcall import GLOBAL, extent_of
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CampaignConsent,
    CustomerChange,
    DispatchInbox,
    OptOut,
    Payment,
    PaymentPromise,
    PlacedOrder,
    Profile,
    ProfileInbox,
    TaskRequested,
    Turn,
)
from schemas.phone import InvalidNumber, Numbers, e164
from schemas.text import from_json, to_json, to_line
from schemas.wire import Poison
from streams.profiles.changes import changed
from streams.profiles.interest import purchase_intent
from streams.profiles.ledger import LedgerEntry, pledge_of, pledged
from streams.profiles.limits import MAX_PROMISES, MAX_PROMISES_BYTES, bounded, short
from streams.profiles.merging import (
    Absorbed,
    absorbed_of,
    absorbing,
    handed_over,
    left_behind,
    next_of,
    sent_on,
    target_of,
)
from streams.profiles.router import INBOX, KINDS
from streams.profiles.state import ENDED, POOLS, ActiveCall, Customer, FieldOrigin

PRODUCER = "profiles"
DEFAULT_POOL = "default"
UNCLEAR, NEUTRAL = "unclear", "neutral"
"""A turn's intent where nothing known was meant, and its emotion where none was heard."""

ANSWERER = frozenset({"amd", "answerer"})
"""Inputs that are no words of a customer."""

NOT_TALKED = NOT_A_PERSON | MEDIA_FAULTS | {"no_answer", "busy", "failed", "abandoned"}
"""Dispositions of calls in which the customer was not reached, unless they said something."""

Output = tuple[str, Event]
Source = TaskRequested | CustomerChange | Turn | CallEvent | OptOut | Absorbed
"""What a profile is folded from."""


@dataclass(frozen=True, slots=True)
class ProfileInput:
    """An inbox record with its parsed source event and the hash of its phone; `invalid` says why
    that number cannot be called."""

    inbox: ProfileInbox
    source: Source
    phone_hash: str | None
    invalid: str | None = None

    @property
    def customer_id(self) -> str:
        """Whose profile it concerns."""
        return self.inbox.customer_id or ""


def parse(inbox: ProfileInbox, numbers: Numbers) -> ProfileInput:
    """The input that an inbox record holds; raises Poison with the reason."""
    if not inbox.customer_id:
        raise Poison("no customer_id")
    if inbox.kind == "absorbed":
        return ProfileInput(inbox, absorbed_of(inbox.body), None)
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
    if not phone:
        return ProfileInput(inbox, source, None)
    try:
        return ProfileInput(inbox, source, numbers.hash(e164(phone, numbers.region)))
    except InvalidNumber as why:
        return ProfileInput(inbox, source, None, str(why))


def evolve(customer: Customer, given: ProfileInput) -> Customer:
    """The customer after a record; unchanged when the record was processed before."""
    if customer.knows(given.inbox.event_id):
        return customer
    before = customer
    customer = customer.remember(given.inbox.event_id)
    if next_of(customer, given.inbox) is not None:
        return customer
    customer = replace(customer, merged_into=None)
    customer = replace(customer, as_of=max(customer.as_of, given.inbox.occurred_at))
    match given.source:
        case TaskRequested():
            customer = _requested(customer, given.source, given.phone_hash)
        case CustomerChange():
            customer = _changed(customer, given.source, given)
        case Turn():
            customer = _turn(customer, given.source)
        case CallEvent(kind="ended"):
            customer = _ended(customer, given.source)
        case CallEvent():
            customer = _came_in(customer, given.source)
        case OptOut():
            customer = _listed(customer, given.source)
        case Absorbed():
            customer = absorbing(customer, given.source, given.inbox)
    if customer.facts() != before.facts() or before.version == 0:
        customer = replace(
            customer, version=_version(before, given) + 1, tenant_id=given.inbox.tenant_id
        )
    return customer


def _version(before: Customer, given: ProfileInput) -> int:
    """The version that the next one follows. Tasks of an absorbed customer know the versions of
    that one, and take only newer ones."""
    source = given.source
    return max(before.version, source.known.version if isinstance(source, Absorbed) else 0)


def decide(before: Customer, after: Customer, given: ProfileInput) -> list[Output]:
    """The events caused by an input that led from `before` to `after`."""
    if before.knows(given.inbox.event_id):
        return []
    inbox, out = given.inbox, list[Output]()
    target = next_of(before, inbox)
    if target is not None:
        return [(INBOX, sent_on(inbox, target, PRODUCER))]
    profile = profile_event(after, given)
    if after.merged_into is not None:
        passed = handed_over(before, inbox, after.merged_into, PRODUCER)
        return [("customers.profiles", profile), (INBOX, passed)]
    if after.version != before.version:
        out.append(("customers.profiles", profile))
        if isinstance(given.source, CustomerChange | Absorbed) and after.active is not None:
            out.append(("calls.events", _profile_changed(after.active, profile, inbox)))
        # A request brings its own copy; other tasks hear of what its time alone has decided.
        if not isinstance(given.source, TaskRequested) or after.promised != before.promised:
            out += _to_pools(after, lean(profile), inbox)
    if after.active is not None and _is_coming_in(given.source, after.active):
        out.append(("calls.events", _profile_changed(after.active, profile, inbox)))
    out += _optouts(before, after, given)
    if isinstance(given.source, TaskRequested):
        out += _forward(given.source, after, profile, inbox)
    return out


def _to_pools(customer: Customer, profile: Profile, inbox: ProfileInbox) -> list[Output]:
    """The profile for tasks that wait, also for those of customers who were merged into this
    one."""
    out = list[Output]()
    for customer_id in (inbox.customer_id, *customer.absorbed):
        named = profile.model_copy(update={"customer_id": customer_id})
        body = to_line("customers.profiles", named)
        out += [_to_pool(inbox, "profile", pool, body, customer_id) for pool in customer.pools]
    return out


def profile_event(customer: Customer, given: ProfileInput) -> Profile:
    """The profile as published. Its id comes from the record that led to it."""
    inbox = given.inbox
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
        opted_out_in=list(customer.optouts),
        purchases=customer.purchases,
        promises=list(customer.promises),
        calls=customer.calls,
        answered_calls=customer.answered_calls,
        phone_hash=customer.phone_hash,
        attributes=customer.published_attributes,
        sources={field: told.source for field, told in customer.told},
        told_at={field: told.at for field, told in customer.told},
        consents=[CampaignConsent(**asdict(c)) for c in customer.consents],
        orders=[PlacedOrder(**asdict(order)) for order in customer.orders],
        payments=[_payment(payment) for payment in customer.payments],
        payment_promises=[
            PaymentPromise(
                call_id=pledge.call_id,
                said_at=pledge.said_at,
                due_at=pledge.due_at(customer.zone),
                amount_minor=pledge.amount_minor,
                state=state,
            )
            for pledge, state in customer.promised
        ],
        merged_into=customer.merged_into,
        absorbed=list(customer.absorbed),
    )


def lean(profile: Profile) -> Profile:
    """The profile as requests and calls carry it: without what neither dispatch nor robots ask."""
    aside: dict[str, Any] = {"sources": {}, "told_at": {}}
    aside |= {"orders": [], "payments": [], "absorbed": []}
    return profile.model_copy(update=aside)


def _payment(entry: LedgerEntry) -> Payment:
    fields = asdict(entry)
    del fields["due_at"]
    return Payment(**fields)


def _changed(customer: Customer, change: CustomerChange, given: ProfileInput) -> Customer:
    target = target_of(customer, change, given.customer_id)
    if target is not None:
        return left_behind(customer, target)
    if change.kind == "deleted" and change.customer_id != given.customer_id:
        return customer  # a CRM deletes the row that it has merged into another
    return changed(customer, change, given.phone_hash)


def _requested(customer: Customer, request: TaskRequested, phone_hash: str | None) -> Customer:
    if request.kind != "requested":
        return customer
    pool = request.pool or DEFAULT_POOL
    pools = (*(p for p in customer.pools if p != pool), pool)[-POOLS:]
    customer = replace(customer, pools=pools)
    if phone_hash is None:
        return customer
    return customer.reached_by(phone_hash, FieldOrigin("request", request.occurred_at))


def _listed(customer: Customer, optout: OptOut) -> Customer:
    """The do-not-call list names this customer. An undo holds only for the number it names: other
    numbers have entries of their own."""
    extent = extent_of(optout)
    if optout.kind == "opted_out":
        return customer.barred_in(extent)
    return replace(customer, optouts=tuple(e for e in customer.optouts if e != extent))


def _turn(customer: Customer, turn: Turn) -> Customer:
    if turn.call_id and turn.call_id not in customer.ended:
        same = customer.active is not None and customer.active.call_id == turn.call_id
        customer = replace(
            customer,
            active=ActiveCall(
                turn.call_id, turn.task_id, turn.campaign_id, turn.pool, turn.robot_id,
                turn.customer_id,
            ),
            spoke=(same and customer.spoke)
            or (turn.input_kind not in ANSWERER and bool(turn.text)),
        )  # fmt: skip
    if turn.outcome == "opted_out" or turn.meaning == "opt_out":
        customer = customer.barred_in(GLOBAL)
    if turn.meaning == "reject":
        customer = replace(customer, refused_at=_later(customer.refused_at, turn.occurred_at))
    return customer if turn.occurred_at < customer.forgotten_at else _said(customer, turn)


def _said(customer: Customer, turn: Turn) -> Customer:
    """What the turn tells of the customer's mind."""
    told = FieldOrigin("call", turn.occurred_at)
    named: dict[str, Any] = {
        "purchase_intent": purchase_intent(customer.purchase_intent, turn),
        "promises": _promised(customer.promises, turn),
    }
    named = {field: value for field, value in named.items() if value != getattr(customer, field)}
    understood = turn.intent not in ("", UNCLEAR)
    # Words that mean nothing known, a machine's among them, tell nothing of the customer.
    if understood and (intent := short(turn.intent)):
        named["last_intent"] = intent
    if turn.input_kind == "final" and turn.text and (understood or turn.emotion != NEUTRAL):
        named["last_emotion"] = short(turn.emotion)
    for field, value in named.items():
        if customer.heeds(field, told.at):
            customer = replace(customer, **{field: value}).noting(field, told)
    pledge = pledge_of(turn)
    if pledge is not None:
        customer = replace(customer, pledges=pledged(customer.pledges, pledge))
    return customer


def _later(known: int | None, at: int) -> int:
    return max(known or 0, at)


def _promised(promises: tuple[str, ...], turn: Turn) -> tuple[str, ...]:
    """What we said we would do: a slot named `promise…`, or the outcome that we call again."""
    said = [value for name, value in sorted(turn.slots.items()) if name.startswith("promise")]
    if turn.outcome == "callback":
        when = turn.slots.get("time", "")
        said.append(f"callback {when}".strip())
    for text in map(short, said):
        if text:
            promises = (*(p for p in promises if p != text), text)
    return tuple(reversed(bounded(reversed(promises), MAX_PROMISES, MAX_PROMISES_BYTES)))


def _is_coming_in(source: Source, active: ActiveCall) -> bool:
    call = source if isinstance(source, CallEvent) and source.kind != "ended" else None
    return call is not None and call.call_id == active.call_id


def _came_in(customer: Customer, call: CallEvent) -> Customer:
    """The customer has called us: the robot that answers is told who they are."""
    if not call.call_id or call.call_id in customer.ended:
        return customer
    active = ActiveCall(call.call_id, call.task_id, call.campaign_id, call.pool, call.robot_id)
    return replace(customer, active=active, spoke=False)


def _ended(customer: Customer, call: CallEvent) -> Customer:
    call_id = call.call_id or ""
    if call_id in customer.ended:
        return customer  # the first end of a call counts
    was_on = customer.active is not None and customer.active.call_id == call_id
    spoke = was_on and customer.spoke and call.disposition not in NOT_A_PERSON
    if call.disposition == "opted_out":
        customer = customer.barred_in(GLOBAL)
    talked = spoke or (call.disposition is not None and call.disposition not in NOT_TALKED)
    return replace(
        customer,
        calls=customer.calls + 1,
        answered_calls=customer.answered_calls + int(talked),
        talked_at=_later(customer.talked_at, call.occurred_at) if talked else customer.talked_at,
        active=None if was_on else customer.active,
        spoke=customer.spoke and not was_on,
        ended=(*customer.ended, call_id)[-ENDED:],
    )


def _forward(
    request: TaskRequested, customer: Customer, profile: Profile, inbox: ProfileInbox
) -> list[Output]:
    """A request goes to its pool with the newest profile; a cancellation to all pools that may have
    it."""
    body = {
        "request": to_json("tasks.requested", request),
        "profile": to_json("customers.profiles", lean(profile)),
    }
    text = orjson.dumps(body).decode()
    if request.kind == "requested":
        return [_to_pool(inbox, "request", request.pool or DEFAULT_POOL, text)]
    pools = (request.pool,) if request.pool else customer.pools or (DEFAULT_POOL,)
    return [_to_pool(inbox, "cancel", pool, text) for pool in pools]


def _optouts(before: Customer, after: Customer, given: ProfileInput) -> list[Output]:
    """Opt-outs that the do-not-call list lacks: every opt-out on every number of the customer, also
    on one that we learn only afterwards."""
    inbox, source = given.inbox, given.source
    told = {(extent, number) for extent in before.optouts for number, _ in before.numbers}
    if isinstance(source, OptOut):
        told.add((extent_of(source), source.phone_hash))
    news = [
        (extent, number)
        for extent in after.optouts
        for number, _ in reversed(after.numbers)
        if (extent, number) not in told
    ]
    why, where, who = _reason(given, new=after.optouts != before.optouts)
    out = list[Output]()
    for n, (extent, number) in enumerate(news):
        scope, _, name = extent.partition(":")
        optout = OptOut.model_validate(
            {
                "event_id": ids.event_id(inbox.event_id, "opted_out", n),
                "kind": "opted_out",
                "occurred_at": inbox.occurred_at,
                "producer": PRODUCER,
                "causation_id": inbox.event_id,
                "tenant_id": name if scope == "tenant" else inbox.tenant_id,
                "call_id": inbox.call_id,
                "task_id": inbox.task_id,
                "customer_id": inbox.customer_id,
                "campaign_id": name if scope == "campaign" else inbox.campaign_id,
                "phone_hash": number,
                "scope": scope,
                "reason": why,
                "source": where,
                "actor": who,
            }
        )
        out.append(("compliance.optouts", optout))
    return out


def _reason(given: ProfileInput, new: bool) -> tuple[str, str, str | None]:
    """Reason, source and actor of an opt-out."""
    source = given.source
    if not new:
        return "the customer's other number", PRODUCER, None
    match source:
        case OptOut():
            return source.reason, source.source, source.actor
        case CustomerChange():
            return "customer's record", "crm", short(source.source)
        case Absorbed():
            return f"opted out as customer {source.customer_id}", PRODUCER, None
        case _:
            return "said so in a call", "voice", "customer"


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
        customer_id=call.customer_id or inbox.customer_id,
        campaign_id=call.campaign_id,
        pool=call.pool,
        robot_id=call.robot_id,
        source=PRODUCER,
        profile=to_line("customers.profiles", lean(profile)),
        profile_version=profile.version,
    )


def _to_pool(
    inbox: ProfileInbox, kind: str, pool: str, body: str, customer_id: str | None = None
) -> Output:
    absorbed = customer_id is not None and customer_id != inbox.customer_id
    name = f"{kind}/{pool}/{customer_id}" if absorbed else f"{kind}/{pool}"
    record = DispatchInbox.model_validate(
        {
            "event_id": ids.event_id(inbox.event_id, name),
            "kind": kind,
            "occurred_at": inbox.occurred_at,
            "producer": PRODUCER,
            "causation_id": inbox.event_id,
            "tenant_id": inbox.tenant_id,
            "task_id": inbox.task_id,
            "customer_id": customer_id or inbox.customer_id,
            "campaign_id": inbox.campaign_id,
            "pool": pool,
            "source_topic": inbox.source_topic,
            "body": body,
        }
    )
    return "dispatch.inbox", record
