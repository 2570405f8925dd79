"""`ringlog why`: why a task was, or was not, called, in words, from the log alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import click

from cli.errors import CheckFailed, need_kafka, need_registry
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.law.rules import site_rule_book
from ringlog.settings import Settings, settings
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.events import CallEvent, Campaign, TaskEvent, TaskRequested
from schemas.events.tasks import TASK_OVER
from schemas.partition import partition_of
from schemas.times import checked_ms
from schemas.wire import Codec, Poison

_E = TypeVar("_E", bound=Event)

_CALL_KINDS = frozenset({"dialing", "answered", "ended", "tried", "refused"})

_REASONS = {
    "opted_out": "the number is on the do-not-call list",
    "deadline": "its deadline passed",
    "cancelled": "somebody cancelled it",
    "campaign_stopped": "its campaign was stopped",
    "no_answer": "nobody answered",
    "busy": "the line was busy",
    "machine": "an answering machine answered",
    "number_in_call": "the number is in another of our calls",
    "no_line": "no line was free for it",
    "edge_full": "the edge had no room",
    "rejected": "the call was rejected",
}
"""Reasons of dispatch that are single words."""


@dataclass(slots=True)
class Evidence:
    """What the log has of one task."""

    requests: list[TaskRequested] = field(default_factory=list)
    events: list[TaskEvent] = field(default_factory=list)
    calls: list[CallEvent] = field(default_factory=list)
    campaign: list[Campaign] = field(default_factory=list)


@click.command()
@click.argument("task_id", metavar="TASK")
@click.option("--at", help="As it stood then: ISO 8601 with a zone.")
def why(task_id: str, at: str | None) -> None:
    """Say in words why the task TASK was called, or why not, at any time in the past.

    \b
    ringlog why 6f9c2c1e-7c0b-5c0e-9a53-0f6f5f0a3b1d
    ringlog why 6f9c2c1e-7c0b-5c0e-9a53-0f6f5f0a3b1d --at 2026-11-27T18:00:00+08:00
    """
    config = settings()
    try:
        until = None if at is None else checked_ms(at, config.zone)
    except ValueError as error:
        raise click.UsageError(f"--at: {error}") from None
    need_kafka(config)
    need_registry(config)
    found = evidence_of(config, task_id)
    if not found.events and not found.requests:
        raise CheckFailed(f"no task {task_id} on the log")
    for line in explained(found, config.zone, until):
        click.echo(line)


def evidence_of(config: Settings, task_id: str) -> Evidence:
    """Reads the partitions on which the task's records lie."""
    codec, found = codec_of(config), Evidence()
    for event in _read(config, codec, "tasks.events", task_id):
        if isinstance(event, TaskEvent) and event.task_id == task_id:
            found.events.append(event)
    customer = next((e.customer_id for e in found.events if e.customer_id), None)
    for event in _read(config, codec, "tasks.requested", customer):
        if isinstance(event, TaskRequested) and event.task_id == task_id:
            found.requests.append(event)
    for call_id in dict.fromkeys(e.call_id for e in found.events if e.call_id):
        for event in _read(config, codec, "calls.events", call_id):
            if isinstance(event, CallEvent) and event.call_id == call_id:
                found.calls.append(event)
    named = next((e.campaign_id for e in (*found.requests, *found.events) if e.campaign_id), None)
    if named is not None:
        for event in _read(config, codec, "campaigns", named):
            if isinstance(event, Campaign) and event.campaign_id == named:
                found.campaign.append(event)
    return found


def explained(found: Evidence, zone: str, until: int | None = None) -> Iterator[str]:
    """One line for each thing that bears on the task, and a last one that sums up. Times are in
    `zone`, or UTC; with `until`, nothing later is known."""
    where = ZoneInfo(zone or "UTC")
    told: list[tuple[int, str]] = []
    requests, events = _first(found.requests, until), _first(found.events, until)
    told += [(r.occurred_at, _requested(r, where)) for r in requests]
    told += [(e.occurred_at, _happened(e, where)) for e in events]
    calls = [call for call in _first(found.calls, until) if call.kind in _CALL_KINDS]
    told += [(call.occurred_at, _called(call)) for call in calls]
    began = min((at for at, _ in told), default=0)
    versions = _first(found.campaign, until)
    since = [v for v in versions if v.occurred_at >= began and v.action]
    told += [(v.occurred_at, _version(v)) for v in since]
    for at, line in sorted(told, key=lambda pair: pair[0]):
        yield f"{_time(at, where)}  {line}"
    yield _summed(events, versions, where)


