"""Copies dispatch's inputs into `dispatch.inbox`; stateless, with derived ids.

Requests, cancellations and profiles come from the profiles service; `calls_alive` comes from the
edges. Here: calls, robots, playbooks, campaigns, opt-outs, settings, and edges and workers that
come and go.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from ringlog.law.site import NO_LAW, SiteLaw
from schemas.envelope import Event
from schemas.events import CallEvent, Campaign, DispatchInbox, OptOut, Playbook, RobotStatus
from schemas.ids import event_id, root_id
from schemas.text import to_json, to_line
from streams.dispatch.facts import PRODUCER, Output
from streams.dispatch.policy import Policy
from streams.dispatch.presence import Change

INBOX = "dispatch.inbox"
OPTOUTS = "compliance.optouts"
CALL_KINDS = frozenset(
    {"dialing", "ringing", "early_media", "answered", "bridged", "transferred", "moved", "ended"}
)
"""Steps of a call that matter to dispatch; playout does not."""

KINDS_OF_ALL = frozenset({"dialing", "ended"})
"""Steps that matter to all pools."""

_OURS_ALONE = {"profile": None, "asr_profile": None, "playbook": None, "playbook_version": None}
"""Fields that other pools have no use for."""


def call_copies(event: Event, pools: Iterable[str]) -> Iterable[Output]:
    """A call's step goes to its pool. If the record names none, it goes to all `pools`, one of
    which knows the call. That a call dials, and that it is over, goes to the other `pools`, too:
    they count the number's dials and do not call it meanwhile."""
    if not isinstance(event, CallEvent) or event.kind not in CALL_KINDS:
        return
    if event.direction in ("foreign", "inbound"):
        return  # placed by others: it holds no slot of ours
    text = orjson.dumps(to_json("calls.events", event)).decode()
    for pool in (event.pool,) if event.pool else sorted(pools):
        yield _copy(event, "call", pool, "calls.events", text)
    others = sorted(set(pools) - {event.pool}) if event.pool else []
    if event.kind in KINDS_OF_ALL and others:
        text = to_line("calls.events", event.model_copy(update=_OURS_ALONE))
        for pool in others:
            yield _copy(event, "call", pool, "calls.events", text)


def optout_copies(event: Event, pools: Iterable[str]) -> Iterable[Output]:
    """An opt-out, or its undo, goes to all `pools`, from any source."""
    if isinstance(event, OptOut):
        text = to_line(OPTOUTS, event)
        for pool in sorted(pools):
            yield _copy(event, event.kind, pool, OPTOUTS, text)


def robot_copy(event: Event, offset: int) -> Iterable[Output]:
    """A robot's configuration goes to its pool, with the offset that tells old from new."""
    if isinstance(event, RobotStatus) and event.pool and event.robot_id:
        body = {"robot": to_json("robots.status", event), "offset": offset}
        yield _copy(event, "robot", event.pool, "robots.status", orjson.dumps(body).decode())


def playbook_copy(event: Playbook, offset: int, pool: str) -> Output:
    """What is published under a playbook's name, for one pool; without the script itself."""
    book = to_json("playbooks", event) | {"body": ""}
    text = orjson.dumps({"playbook": book, "offset": offset}).decode()
    return _copy(event, "robot", pool, "playbooks", text)


def campaign_copy(event: Campaign, offset: int, pool: str) -> Output:
    """A version of a campaign, for one pool, with the offset that tells old from new."""
    body = {"campaign": to_json("campaigns", event), "offset": offset}
    return _copy(event, "campaign", pool, "campaigns", orjson.dumps(body).decode())


def presence_copy(change: Change, pool: str) -> Output:
    """An edge or a worker that came or went, for one pool; its id comes from the lease record."""
    state = "up" if change.up else "down"
    body: dict[str, Any] = {
        "state": state,
        "name": change.name,
        "offset": change.offset,
        "partitions": change.partitions,
    }
    if change.capacity is not None:
        body["capacity"] = change.capacity
    record = DispatchInbox(
        event_id=event_id(change.cause, f"{change.kind}/{state}/{pool}"),
        kind=change.kind,
        occurred_at=change.at_ms,
        producer=PRODUCER,
        causation_id=change.cause,
        pool=pool,
        source_topic="robots.leases",
        edge_id=change.name if change.kind == "edge" else None,
        body=orjson.dumps(body).decode(),
    )
    return INBOX, record


def settings_copy(policy: Policy, at_ms: int, pool: str, law: SiteLaw = NO_LAW) -> Output:
    """The settings with which a worker began at `at_ms`, for one pool."""
    told = policy.model_dump(mode="json") | {"law": law.model_dump(mode="json")}
    body = orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
    record = DispatchInbox(
        event_id=root_id("dispatch settings", pool, at_ms, body),
        kind="settings",
        occurred_at=at_ms,
        producer=PRODUCER,
        pool=pool,
        body=body,
    )
    return INBOX, record


def _copy(event: Event, kind: str, pool: str, source_topic: str, body: str) -> Output:
    record = DispatchInbox.model_validate(
        {
            "event_id": event_id(event.event_id, f"{kind}/{pool}"),
            "kind": kind,
            "occurred_at": event.occurred_at,
            "producer": PRODUCER,
            "causation_id": event.event_id,
            "tenant_id": event.tenant_id,
            "call_id": event.call_id,
            "task_id": event.task_id,
            "customer_id": event.customer_id,
            "campaign_id": event.campaign_id,
            "pool": pool,
            "robot_id": event.robot_id,
            "source_topic": source_topic,
            "body": body,
        }
    )
    return INBOX, record
