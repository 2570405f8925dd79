"""A customer's profile as a fold over `profiles.inbox`, and what follows from each record.

`evolve(customer, given)` and `decide(before, after, given)` are pure; `decide` returns events in
the order to write them. All events carry the time of their record.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson
from pydantic import ValidationError

from ringlog.dispositions import MEDIA_FAULTS, NOT_A_PERSON
from schemas import ids
from schemas.donotcall import GLOBAL, extent_of
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
from schemas.phone import InvalidNumber, Numbers, e164
from schemas.text import from_json, to_json, to_line
from schemas.wire import Poison
from streams.profiles.interest import purchase_intent
from streams.profiles.router import KINDS
from streams.profiles.state import ENDED, POOLS, ActiveCall, Customer

PRODUCER = "profiles"
DEFAULT_POOL = "default"
UNCLEAR, NEUTRAL = "unclear", "neutral"
"""A turn's intent where nothing known was meant, and its emotion where none was heard."""

ANSWERER = frozenset({"amd", "answerer"})
"""Inputs that are no words of a customer."""

NOT_TALKED = NOT_A_PERSON | MEDIA_FAULTS | {"no_answer", "busy", "failed", "abandoned"}
"""Dispositions of calls in which the customer was not reached, unless they said something."""

MAX_TAGS, MAX_PROMISES, MAX_TEXT = 32, 10, 120
"""Limits of what one profile holds; it travels with every request and call. Texts in characters."""

MAX_OPTOUTS = 16
"""Campaigns and tenants of opt-outs that one profile names; the list itself has all."""

MAX_TAGS_BYTES, MAX_PROMISES_BYTES = 4_096, 2_048
"""The same in bytes of UTF-8, all together."""

