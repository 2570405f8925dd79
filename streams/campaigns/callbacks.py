"""Calls that came to "call me back" become tasks at the time that the customer asked for. Pure.

Turns and endings lie on two topics, so their records come in any order, and a call is judged a
little after its end was read. A call back is a promise: it is called once even where the contact's
budget is used up, but the dials before it count when it is to be tried again.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ringlog.campaigns.callbacks import MAX_CHARACTERS, callback_of
from ringlog.dispositions import NOT_DIALLED
from ringlog.law.places import NoPlace, place_of
from schemas import ids
from schemas.events import CallEvent, TaskEvent, TaskRequested, Turn
from schemas.events.dialogue import REPROMPT
from schemas.events.tasks import TASK_OVER
from streams.campaigns.checkpoint import Note
from streams.campaigns.release import PRODUCER, ListRelease, stopped

TAG = "callback"
"""Label of these tasks, by which settings of a campaign can give them a weight of their own."""

OUTCOME = "callback"
"""What a playbook calls it when a customer wants another call."""

SETTLE_MS = 3_000
"""How long after an ending was read its call is judged."""

FORGET_MS = 24 * 3_600_000
"""A call without an ending for so long is forgotten."""

LOOK_MS = 60_000
"""How often it is looked for such calls."""

OTHERWISE_MS = 2 * 3_600_000
"""When somebody is called back who named no time: after that long."""

MAX_EARLY = 32
"""Turns of a call that are kept while its beginning is not read yet."""

_ROBOTS_ZONE = "Asia/Shanghai"
"""In which zone robots read days where the profile names none (`streams.robots.slots`)."""

_SLOTS = ("date", "time", "half_day")


@dataclass(slots=True)
class ObservedCall:
    """What is known of a call that is not judged yet; `phone` is empty until it is known to be one
    of ours. Times are ms since 1970 UTC."""

    first_ms: int
    tenant_id: str = ""
    task_id: str = ""
    customer_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    phone: str = ""
    playbook: str | None = None
    zone: str = ""
    slots_hold: bool = False
    """Whether the robot read days in the same zone."""
    outcome: str | None = None
    wish_ms: int | None = None
    said_ms: int = 0
    early: list[tuple[str, dict[str, str], int]] = field(default_factory=list)
    """Words, slots and times of turns that came before the zone was known."""
    ended_id: str = ""
    ended_ms: int = 0
    judged_ms: int = 0
    dials: int = 0
    """Dials of the contact by then."""


@dataclass(slots=True)
class KeptCallback:
    """A call back that was asked for; `dials` are the contact's before and since."""

    tenant_id: str
    campaign_id: str
    customer_id: str | None
    dials: int
    over: bool = False
    cancelled: bool = False


