"""The state of one customer: the profile, and what the fold of the next event needs."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from schemas.donotcall import GLOBAL
from streams.profiles.ledger import LedgerEntry, Pledge, judged, just_paid
from streams.profiles.limits import MAX_OPTOUTS

SEEN = 64
"""Inbox records whose ids are remembered; duplicates lie close together."""

ENDED = 8
"""Ended calls that are remembered, so that a late turn does not bring one back."""

POOLS = 8
"""Pools that get a newer profile: the last ones asked to call the customer."""

NUMBERS = 8
"""Numbers that an opt-out bars: those learnt last."""

ATTRIBUTE_PREFIX = "attributes."
"""Before an attribute's name, where fields are named."""

REPEAT = "repeat"
MEMBER_LEVELS = frozenset(
    {"member", "silver", "gold", "platinum", "diamond", "vip", "会员"}
)  # as the call scripts have them


@dataclass(frozen=True, slots=True)
class ActiveCall:
    """The call that the customer is on, as its turns name it."""

    call_id: str
    task_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    robot_id: str | None = None
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class FieldOrigin:
    """Who told a field last, and when (ms since 1970 UTC); kept of an emptied field, too."""

    source: str
    at: int


@dataclass(frozen=True, slots=True)
class ListConsent:
    """What a campaign's list says that the customer agreed to; as `CampaignConsent` has it."""

    campaign_id: str
    consent: str
    until: str
    told_at: int


@dataclass(frozen=True, slots=True)
class Customer:
    """All that is known of a customer. `source_tags` are the CRM's, without those derived here."""

    version: int = 0
    level: str = "normal"
    source_tags: tuple[str, ...] = ()
    name: str | None = None
    purchase_intent: float = 0.0
    last_intent: str | None = None
    last_emotion: str | None = None
    optouts: tuple[str, ...] = ()
    """Extents within which they must not be called, as `schemas.donotcall.extent_of` names them."""
    purchases: int = 0
    promises: tuple[str, ...] = ()
    calls: int = 0
    answered_calls: int = 0
    phone_hash: str | None = None
    tenant_id: str = "default"
    active: ActiveCall | None = None
    spoke: bool = False
    seen: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """The CRM's, by name; the short ones only."""
    talked_at: int | None = None
    """End of the last call in which the customer spoke, ms since 1970 UTC."""
    refused_at: int | None = None
    """When the customer last turned an offer down, ms since 1970 UTC."""
    told: tuple[tuple[str, FieldOrigin], ...] = ()
    """By field, sorted."""
    forgotten_at: int = 0
    """When the customer was last deleted: what was told before then counts no more."""
    as_of: int = 0
    """Time of the newest record, by which promises are judged."""
    numbers: tuple[tuple[str, int], ...] = ()
    """Hash of each number of theirs, and when it was learnt last; the newest last."""
    consents: tuple[ListConsent, ...] = ()
    orders: tuple[LedgerEntry, ...] = ()
    payments: tuple[LedgerEntry, ...] = ()
    pledges: tuple[Pledge, ...] = ()
    merged_into: str | None = None
    absorbed: tuple[str, ...] = ()

    def told_at(self, field: str) -> int:
        """When a field was told last; 0 for never."""
        return next((told.at for name, told in self.told if name == field), 0)

    def heeds(self, field: str, at: int) -> bool:
        """Whether what is told of a field at that time counts: of one time, the later record."""
        return at >= max(self.told_at(field), self.forgotten_at)

    def noting(self, field: str, told: FieldOrigin) -> "Customer":
        """With a field's newest source and time."""
        return replace(
            self, told=tuple(sorted({**dict(self.told), field: told}.items(), key=_name))
        )

    def reached_by(self, phone_hash: str, told: FieldOrigin) -> "Customer":
        """With a number of theirs."""
        if told.at < self.forgotten_at:
            return self
        times = dict(self.numbers)
        times[phone_hash] = max(told.at, times.get(phone_hash, 0))
        numbers = last_numbers(times)
        customer = replace(self, numbers=numbers)
        if not self.heeds("phone", told.at):
            return customer
        return replace(customer, phone_hash=phone_hash).noting("phone", told)

    def barred_in(self, extent: str) -> "Customer":
        """With an opt-out, as `schemas.donotcall.extent_of` names it."""
        if extent in self.optouts:
            return self
        if extent == GLOBAL:
            return replace(self, optouts=(GLOBAL, *self.optouts))
        return replace(self, optouts=(*self.optouts, extent)[-MAX_OPTOUTS:])

    def remember(self, event_id: str) -> "Customer":
        """With an inbox record's id noted."""
        return replace(self, seen=(*self.seen, event_id[:18])[-SEEN:])

    def knows(self, event_id: str) -> bool:
        """Whether an inbox record was processed already."""
        return event_id[:18] in self.seen

    def facts(self) -> tuple[Any, ...]:
        """What the published profile shows; it gets a new version when this changes."""
        return (
            self.level, self.tags, self.name, self.purchase_intent, self.last_intent,
            self.last_emotion, self.optouts, self.purchases, self.promises, self.calls,
            self.answered_calls, self.phone_hash, self.published_attributes,
            self.consents, self.orders, self.payments, self.promised, self.zone, self.merged_into,
            self.absorbed,
        )  # fmt: skip

    @property
    def promised(self) -> tuple[tuple[Pledge, str], ...]:
        """Promises to pay, each with what came of it by the time of the newest record."""
        return judged(self.pledges, self.payments, self.zone, self.as_of)

    @property
    def zone(self) -> str:
        """The zone that their attributes name; empty: none."""
        return dict(self.attributes).get("zone", "")

    @property
    def published_attributes(self) -> dict[str, str]:
        """The CRM's, and the times that the law of the dial asks about (`ringlog.law`)."""
        times = {"talked_at": self.talked_at, "refused_at": self.refused_at}
        own = {name: str(at) for name, at in times.items() if at is not None}
        return dict(self.attributes) | own

    @property
    def opted_out(self) -> bool:
        """Whether their tenant must not call them at all."""
        return not {GLOBAL, f"tenant:{self.tenant_id}"}.isdisjoint(self.optouts)

    @property
    def tags(self) -> tuple[str, ...]:
        """The CRM's tags; `repeat` for who bought, talked with us before, or is a member;
        `just_paid`; and `promise_kept`, `promise_broken` or `promise_open` by the last promise."""
        known = self.level in MEMBER_LEVELS or self.purchases > 0 or self.answered_calls > 0
        promised = self.promised
        derived = (
            REPEAT if known else "",
            "just_paid" if just_paid(self.payments, self.as_of) else "",
            f"promise_{promised[-1][1]}" if promised else "",
        )
        return self.source_tags + tuple(t for t in derived if t and t not in self.source_tags)