def _requested(request: TaskRequested, where: ZoneInfo) -> str:
    if request.kind == "cancel":
        return f"{request.producer} asked to cancel it"
    who = request.producer
    if request.campaign_id and request.producer == "campaigns":
        who = f"the campaign {request.campaign_id}"
    later = f", not before {_time(request.not_before, where)}" if request.not_before else ""
    called = " as a call back" if "callback" in request.tags else ""
    return f"{who} asked for the call{called}, priority {request.priority}{later}"


def _happened(event: TaskEvent, where: ZoneInfo) -> str:
    because = f": {_reason(event.reason)}" if event.reason else ""
    later = f"; next at {_time(event.retry_at, where)}" if event.retry_at else ""
    match event.kind:
        case "queued":
            return f"it waits{because}{later}"
        case "assigned":
            return f"robot {event.robot_id} is to call, attempt {event.attempt}{because}"
        case "dialing":
            return "the edge dials"
        case "retry_scheduled":
            return f"it is to be tried again{because}{later}"
    return f"it is {event.kind}{because}"


def _called(call: CallEvent) -> str:
    match call.kind:
        case "ended":
            if call.rule is not None:
                return f"the edge did not dial: {_reason(f'{call.rule}: {call.reason}')}"
            return f"the call ended: {call.disposition or 'no reason told'}"
        case "answered":
            return "somebody answered"
        case "tried":
            return f"the edge asked {call.trunk or 'a trunk'} for the call"
        case "refused":
            return f"{call.trunk or 'the trunk'} refused it"
    return f"the edge began to dial (do-not-call list read to {call.optout_offset})"


def _version(version: Campaign) -> str:
    because = f": {version.reason}" if version.reason else ""
    return f"the campaign {version.campaign_id} was {version.action} by {version.actor}{because}"


def _summed(events: Sequence[TaskEvent], versions: Sequence[Campaign], where: ZoneInfo) -> str:
    """What it comes to. The campaign's state matters while the task is open."""
    if not events:
        return "So: dispatch has not decided yet."
    last = events[-1]
    dialled = sum(event.kind == "dialing" for event in events)
    because = f", since {_reason(last.reason)}" if last.reason else ""
    if last.kind in TASK_OVER:
        times = f"was dialled {dialled} time{'s' * (dialled != 1)}" if dialled else "was not called"
        return f"So: it {times}, and is {last.kind}{because}."
    if versions and versions[-1].state != "running":
        state = versions[-1]
        return f"So: it waits, since the campaign is {state.state} (by {state.actor})."
    if last.kind in ("queued", "retry_scheduled"):
        if last.retry_at:
            return f"So: it waits until {_time(last.retry_at, where)}{because}."
        return f"So: it waits for its turn and a robot{because}."
    return "So: it is being called."


def _reason(text: str | None) -> str:
    """In words; a rule of the law with its source."""
    text = text or ""
    rule_id, colon, words = text.partition(": ")
    rule = site_rule_book().find(rule_id)
    if rule is not None:
        return f"{words if colon else rule.kind} ({rule_id}; {rule.source})"
    return _REASONS.get(text, text)


def _time(at_ms: int, where: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, where):%Y-%m-%d %H:%M:%S %Z}"


def _first(events: Iterable[_E], until: int | None) -> list[_E]:
    """The first record of each id, up to a time."""
    seen: dict[str, _E] = {}
    for event in events:
        if until is None or event.occurred_at <= until:
            seen.setdefault(event.event_id, event)
    return list(seen.values())


def _read(config: Settings, codec: Codec, name: str, key: str | None) -> Iterator[Event]:
    """Events of the key's partition; of all partitions without a key."""
    found = topic(name)
    places = None if key is None else [partition_of(key, found.partitions)]
    for record in sync.read(config, name, partitions=places):
        if key is not None and (record.key or b"").decode("utf-8", "replace") != key:
            continue
        try:
            yield codec.decode(name, record.value)
        except Poison:
            continue  # it lies in dead_letters; here only what can be read is told
