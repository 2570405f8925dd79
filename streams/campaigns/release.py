"""Which contacts' calls are asked for now: a fold of campaigns, contacts and tasks. Pure.

A contact's task has an id made from campaign and number, so asking twice is asking once. Of a
running campaign so many tasks are open that dispatch always has some to choose from, and so few
that a pause, or other settings, reach nearly all of the list.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from ringlog.campaigns.aggregate import STOPPED, Campaigns
from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import settings_of
from schemas import ids
from schemas.events import Campaign, CampaignContact, TaskEvent, TaskRequested
from schemas.events.tasks import TASK_OVER
from streams.campaigns.checkpoint import Changes, ContactRow

PRODUCER = "campaigns"

ASKED, OVER, CANCELLED, DIAL = 1, 2, 4, 8
"""How far a contact's task is: bits of its stage; above them the number of its dials."""


@dataclass(frozen=True, slots=True)
class Uncalled:
    """What is kept of a contact until its task is asked for."""

    contact_id: str
    customer_id: str
    phone: str
    priority: str
    tags: tuple[str, ...]
    skills: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class ListProgress:
    """One campaign's list: who is not asked for yet, and which tasks are open, of which
    customer."""

    waiting: deque[Uncalled] = field(default_factory=deque)
    open: dict[str, str] = field(default_factory=dict)
    contacts: int = 0


class ListRelease:
    """All campaigns' progress. Feed it contacts before tasks: a task of an unknown contact is
    somebody else's."""

    def __init__(self) -> None:
        self.campaigns = Campaigns()
        self.progress: dict[str, ListProgress] = {}
        self._campaign_of: dict[str, str] = {}
        self._stage: dict[str, int] = {}
        self._new: list[ContactRow] = []
        self._moved: set[str] = set()
        self._settings: dict[str, CampaignSettings | None] = {}

    def evolve(self, event: object) -> None:
        """Takes the next record of any of the topics; a repeated one changes nothing."""
        match event:
            case Campaign():
                if self.campaigns.evolve(event):
                    self._settings[event.campaign_id or ""] = _readable(event)
            case CampaignContact():
                self._contact(event)
            case TaskRequested(task_id=str(task)) if task in self._campaign_of:
                if event.kind == "cancel":
                    self._move(task, CANCELLED)
                elif self._move(task, ASKED) and not self._stage[task] & OVER:
                    self.progress[self._campaign_of[task]].open[task] = event.customer_id or ""
            case TaskEvent(task_id=str(task)) if task in self._campaign_of:
                if event.kind in TASK_OVER and self._move(task, OVER):
                    self.progress[self._campaign_of[task]].open.pop(task, None)

    def _move(self, task: str, stage: int) -> bool:
        """Whether that is news."""
        known = self._stage.get(task, 0)
        if known & stage:
            return False
        self._stage[task] = known | stage
        self._moved.add(task)
        return True

    def dialled(self, task: str, count: bool) -> int:
        """The dials of a task, with one that has ended, if it is to be counted. Of somebody else's
        task it is that one."""
        if task not in self._campaign_of:
            return int(count)
        stage = self._stage.get(task, 0)
        if count:
            stage = self._stage[task] = stage + DIAL
            self._moved.add(task)
        return stage // DIAL

    def _contact(self, contact: CampaignContact) -> None:
        campaign_id = contact.campaign_id or ""
        task = ids.contact_task_id(contact.tenant_id, campaign_id, contact.contact_id)
        if task in self._campaign_of:
            return
        self._campaign_of[task] = campaign_id
        found = self.progress.setdefault(campaign_id, ListProgress())
        found.contacts += 1
        skills = tuple(sorted(contact.skills.items()))
        customer = contact.customer_id or ""
        found.waiting.append(
            Uncalled(
                contact.contact_id, customer, contact.phone, contact.priority,
                tuple(contact.tags), skills,
            )
        )  # fmt: skip
        self._new.append(
            (
                task, 0, campaign_id, contact.contact_id, customer, contact.phone,
                contact.priority, json.dumps(contact.tags), json.dumps(skills),
            )
        )  # fmt: skip

    def changes(self) -> Changes:
        """What changed since the last call."""
        found = Changes(self._new, [(self._stage[task], task) for task in self._moved])
        self._new, self._moved = [], set()
        return found

    def restore(self, rows: Iterable[ContactRow]) -> None:
        """Takes up the state that `changes` told of, in an empty one."""
        for task, stage, campaign, contact, customer, phone, priority, tags, skills in rows:
            self._campaign_of[task] = campaign
            found = self.progress.setdefault(campaign, ListProgress())
            found.contacts += 1
            if stage:
                self._stage[task] = stage
            if not stage & ASKED:
                levels = tuple((skill, level) for skill, level in json.loads(skills))
                found.waiting.append(
                    Uncalled(contact, customer, phone, priority, tuple(json.loads(tags)), levels)
                )
            elif not stage & OVER:
                found.open[task] = customer

    def settings_of(self, campaign_id: str) -> CampaignSettings | None:
        """A campaign's settings; None where they cannot be read."""
        return self._settings.get(campaign_id)

    @property
    def contacts(self) -> int:
        """How many are known."""
        return len(self._campaign_of)

    def is_ours(self, task_id: str) -> bool:
        """Whether a task is that of a contact."""
        return task_id in self._campaign_of

    def decide(self, now_ms: int, most: int) -> list[TaskRequested]:
        """What is to be asked for, at most so many: tasks of running campaigns, and the
        cancellation of open tasks of those that have ended."""
        out: list[TaskRequested] = []
        for campaign in self.campaigns.all():
            found = self.progress.get(campaign.campaign_id or "")
            if found is None:
                continue
            if campaign.state == "running":
                out += self._requests(campaign, found, now_ms, most - len(out))
            elif campaign.state == "ended":
                found.waiting.clear()
                out += islice(self._cancels(campaign, found, now_ms), most - len(out))
        return out

    def _requests(
        self, campaign: Campaign, found: ListProgress, now_ms: int, most: int
    ) -> Iterator[TaskRequested]:
        settings = self.settings_of(campaign.campaign_id or "")
        if settings is None:
            return
        room = min(most, settings.ahead - len(found.open))
        while room > 0 and found.waiting:
            contact = found.waiting.popleft()
            task = ids.contact_task_id(
                campaign.tenant_id, campaign.campaign_id or "", contact.contact_id
            )
            if self._stage.get(task, 0) & ASKED:
                continue
            room -= 1
            yield _request(campaign, settings, contact, task, now_ms)

    def _cancels(
        self, campaign: Campaign, found: ListProgress, now_ms: int
    ) -> Iterator[TaskRequested]:
        """They name no pool, and so reach all that may have the task: the campaign's may have been
        another one when it was asked for."""
        for task in sorted(found.open):
            if self._stage[task] & CANCELLED:
                continue
            yield stopped(campaign, task, found.open[task], now_ms)