def _name(item: tuple[str, object]) -> str:
    return item[0]


def last_numbers(times: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """The numbers that were learnt last, the newest last."""
    return tuple(sorted(times.items(), key=lambda item: (item[1], item[0]))[-NUMBERS:])


_PARTS = {
    "consents": ListConsent,
    "orders": LedgerEntry,
    "payments": LedgerEntry,
    "pledges": Pledge,
}


def to_text(customer: Customer) -> str:
    """JSON of what differs from an unknown customer."""
    data, plain = asdict(customer), asdict(Customer())
    changed = {k: v for k, v in data.items() if v != plain[k]}
    return json.dumps(changed, ensure_ascii=False, separators=(",", ":"))


def from_text(text: str) -> Customer:
    """The customer of `to_text`; raises ValueError or TypeError on anything else."""
    data = json.loads(text)
    if data.pop("opted_out", False):  # from before opt-outs had scopes
        data["optouts"] = [GLOBAL]
    for name in ("source_tags", "promises", "optouts", "seen", "ended", "pools", "absorbed"):
        if name in data:
            data[name] = tuple(data[name])
    for name, part in _PARTS.items():
        if name in data:
            data[name] = tuple(part(**each) for each in data[name])
    if "told" in data:
        data["told"] = tuple((name, FieldOrigin(**told)) for name, told in data["told"])
    if "numbers" in data:
        data["numbers"] = tuple((number, at) for number, at in data["numbers"])
    elif data.get("phone_hash"):  # from before several numbers were kept
        data["numbers"] = ((data["phone_hash"], 0),)
    if "attributes" in data:
        data["attributes"] = tuple((name, value) for name, value in data["attributes"])
    if data.get("active") is not None:
        data["active"] = ActiveCall(**data["active"])
    return Customer(**data)
