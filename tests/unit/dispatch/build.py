"""Inputs of dispatch for tests, and a pool that collects what it says."""

import json
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from schemas.events import (
    CallEvent,
    Campaign,
    OptOut,
    Profile,
    RobotStatus,
    TaskEvent,
    TaskRequested,
)
from schemas.ids import root_id
from schemas.phone import Numbers
from schemas.text import to_line
from streams.dispatch.facts import Output
from streams.dispatch.inputs import (
    CallChanged,
    CallsAlive,
    CampaignChanged,
    Cancel,
    Input,
    Liveness,
    OptedOut,
    ProfileChanged,
    Request,
    RobotChanged,
    SettingsChanged,
    TimerFired,
)
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool

NUMBERS = Numbers("CN", b"k" * 32)
T0 = 1_760_000_000_000
_ids = count()


def fresh(name: str) -> str:
    """An id that no other input of the test run has."""
    return root_id("test", name, next(_ids))


def profile(customer: str, **values: Any) -> Profile:
    return Profile(
        **{
            "event_id": fresh("profile"), "occurred_at": T0, "producer": "test",
            "customer_id": customer, "version": 1, "phone_hash": f"hash-{customer}", **values,
        }
    )  # fmt: skip


def request(task: str, known: Profile | None = None, **values: Any) -> Request:
    known = known or profile(values.get("customer_id", f"customer-{task}"))
    event_id = fresh("request")
    requested = TaskRequested(
        **{
            "event_id": event_id, "kind": "requested", "occurred_at": T0, "producer": "test",
            "task_id": task, "customer_id": known.customer_id, "campaign_id": "spring",
            "body_sha256": "", "phone": "+8613800000000", "pool": "main", **values,
        }
    )  # fmt: skip
    return Request(event_id, requested, known, to_line("customers.profiles", known))


def robot(robot_id: str, **values: Any) -> RobotChanged:
    n = next(_ids)
    status = RobotStatus(
        **{
            "event_id": fresh("robot"), "occurred_at": T0, "producer": "test", "pool": "main",
            "robot_id": robot_id, "playbooks": ["promotion"], **values,
        }
    )  # fmt: skip
    return RobotChanged(status.event_id, status, n)


def edge(name: str = "edge-1", up: bool = True, capacity: int | None = None) -> Liveness:
    return Liveness(fresh("edge"), "edge", name, up, next(_ids), (), capacity)


def worker(name: str = "robots/0", up: bool = True, partitions: tuple[int, ...] = ()) -> Liveness:
    return Liveness(fresh("worker"), "worker", name, up, next(_ids), partitions)


def call(call_id: str, kind: str, **values: Any) -> CallChanged:
    event_id = fresh(kind)
    event = CallEvent.model_validate(
        {"event_id": event_id, "kind": kind, "occurred_at": T0, "producer": "test",
         "call_id": call_id, **values}
    )  # fmt: skip
    return CallChanged(event_id, event)


def alive(*calls: str) -> CallsAlive:
    return CallsAlive(fresh("alive"), calls)


def campaign(name: str, state: str, limits: dict[str, Any] | None = None) -> CampaignChanged:
    n = next(_ids)
    event = Campaign.model_validate(
        {"event_id": fresh("campaign"), "occurred_at": T0, "producer": "test", "name": name,
         "campaign_id": name, "state": state, "settings": json.dumps(limits or {})}
    )  # fmt: skip
    return CampaignChanged(event.event_id, event, n)


def settings(policy: Policy) -> SettingsChanged:
    return SettingsChanged(fresh("settings"), policy)


def cancel(task: str, reason: str = "cancelled") -> Cancel:
    return Cancel(fresh("cancel"), task, reason)


def opted_out(phone_hash: str, allowed: bool = False, **values: Any) -> OptedOut:
    event = OptOut.model_validate(
        {"event_id": fresh("optout"), "kind": "opted_in" if allowed else "opted_out",
         "occurred_at": T0, "producer": "test", "phone_hash": phone_hash, "reason": "test",
         **values}
    )  # fmt: skip
    return OptedOut(event.event_id, event)


def changed(known: Profile) -> ProfileChanged:
    return ProfileChanged(fresh("changed"), known, to_line("customers.profiles", known))


@dataclass
class Desk:
    """A pool with a clock that the test moves; due timers fire as the host would fire them."""

    policy: Policy = field(default_factory=Policy)
    now: int = T0
    said: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = Pool("main", self.policy)

    def open(self, *robots: RobotChanged) -> "Desk":
        """With an edge, a worker and these robots."""
        records: list[Input] = [worker(), edge(), *robots]
        for record in records:
            self.give(record)
        return self

    def give(self, record: Input) -> list[Any]:
        out = self.pool.step(record, self.now)
        self.said += out
        return [event for _, event in out]

    def wait(self, ms: int) -> list[Any]:
        """Moves the clock; fires every timer at its time."""
        until, out = self.now + ms, []
        while True:
            due = self.pool.take_due(until)
            if not due:
                break
            for timer in due:
                self.now = max(self.now, timer.due_ms)
                out += self.give(
                    TimerFired(timer.event_id, timer.task_id, timer.name, timer.due_ms)
                )
        self.now = until
        return out

    def events(self, kind: str | None = None) -> list[TaskEvent]:
        found = [cast(TaskEvent, e) for topic, e in self.said if topic == "tasks.events"]
        return [e for e in found if kind is None or e.kind == kind]

    def kinds(self, task: str) -> list[str]:
        return [e.kind for e in self.events() if e.task_id == task]