MAX_ATTRIBUTES, ATTRIBUTE = 16, re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Attributes kept, by names that a playbook can write."""
LONGEST_ATTRIBUTE = 60
"""Characters; a longer one is a note and no value, and stays in `customers.changes`."""

Output = tuple[str, Event]
Source = TaskRequested | CustomerChange | Turn | CallEvent | OptOut
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
    match given.source:
        case TaskRequested():
            customer = _requested(customer, given.source, given.phone_hash)
        case CustomerChange():
            customer = _changed(customer, given.source, given.phone_hash)
        case Turn():
            customer = _turn(customer, given.source)
        case CallEvent():
            customer = _ended(customer, given.source)
        case OptOut():
            customer = _listed(customer, given.source)
    if customer.facts() != before.facts() or before.version == 0:
        customer = replace(customer, version=before.version + 1, tenant_id=given.inbox.tenant_id)
    return customer


def decide(before: Customer, after: Customer, given: ProfileInput) -> list[Output]:
    """The events caused by an input that led from `before` to `after`."""
    if before.knows(given.inbox.event_id):
        return []
    inbox, out = given.inbox, list[Output]()
    profile = profile_event(after, given)
    if after.version != before.version:
        out.append(("customers.profiles", profile))
        if isinstance(given.source, CustomerChange) and before.active is not None:
            out.append(("calls.events", _profile_changed(before.active, profile, inbox)))
        out += [
            _to_pool(inbox, "profile", pool, to_line("customers.profiles", profile))
            for pool in after.pools
            if not isinstance(given.source, TaskRequested)
        ]
    out += _optouts(before, after, given)
    if isinstance(given.source, TaskRequested):
        out += _forward(given.source, after, profile, inbox)
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
    )


def _requested(customer: Customer, request: TaskRequested, phone_hash: str | None) -> Customer:
    if request.kind != "requested":
        return customer
    pool = request.pool or DEFAULT_POOL
    pools = (*(p for p in customer.pools if p != pool), pool)[-POOLS:]
    return replace(customer, pools=pools, phone_hash=phone_hash or customer.phone_hash)


def _changed(customer: Customer, change: CustomerChange, phone_hash: str | None) -> Customer:
    """Fields that a change does not name stay as they were, unless listed in `cleared`."""
    if change.kind == "deleted":
        return _forgotten(customer)
    cleared = frozenset(change.cleared)
    wish = change.attributes.get("opted_out", "").lower()
    customer = replace(
        customer,
        level="normal" if "level" in cleared else customer.level,
        source_tags=() if "tags" in cleared else customer.source_tags,
        name=None if "name" in cleared else customer.name,
        purchases=0 if "purchases" in cleared else customer.purchases,
    )
    if "phone" in cleared and not customer.optouts:
        customer = replace(customer, phone_hash=None)
    return replace(
        customer,
        level=_short(change.level or "") or customer.level,
        source_tags=_bounded(change.tags, MAX_TAGS, MAX_TAGS_BYTES) or customer.source_tags,
        name=_short(change.name or "") or customer.name,
        purchases=customer.purchases if change.purchases is None else change.purchases,
        phone_hash=phone_hash or customer.phone_hash,
        optouts=_with(customer.optouts, GLOBAL if wish in ("true", "1", "yes") else None),
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
            known[name] = _short(text)
    return tuple(sorted(known.items()))


def _forgotten(customer: Customer) -> Customer:
    """What is kept of a deleted customer: how often we called, since when the law leaves them in
    peace and, if they must not be called or are on a call right now, the number's hash, which keeps
    them protected. Nothing about who they are, what they bought, said or promised."""
    protected = bool(customer.optouts) or customer.active is not None
    return Customer(
        version=customer.version,
        tenant_id=customer.tenant_id,
        optouts=customer.optouts,
        phone_hash=customer.phone_hash if protected else None,
        calls=customer.calls,
        answered_calls=customer.answered_calls,
        talked_at=customer.talked_at,
        refused_at=customer.refused_at,
        active=customer.active,
        spoke=customer.spoke,
        seen=customer.seen,
        ended=customer.ended,
        pools=customer.pools,
    )


def _listed(customer: Customer, optout: OptOut) -> Customer:
    """The do-not-call list names this customer. An undo holds only for the number it names: other
    numbers have entries of their own."""
    extent = extent_of(optout)
    if optout.kind == "opted_out":
        return replace(customer, optouts=_with(customer.optouts, extent))
    return replace(customer, optouts=tuple(e for e in customer.optouts if e != extent))


def _with(optouts: tuple[str, ...], extent: str | None) -> tuple[str, ...]:
    if extent is None or extent in optouts:
        return optouts
    return (*optouts, extent)[-MAX_OPTOUTS:] if extent != GLOBAL else (GLOBAL, *optouts)


def _turn(customer: Customer, turn: Turn) -> Customer:
    if turn.call_id and turn.call_id not in customer.ended:
        same = customer.active is not None and customer.active.call_id == turn.call_id
        customer = replace(
            customer,
            active=ActiveCall(
                turn.call_id, turn.task_id, turn.campaign_id, turn.pool, turn.robot_id
            ),
            spoke=(same and customer.spoke)
            or (turn.input_kind not in ANSWERER and bool(turn.text)),
        )
    understood = turn.intent not in ("", UNCLEAR)
    # Words that mean nothing known, a machine's among them, tell nothing of the customer.
    heard = turn.input_kind == "final" and bool(turn.text)
    felt = heard and (understood or turn.emotion != NEUTRAL)
    return replace(
        customer,
        purchase_intent=purchase_intent(customer.purchase_intent, turn),
        last_intent=_short(turn.intent) if understood else customer.last_intent,
        last_emotion=_short(turn.emotion) if felt else customer.last_emotion,
        optouts=_with(customer.optouts, GLOBAL if turn.outcome == "opted_out" else None),
        promises=_promised(customer.promises, turn),
        refused_at=turn.occurred_at if turn.meaning == "reject" else customer.refused_at,
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
    return tuple(reversed(_bounded(reversed(promises), MAX_PROMISES, MAX_PROMISES_BYTES)))


def _ended(customer: Customer, call: CallEvent) -> Customer:
    call_id = call.call_id or ""
    if call_id in customer.ended:
        return customer  # the first end of a call counts
    was_on = customer.active is not None and customer.active.call_id == call_id
    spoke = was_on and customer.spoke and call.disposition not in NOT_A_PERSON
    talked = spoke or (call.disposition is not None and call.disposition not in NOT_TALKED)
    return replace(
        customer,
        calls=customer.calls + 1,
        answered_calls=customer.answered_calls + int(talked),
        talked_at=call.occurred_at if talked else customer.talked_at,
        optouts=_with(customer.optouts, GLOBAL if call.disposition == "opted_out" else None),
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
        "profile": to_json("customers.profiles", profile),
    }
    text = orjson.dumps(body).decode()
    if request.kind == "requested":
        return [_to_pool(inbox, "request", request.pool or DEFAULT_POOL, text)]
    pools = (request.pool,) if request.pool else customer.pools or (DEFAULT_POOL,)
    return [_to_pool(inbox, "cancel", pool, text) for pool in pools]


def _optouts(before: Customer, after: Customer, given: ProfileInput) -> list[Output]:
    """Opt-outs that the do-not-call list lacks, also for a number that we learn only after its
    owner opted out."""
    inbox, source = given.inbox, given.source
    if after.phone_hash is None:
        return []
    moved = after.phone_hash != before.phone_hash
    news = [extent for extent in after.optouts if moved or extent not in before.optouts]
    if isinstance(source, OptOut) and source.phone_hash == after.phone_hash:
        news = [extent for extent in news if extent != extent_of(source)]
    why, where, who = _said(given, new=after.optouts != before.optouts)
    out = list[Output]()
    for n, extent in enumerate(news):
        scope, _, name = extent.partition(":")
        optout = OptOut.model_validate(
            {
                "event_id": ids.event_id(inbox.event_id, "opted_out", n),
                "kind": "opted_out",
                "occurred_at": inbox.occurred_at,
                "producer": PRODUCER,
                "causation_id": inbox.event_id,
                "tenant_id": name if scope == "tenant" else inbox.tenant_id,
                "call_id": source.call_id,
                "task_id": source.task_id,
                "customer_id": inbox.customer_id,
                "campaign_id": name if scope == "campaign" else source.campaign_id,
                "phone_hash": after.phone_hash,
                "scope": scope,
                "reason": why,
                "source": where,
                "actor": who,
            }
        )
        out.append(("compliance.optouts", optout))
    return out


def _said(given: ProfileInput, new: bool) -> tuple[str, str, str | None]:
    """Reason, source and actor of an opt-out."""
    source = given.source
    if not new:
        return "the customer's other number", PRODUCER, None
    match source:
        case OptOut():
            return source.reason, source.source, source.actor
        case CustomerChange():
            return "customer's record", "crm", _short(source.source)
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
        customer_id=inbox.customer_id,
        campaign_id=call.campaign_id,
        pool=call.pool,
        robot_id=call.robot_id,
        source=PRODUCER,
        profile=to_line("customers.profiles", profile),
        profile_version=profile.version,
    )


def _to_pool(inbox: ProfileInbox, kind: str, pool: str, body: str) -> Output:
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
            "source_topic": inbox.source_topic,
            "body": body,
        }
    )
    return "dispatch.inbox", record


def _short(text: str) -> str:
    """Cut to its limit, without control characters: in JSON each takes six bytes."""
    return "".join(c for c in text[: 4 * MAX_TEXT] if c.isprintable())[:MAX_TEXT]


def _bounded(texts: Iterable[str], at_most: int, max_bytes: int) -> tuple[str, ...]:
    """The first distinct non-empty texts, as many as the limits allow."""
    found: dict[str, None] = {}
    for text in map(_short, texts):
        max_bytes -= len(text.encode()) if text not in found else 0
        if len(found) == at_most or max_bytes < 0:
            break
        if text:
            found[text] = None
    return tuple(found)
