"""The state of one customer: the profile, and what the fold of the next event needs."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from schemas.donotcall import GLOBAL

SEEN = 64
"""Inbox records whose ids are remembered; duplicates lie close together."""

ENDED = 8
"""Ended calls that are remembered, so that a late turn does not bring one back."""

POOLS = 8
"""Pools that get a newer profile: the last ones asked to call the customer."""


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
        )  # fmt: skip

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
        """The CRM's tags, and `repeat` for who bought, talked with us before, or is a member."""
        known = self.level in MEMBER_LEVELS or self.purchases > 0 or self.answered_calls > 0
        derived = (REPEAT,) if known and REPEAT not in self.source_tags else ()
        return self.source_tags + derived


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
    for name in ("source_tags", "promises", "optouts", "seen", "ended", "pools"):
        if name in data:
            data[name] = tuple(data[name])
    if "attributes" in data:
        data["attributes"] = tuple((name, value) for name, value in data["attributes"])
    if data.get("active") is not None:
        data["active"] = ActiveCall(**data["active"])
    return Customer(**data)
