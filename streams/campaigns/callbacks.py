"""Calls that came to "call me back" become tasks at the time that the customer asked for. Pure.

Turns and endings lie on two topics, so a call is judged a little after its end was read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ringlog.campaigns.aggregate import Campaigns
from ringlog.campaigns.callbacks import Appointment, callback_of
from ringlog.law.places import NoPlace, place_of
from schemas import ids
from schemas.events import CallEvent, TaskRequested, Turn
from streams.campaigns.release import PRODUCER

TAG = "callback"
"""Label of these tasks, by which settings of a campaign can give them a weight of their own."""

OUTCOME = "callback"
"""What a playbook calls it when a customer wants another call."""

SETTLE_MS = 3_000
"""How long after an ending was read its call is judged."""

FORGET_MS = 24 * 3_600_000
"""A call without an ending for so long is forgotten."""

OTHERWISE_MS = 2 * 3_600_000
"""When somebody is called back who named no time: after that long."""

_ROBOTS_ZONE = "Asia/Shanghai"
"""In which zone robots read days where the profile names none (`streams.robots.slots`)."""


@dataclass(slots=True)
class _Call:
    began: CallEvent
    zone: tzinfo | None
    slots_hold: bool
    """Whether the robot read days in the same zone."""
    outcome: str | None = None
    wish: Appointment | None = None
    said_ms: int = 0
    ended: CallEvent | None = None
    judged_ms: int = 0


class Callbacks:
    """Calls in progress, and those that have just ended."""

    def __init__(self, campaigns: Campaigns) -> None:
        self._campaigns = campaigns
        self._calls: dict[str, _Call] = {}
        self._ended: dict[str, _Call] = {}
        self._asked: set[str] = set()

    def evolve(self, event: object, now_ms: int) -> None:
        """Takes the next record of any of the topics; `now_ms` is when it was read."""
        match event:
            case TaskRequested():
                if TAG in event.tags and event.producer == PRODUCER:
                    self._asked.add(event.task_id or "")
            case CallEvent(call_id=str(call_id)):
                self._call(call_id, event, now_ms)
            case Turn(call_id=str(call_id)):
                self._turn(call_id, event)

    def _call(self, call_id: str, event: CallEvent, now_ms: int) -> None:
        call = self._calls.get(call_id)
        if call is None and event.phone and event.kind == "dialing":
            if event.direction in (None, "outbound"):
                self._calls[call_id] = _Call(event, *_zone(event))
        elif call is not None and event.kind == "ended" and call.ended is None:
            call.ended, call.judged_ms = event, now_ms + SETTLE_MS
            self._ended[call_id] = call

    def _turn(self, call_id: str, turn: Turn) -> None:
        call = self._calls.get(call_id)
        if call is None:
            return
        call.outcome = turn.outcome or call.outcome
        if turn.text and call.zone is not None:
            slots: Mapping[str, str] = turn.slots if call.slots_hold else {}
            wish = callback_of(turn.text, slots, turn.occurred_at, call.zone)
            if wish is not None:
                call.wish = wish
            call.said_ms = turn.occurred_at

    def decide(self, now_ms: int) -> list[TaskRequested]:
        """The tasks of calls that are to be judged by now. Each is given once, and not if it is
        on the log already."""
        old = [i for i, c in self._calls.items() if c.began.occurred_at < now_ms - FORGET_MS]
        for call_id in old:
            if self._calls[call_id].ended is None:
                del self._calls[call_id]
        due = [(i, call) for i, call in self._ended.items() if call.judged_ms <= now_ms]
        out = []
        for call_id, call in due:
            del self._ended[call_id], self._calls[call_id]
            if call.outcome == OUTCOME and call.ended is not None:
                request = self._request(call_id, call, call.ended, now_ms)
                if request is not None:
                    out.append(request)
        return out

    def _request(
        self, call_id: str, call: _Call, ended: CallEvent, now_ms: int
    ) -> TaskRequested | None:
        began = call.began
        task = ids.task_id(began.tenant_id, "callbacks", call_id)
        campaign = self._campaigns.get(began.campaign_id or "")
        if task in self._asked or (campaign is not None and campaign.state == "ended"):
            return None
        self._asked.add(task)
        said_ms = call.said_ms or ended.occurred_at
        at = said_ms + OTHERWISE_MS if call.wish is None else call.wish.at_ms
        return TaskRequested(
            event_id=ids.event_id(task, "requested"),
            kind="requested",
            occurred_at=now_ms,
            producer=PRODUCER,
            causation_id=ended.event_id,
            tenant_id=began.tenant_id,
            task_id=task,
            customer_id=began.customer_id,
            campaign_id=began.campaign_id,
            pool=began.pool,
            body_sha256=ids.root_id(task, at).replace("-", ""),
            idempotency_key=call_id,
            phone=began.phone,
            priority="high",
            tags=[TAG],
            playbook=began.playbook,
            not_before=at,
        )


def _zone(began: CallEvent) -> tuple[tzinfo | None, bool]:
    """The customer's zone: the profile's, else the number's. Whether the robot used the same."""
    name = ""
    try:
        profile = json.loads(began.profile or "{}")
        name = profile["attributes"]["zone"]
        return ZoneInfo(name), True
    except (ValueError, KeyError, TypeError, RecursionError, OSError, ZoneInfoNotFoundError):
        pass
    place = place_of(began.phone or "")
    if isinstance(place, NoPlace):
        return None, False
    return place.zones[0], place.zones[0].key == _ROBOTS_ZONE