class Callbacks:
    """Calls in progress, those that have just ended, and the calls back of earlier ones."""

    def __init__(self, release: ListRelease) -> None:
        self._release = release
        self._calls: dict[str, ObservedCall] = {}
        self._ended: dict[str, ObservedCall] = {}
        self._due: dict[str, ObservedCall] = {}
        self._kept: dict[str, KeptCallback] = {}
        self._open: dict[str, dict[str, KeptCallback]] = {}
        self._changed: set[Note] = set()
        self._looked_ms = 0

    def evolve(self, event: object, now_ms: int) -> None:
        """Takes the next record of any of the topics; `now_ms` is when it was read."""
        match event:
            case TaskRequested(task_id=str(task)):
                self._requested(task, event)
            case TaskEvent(task_id=str(task)) if task in self._kept and event.kind in TASK_OVER:
                self._kept[task].over = True
                self._open.get(self._kept[task].campaign_id, {}).pop(task, None)
                self._changed.add(("callback", task))
            case CallEvent(call_id=str(call_id)) if event.kind in ("dialing", "ended"):
                self._call(call_id, event, now_ms)
            case Turn(call_id=str(call_id)):
                self._turn(call_id, event)

    def is_ours(self, task_id: str) -> bool:
        """Whether a task is a call back."""
        return task_id in self._kept

    def _requested(self, task: str, event: TaskRequested) -> None:
        known = self._kept.get(task)
        if known is None and event.kind == "requested":
            if TAG in event.tags and event.producer == PRODUCER:
                campaign = event.campaign_id or ""
                this = KeptCallback(event.tenant_id, campaign, event.customer_id, event.dials)
                self._keep(task, this)
                if event.idempotency_key in self._due:
                    self._forget(event.idempotency_key)
        elif known is not None and event.kind == "cancel":
            known.cancelled = True
            self._changed.add(("callback", task))

    def _keep(self, task: str, this: KeptCallback) -> None:
        self._kept[task] = this
        self._changed.add(("callback", task))
        if not this.over:
            self._open.setdefault(this.campaign_id, {})[task] = this

    def _call(self, call_id: str, event: CallEvent, now_ms: int) -> None:
        call = self._of(call_id, event.occurred_at)
        if event.kind == "dialing":
            if not call.phone and event.phone and event.direction in (None, "outbound"):
                call.tenant_id, call.task_id = event.tenant_id, event.task_id or ""
                call.customer_id, call.campaign_id = event.customer_id, event.campaign_id
                call.pool, call.phone, call.playbook = event.pool, event.phone, event.playbook
                call.zone, call.slots_hold = _zone(event)
                for text, slots, said_ms in call.early:
                    self._said(call, text, slots, said_ms)
                call.early.clear()
        elif not call.ended_id:
            call.ended_id, call.ended_ms = event.event_id, event.occurred_at
            call.judged_ms = now_ms + SETTLE_MS
            call.dials = self._count(call.task_id, event.disposition not in NOT_DIALLED)
            self._ended[call_id] = call

    def _count(self, task: str, dialled: bool) -> int:
        """The dials of a task's contact, with the one that has ended."""
        kept = self._kept.get(task)
        if kept is None:
            return self._release.dialled(task, dialled)
        kept.dials += dialled
        self._changed.add(("callback", task))
        return kept.dials

    def _turn(self, call_id: str, turn: Turn) -> None:
        call = self._of(call_id, turn.occurred_at)
        if turn.outcome != REPROMPT:
            call.outcome = turn.outcome or call.outcome
        if turn.text:
            slots = {name: turn.slots[name] for name in _SLOTS if name in turn.slots}
            if call.phone:
                self._said(call, turn.text, slots, turn.occurred_at)
            elif len(call.early) < MAX_EARLY:
                call.early.append((turn.text[:MAX_CHARACTERS], slots, turn.occurred_at))

    def _said(self, call: ObservedCall, text: str, slots: dict[str, str], said_ms: int) -> None:
        if not call.zone:
            return
        wish = callback_of(text, slots if call.slots_hold else {}, said_ms, ZoneInfo(call.zone))
        if wish is not None:
            call.wish_ms = wish.at_ms
        call.said_ms = said_ms

    def _of(self, call_id: str, at_ms: int) -> ObservedCall:
        self._changed.add(("call", call_id))
        return self._calls.setdefault(call_id, ObservedCall(at_ms))

    def settle(self, until_ms: int) -> None:
        """Judges the calls of which all was read that was written until then."""
        for call_id in [i for i, call in self._ended.items() if call.judged_ms <= until_ms]:
            call = self._ended.pop(call_id)
            if call.outcome == OUTCOME and call.phone:
                self._due[call_id] = call
            else:
                self._forget(call_id)
        if not self._looked_ms <= until_ms < self._looked_ms + LOOK_MS:
            self._looked_ms = until_ms
            for call_id, call in tuple(self._calls.items()):
                if not call.ended_id and call.first_ms < until_ms - FORGET_MS:
                    self._forget(call_id)

    def _forget(self, call_id: str) -> None:
        del self._calls[call_id]
        self._due.pop(call_id, None)
        self._changed.add(("call", call_id))

    def decide(self, now_ms: int, most: int = 500) -> list[TaskRequested]:
        """The tasks of calls that are to be judged by now, each once, and not if it is on the log
        already; and the cancellation, with its reason, of calls back whose campaign has ended.
        What it gives is to be folded once it is on the log."""
        self.settle(now_ms)
        out: list[TaskRequested] = []
        for call_id, call in tuple(self._due.items()):
            task = ids.task_id(call.tenant_id, "callbacks", call_id)
            if task in self._kept:
                self._forget(call_id)
            elif len(out) < most:
                out.append(_request(task, call_id, call, now_ms))
        for campaign_id, tasks in self._open.items():
            campaign = self._release.campaigns.get(campaign_id)
            if campaign is not None and campaign.state == "ended":
                found = (t for t, kept in tasks.items() if not kept.cancelled)
                out += [
                    stopped(campaign, task, tasks[task].customer_id, now_ms, [TAG])
                    for task in islice(found, max(0, most - len(out)))
                ]
        return out

    def changes(self) -> dict[Note, str | None]:
        """What changed since the last call: kind, and call or task, with the state as text."""
        found: dict[Note, str | None] = {}
        for kind, name in self._changed:
            known = (self._calls if kind == "call" else self._kept).get(name)
            found[kind, name] = None if known is None else json.dumps(asdict(known))
        self._changed.clear()
        return found

    def restore(self, notes: Iterable[tuple[Note, str]]) -> None:
        """Takes up the state that `changes` told of, in an empty one."""
        for (kind, name), text in notes:
            if kind == "callback":
                self._keep(name, KeptCallback(**json.loads(text)))
            elif kind == "call":
                call = self._calls[name] = ObservedCall(**json.loads(text))
                call.early = [(words, slots, said_ms) for words, slots, said_ms in call.early]
                if call.ended_id:
                    self._ended[name] = call
        self._changed.clear()


def _request(task: str, call_id: str, call: ObservedCall, now_ms: int) -> TaskRequested:
    otherwise = (call.said_ms or call.ended_ms) + OTHERWISE_MS
    at = otherwise if call.wish_ms is None else call.wish_ms
    return TaskRequested(
        event_id=ids.event_id(task, "requested"),
        kind="requested",
        occurred_at=now_ms,
        producer=PRODUCER,
        causation_id=call.ended_id,
        tenant_id=call.tenant_id,
        task_id=task,
        customer_id=call.customer_id,
        campaign_id=call.campaign_id,
        pool=call.pool,
        body_sha256=ids.root_id(task, at).replace("-", ""),
        idempotency_key=call_id,
        phone=call.phone,
        priority="high",
        tags=[TAG],
        playbook=call.playbook,
        not_before=at,
        dials=call.dials,
    )


def _zone(began: CallEvent) -> tuple[str, bool]:
    """The customer's zone: the profile's, else the number's. Whether the robot used the same."""
    try:
        profile = json.loads(began.profile or "{}")
        return ZoneInfo(profile["attributes"]["zone"]).key, True
    except (ValueError, KeyError, TypeError, RecursionError, OSError, ZoneInfoNotFoundError):
        pass
    place = place_of(began.phone or "")
    if isinstance(place, NoPlace):
        return "", False
    return place.zones[0].key, place.zones[0].key == _ROBOTS_ZONE