def stopped(
    campaign: Campaign, task: str, customer_id: str | None, now_ms: int, tags: Iterable[str] = ()
) -> TaskRequested:
    """The cancellation of a task of a campaign that has ended, now in ms since 1970 UTC."""
    return TaskRequested(
        event_id=ids.event_id(task, "cancel"),
        kind="cancel",
        occurred_at=now_ms,
        producer=PRODUCER,
        causation_id=campaign.event_id,
        tenant_id=campaign.tenant_id,
        task_id=task,
        customer_id=customer_id,
        campaign_id=campaign.campaign_id,
        body_sha256="",
        tags=list(tags),
        reason=STOPPED,
    )


def _request(
    campaign: Campaign, settings: CampaignSettings, contact: Uncalled, task: str, now_ms: int
) -> TaskRequested:
    return TaskRequested.model_validate(
        {
            "event_id": ids.event_id(task, "requested"),
            "kind": "requested",
            "occurred_at": now_ms,
            "producer": PRODUCER,
            "causation_id": campaign.event_id,
            "tenant_id": campaign.tenant_id,
            "task_id": task,
            "customer_id": contact.customer_id,
            "campaign_id": campaign.campaign_id,
            "pool": settings.pool,
            "body_sha256": ids.root_id(task, campaign.version).replace("-", ""),
            "idempotency_key": contact.contact_id,
            "phone": contact.phone,
            "priority": contact.priority,
            "tags": list(contact.tags),
            "skills": dict(contact.skills),
            "playbook": settings.playbook,
        }
    )


def _readable(event: Campaign) -> CampaignSettings | None:
    try:
        return settings_of(event)
    except ValueError:
        return None
