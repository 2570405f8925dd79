"""Inputs of dispatch as typed values: the records of `dispatch.inbox`, parsed once."""

from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from ringlog.law.site import NO_LAW, SiteLaw
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    Campaign,
    DispatchInbox,
    OptOut,
    Playbook,
    Profile,
    RobotStatus,
    TaskRequested,
)
from schemas.phone import InvalidNumber, Numbers, e164
from schemas.text import from_json
from schemas.wire import Poison
from streams.dispatch.policy import Policy

E = TypeVar("E", bound=Event)

MAX_BODY_BYTES = 24_576
"""Longest body of a request or a configuration; a page of snapshots must fit into one record."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a call, with the customer's newest profile.

    `phone` is the number in E.164 form, `hashes` are all of its line, the current one first.
    `invalid` says why the number may not be called.
    """

    event_id: str
    task: TaskRequested
    profile: Profile
    profile_text: str
    phone: str = ""
    hashes: tuple[str, ...] = ()
    invalid: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """A request that is withdrawn."""

    event_id: str
    task_id: str
    reason: str = "cancelled"


@dataclass(frozen=True, slots=True)
class ProfileChanged:
    """A newer profile of a customer who had a request here."""

    event_id: str
    profile: Profile
    profile_text: str


@dataclass(frozen=True, slots=True)
class OptedOut:
    """A number that must not be called, or may be again."""

    event_id: str
    optout: OptOut


@dataclass(frozen=True, slots=True)
class CallChanged:
    """A record of a call's life. `line` is the hash of its number, where the record has that."""

    event_id: str
    call: CallEvent
    line: str = ""


@dataclass(frozen=True, slots=True)
class CallsAlive:
    """The calls that an edge has in progress."""

    event_id: str
    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RobotChanged:
    """A robot as configured; `offset` is the record's on `robots.status`."""

    event_id: str
    robot: RobotStatus
    offset: int


@dataclass(frozen=True, slots=True)
class PlaybookChanged:
    """The version of a playbook that is published; None when it was withdrawn."""

    event_id: str
    playbook: str
    version: str | None
    offset: int


@dataclass(frozen=True, slots=True)
class Liveness:
    """An edge or a shard of robot workers came or went; `offset` is of the lease that showed it.

    `partitions` are those that the shard's calls lie on; empty: all. `capacity` is how many calls
    an edge takes at once; None: it does not say.
    """

    event_id: str
    kind: str
    name: str
    up: bool
    offset: int
    partitions: tuple[int, ...]
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that dispatch set, for `due_ms`."""

    event_id: str
    task_id: str
    name: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class CampaignChanged:
    """A version of a campaign; `offset` is its record's on `campaigns`."""

    event_id: str
    campaign: Campaign
    offset: int


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The site's settings, as a worker of the service began with them."""

    event_id: str
    policy: Policy
    law: SiteLaw = NO_LAW


Input = (
    Request
    | Cancel
    | ProfileChanged
    | OptedOut
    | CallChanged
    | CallsAlive
    | RobotChanged
    | PlaybookChanged
    | Liveness
    | TimerFired
    | SettingsChanged
    | CampaignChanged
)


def parse(record: DispatchInbox, numbers: Numbers) -> Input:
    """The input of an inbox record; raises Poison with the reason."""
    try:
        return _parse(record, numbers)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        raise Poison(f"body of {record.kind}: field {where}: {first['msg']}"[:500]) from None
    except (ValueError, TypeError, KeyError) as error:
        raise Poison(f"body of {record.kind}: {type(error).__name__}: {error}"[:500]) from None


def _parse(record: DispatchInbox, numbers: Numbers) -> Input:
    match record.kind:
        case "calls_alive":
            return CallsAlive(record.event_id, tuple(record.call_ids))
        case "timer":
            of_task, name = _named(record.task_id), _named(record.timer)
            return TimerFired(record.event_id, of_task, name, record.due_at or 0)
        case "request":
            body = _body(record)
            task, profile = _task(body), _event("customers.profiles", body["profile"], Profile)
            if not task.task_id or not task.customer_id:
                raise ValueError("a request needs task_id and customer_id")
            return _requested(record.event_id, task, profile, _text(body["profile"]), numbers)
        case "cancel":
            task = _task(_body(record))
            return Cancel(record.event_id, _named(task.task_id), task.reason or "cancelled")
        case "profile":
            data = _body(record)
            profile = _event("customers.profiles", data, Profile)
            _named(profile.customer_id)
            return ProfileChanged(record.event_id, profile, _text(data))
        case "opted_out" | "opted_in":
            return OptedOut(record.event_id, _event("compliance.optouts", _body(record), OptOut))
        case "call":
            call = _event("calls.events", _body(record), CallEvent)
            _named(call.call_id)
            line = numbers.hash(call.phone) if call.phone else ""
            return CallChanged(record.event_id, call, line)
        case "robot":
            return _configured(record.event_id, _body(record))
        case "campaign":
            body = _body(record)
            campaign = _event("campaigns", body["campaign"], Campaign)
            _named(campaign.campaign_id)
            return CampaignChanged(record.event_id, campaign, int(body["offset"]))
        case "settings":
            body = _body(record)
            policy = Policy.model_validate(body)
            return SettingsChanged(
                record.event_id, policy, SiteLaw.model_validate(body.get("law", {}))
            )
        case "edge" | "worker":
            body = _body(record)
            up = {"up": True, "down": False}[body["state"]]
            partitions = tuple(int(p) for p in body.get("partitions", ()))
            name, offset = _named(body["name"]), int(body["offset"])
            capacity = None if body.get("capacity") is None else int(body["capacity"])
            return Liveness(record.event_id, record.kind, name, up, offset, partitions, capacity)


def _requested(
    event_id: str, task: TaskRequested, profile: Profile, profile_text: str, numbers: Numbers
) -> Request:
    if not task.phone:
        return Request(event_id, task, profile, profile_text, invalid="no phone number")
    try:
        phone, invalid = e164(task.phone, numbers.region), None
    except InvalidNumber as why:
        phone, invalid = "", f"phone: {why}"
    hashes = numbers.hashes(task.phone)
    return Request(event_id, task, profile, profile_text, phone, hashes, invalid)


def _configured(event_id: str, body: Any) -> RobotChanged | PlaybookChanged:
    offset = int(body["offset"])
    if "playbook" in body:
        book = _event("playbooks", body["playbook"], Playbook)
        version = book.version if book.kind == "published" else None
        return PlaybookChanged(event_id, book.playbook, version, offset)
    robot = _event("robots.status", body["robot"], RobotStatus)
    _named(robot.robot_id)
    return RobotChanged(event_id, robot, offset)


def _body(record: DispatchInbox) -> Any:
    if record.body is None:
        raise ValueError("no body")
    if len(record.body.encode()) > MAX_BODY_BYTES:
        raise ValueError(f"longer than {MAX_BODY_BYTES} bytes")
    return orjson.loads(record.body)


def _event(topic_name: str, data: Any, model: type[E]) -> E:
    event = from_json(topic_name, data)
    if not isinstance(event, model):
        raise TypeError(f"no event of {topic_name}")
    return event


def _task(body: Any) -> TaskRequested:
    return _event("tasks.requested", body["request"], TaskRequested)


def _text(data: Any) -> str:
    return orjson.dumps(data).decode()


def _named(value: str | None) -> str:
    if not value or not isinstance(value, str):
        raise ValueError("a name is missing")
    return value
