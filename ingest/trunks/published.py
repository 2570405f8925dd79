"""The site's plan as records of `trunks`, one a part, and back. Pure."""

import hashlib
import json
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ValidationError

from ingest.trunks.plan import CallerId, SitePlan
from schemas.events import TrunkSetting
from schemas.ids import published_id

Kind = Literal["switch", "trunk", "caller_ids", "routing"]
Key = tuple[Kind, str]

PRODUCER = "ringlog-publish"
ROUTING: Key = ("routing", "")


class PublishedPlan:
    """The fold of `trunks`: the plan that the records make, once it is whole."""

    def __init__(self) -> None:
        self.parts: dict[Key, TrunkSetting] = {}

    def evolve(self, event: TrunkSetting) -> None:
        """The next record; the last of each part counts."""
        self.parts[event.kind, event.trunk] = event

    def plan(self) -> SitePlan | None:
        """The plan; None while nothing was published, or while a part that others name is not there
        yet. Parts are published before those that name them. Raises ValueError for a part that
        this release cannot read."""
        if not self.parts:
            return None
        data: dict[str, object] = {
            "switches": self._of("switch"), "trunks": self._of("trunk"),
            "caller_ids": self._of("caller_ids"),
        }  # fmt: skip
        if (routing := self._of("routing")) and "" in routing:
            data["routing"] = routing[""]
        try:
            plan = SitePlan.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{where}: {first['msg']}") from None
        return None if any(plan.unknown_names()) else plan

    def _of(self, kind: Kind) -> dict[str, object]:
        return {
            name: json.loads(event.settings)
            for (k, name), event in self.parts.items()
            if k == kind and event.state == "active"
        }


def changes(
    before: PublishedPlan, plan: SitePlan, tenant_id: str, now_ms: int
) -> list[TrunkSetting]:
    """The records that turn the published plan into this one: first what others name, then what
    names it, last what is gone."""
    wanted = dict(parts_of(plan))
    out: list[TrunkSetting] = []
    for key, settings in wanted.items():
        there = before.parts.get(key)
        if there is None or there.state != "active" or there.settings != settings:
            out.append(_event(key, "active", settings, there, tenant_id, now_ms))
    for key, there in reversed(before.parts.items()):
        if there.state == "active" and key not in wanted:
            out.append(_event(key, "removed", there.settings, there, tenant_id, now_ms))
    order: dict[Kind, int] = {"switch": 0, "caller_ids": 1, "routing": 2, "trunk": 3}
    return sorted(out, key=lambda e: order[e.kind] if e.state == "active" else 9 - order[e.kind])


def parts_of(plan: SitePlan) -> Iterable[tuple[Key, str]]:
    """The plan's parts with their settings as JSON text."""
    for name, switch in plan.switches.items():
        yield ("switch", name), _json(switch)
    for name, pool in plan.caller_ids.items():
        yield ("caller_ids", name), _json(pool)
    yield ROUTING, _json(plan.routing)
    for name, trunk in plan.trunks.items():
        yield ("trunk", name), _json(trunk)


def _json(part: BaseModel | list[CallerId]) -> str:
    data = [p.model_dump() for p in part] if isinstance(part, list) else part.model_dump()
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def _event(
    key: Key,
    state: Literal["active", "removed"],
    settings: str,
    before: TrunkSetting | None,
    tenant_id: str,
    now_ms: int,
) -> TrunkSetting:
    # The earlier record is part of the hash: going back to an old setting is a new event.
    cause = None if before is None else before.event_id
    sha = hashlib.sha256(f"{state}|{cause}|{settings}".encode()).hexdigest()
    return TrunkSetting(
        event_id=published_id("trunk", "/".join(key), sha),
        kind=key[0],
        occurred_at=now_ms,
        producer=PRODUCER,
        causation_id=cause,
        tenant_id=tenant_id,
        trunk=key[1],
        state=state,
        settings=settings,
    )
