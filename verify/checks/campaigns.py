"""Campaigns call whom their lists name, while they run, and as many at once as they say."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ringlog.campaigns.aggregate import Campaigns
from ringlog.dispositions import NOT_DIALLED
from schemas.events import Campaign
from schemas.events.tasks import TASK_OVER
from schemas.ids import contact_task_id
from streams.campaigns.release import PRODUCER
from verify.check import Check, Context, Result
from verify.checks.permits import dialled_by_us
from verify.in_force import VersionsInForce
from verify.record import LogRecord

GRACE_MS: Final = 60_000
"""How long the service `campaigns` may take: it has no committed offset."""

SETTLED_MS: Final = 5_000
"""A permit is counted with others' ends only when it is older than that: outputs of one step may
lie on both sides of a running system's cut."""

PACE_MS: Final = 10_000
"""A pace is judged over so long; a quarter of a second may be made up for at once."""


@dataclass(slots=True)
class _Hold:
    """A slot of a campaign: from a permit to what freed it. `ordinal` counts the task's."""

    record: LogRecord
    task_id: str
    call_id: str
    ordinal: int
    end_ms: int | None = None

    @property
    def begin_ms(self) -> int:
        """By the pool's clock."""
        at: int = self.record.event["occurred_at"]
        return at


@dataclass(slots=True)
class _Task:
    """A task of a campaign. `over_ms` is Kafka's time of its end."""

    campaign_id: str
    holds: list[_Hold] = field(default_factory=list)
    kind: str = ""
    over_ms: int | None = None


class CampaignCalls(Check):
    """Folds versions, lists, requests and permits. Which version a permit was given under is told
    by the pool's inbox."""

    name = "campaigns"
    title = "campaigns call as their versions say"
    unit = "tasks"
    topics = frozenset(
        {"campaigns", "campaigns.contacts", "tasks.requested", "tasks.events", "calls.events",
         "dispatch.inbox"}
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[str, LogRecord] = {}
        self._newest = Campaigns()
        self._since: dict[str, LogRecord] = {}
        self._contacts: dict[str, LogRecord] = {}
        self._requests: dict[str, LogRecord] = {}
        self._tasks: dict[str, _Task] = {}
        self._in_force = VersionsInForce()
        self._dialled: set[str] = set()
        self._ended: dict[str, str] = {}
        self._given_up: dict[str, int] = {}
        self._budgets: dict[str, int] = {}
        """The largest that a version of a campaign had."""

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if not record.first:
            return
        match record.topic:
            case "campaigns":
                self._version(record)
            case "campaigns.contacts":
                task = contact_task_id(
                    event["tenant_id"], event["campaign_id"] or "", event["contact_id"]
                )
                self._contacts[task] = record
            case "tasks.requested":
                if event["kind"] == "requested" and event["task_id"] and event["campaign_id"]:
                    self._requests.setdefault(event["task_id"], record)
            case "tasks.events":
                if event["task_id"] and event["campaign_id"]:
                    self._step(record)
            case "calls.events":
                self._call(record)
            case _:
                self._in_force.take(record)

    def _version(self, record: LogRecord) -> None:
        version = Campaign.model_validate(record.event)
        campaign_id = version.campaign_id or ""
        self._versions[version.event_id] = record
        if self._newest.evolve(version):
            self._since[campaign_id] = record
        if (settings := self._in_force.settings(version)) is not None:
            self._budgets[campaign_id] = max(self._budgets.get(campaign_id, 0), settings.budget)

    def _step(self, record: LogRecord) -> None:
        event = record.event
        task = self._tasks.setdefault(event["task_id"], _Task(event["campaign_id"]))
        task.kind = event["kind"]
        if task.kind == "assigned":
            hold = _Hold(record, event["task_id"], event["call_id"] or "", len(task.holds))
            task.holds.append(hold)
        elif task.kind != "dialing" and task.holds and task.holds[-1].end_ms is None:
            task.holds[-1].end_ms = event["occurred_at"]
        if task.kind in TASK_OVER:
            task.over_ms = record.timestamp_ms

    def _call(self, record: LogRecord) -> None:
        event = record.event
        if event["kind"] == "ended":
            self._ended.setdefault(event["call_id"], event["disposition"] or "")
            if event["source"] == "dispatch":
                self._given_up.setdefault(event["call_id"], event["occurred_at"])
        elif dialled_by_us(event):
            self._dialled.add(event["call_id"])

    def finish(self, context: Context) -> Result:
        for task_id, request in self._requests.items():
            if request.judged:
                self._asked(task_id, request, context)
        groups: dict[tuple[str, str], list[_Hold]] = defaultdict(list)
        for task in self._tasks.values():
            for hold in task.holds:
                groups[hold.record.event["pool"] or "", task.campaign_id].append(hold)
        for (pool, campaign_id), holds in groups.items():
            self._permits(pool, campaign_id, holds, context)
        for campaign in self._newest.all():
            self._state(campaign, context)
        self.result.looked_at = len(
            {task for task in self._requests if self._requests[task].judged}
            & {t for t, task in self._tasks.items() if self._newest.get(task.campaign_id)}
        )
        asked = len(self._contacts.keys() & self._requests.keys())
        self.result.notes.append(
            f"{len(self._versions)} versions; {len(self._contacts)} contacts, {asked} asked for"
        )
        return self.result

    def _asked(self, task_id: str, request: LogRecord, context: Context) -> None:
        """Whether a contact's call was asked for by a version that ran."""
        event = request.event
        if not self._of_a_list(task_id, event):
            return
        ids = {"task_id": task_id, "campaign_id": event["campaign_id"]}
        if task_id not in self._contacts and context.whole("campaigns.contacts"):
            self.result.violate(
                "uninvited", "a call was asked for that no list names", request.where, **ids
            )
        version = self._versions.get(event["causation_id"] or "")
        if version is None:
            if context.whole("campaigns"):
                self.result.violate(
                    "no_version",
                    "a call was asked for under a version that is not on the log",
                    request.where, **ids,
                )  # fmt: skip
        elif version.event["state"] != "running":
            self.result.violate(
                "asked_while", "a call was asked for by a campaign that did not run",
                version.where, request.where, **ids,
            )  # fmt: skip

    @staticmethod
    def _of_a_list(task_id: str, request: dict[str, object]) -> bool:
        return task_id == contact_task_id(
            str(request["tenant_id"]), str(request["campaign_id"]),
            str(request["idempotency_key"] or ""),
        )  # fmt: skip

    # Permits

    def _permits(self, pool: str, campaign_id: str, holds: list[_Hold], context: Context) -> None:
        holds.sort(key=lambda hold: hold.begin_ms)
        ends = sorted(end for hold in holds if (end := self._end_of(hold)) is not None)
        ended = 0
        times: list[int] = []
        for begun, hold in enumerate(holds):
            at = hold.begin_ms
            while ended < len(ends) and ends[ended] <= at:
                ended += 1
            times.append(at)
            if not hold.record.judged:
                continue
            known = self._running(pool, campaign_id, hold, context.whole("dispatch.inbox"))
            if not known:
                continue
            self._budget(hold, campaign_id)
            if not context.idle and at > context.judged_ms - SETTLED_MS:
                self.result.open += 1
                continue
            limits = [s.concurrency for s in map(self._in_force.settings, known) if s is not None]
            most = max((limit or 0 for limit in limits), default=0)
            if all(limits) and begun - ended >= most:
                self._blame("concurrency", hold, f"{begun - ended + 1} calls at once, not {most}")
            self._pace(pool, campaign_id, hold, times)

    def _end_of(self, hold: _Hold) -> int | None:
        """When the slot was free again; dispatch gives a call up before it writes the task's
        end."""
        ends = [at for at in (hold.end_ms, self._given_up.get(hold.call_id)) if at is not None]
        return min(ends, default=None)

    def _running(self, pool: str, campaign_id: str, hold: _Hold, whole: bool) -> list[Campaign]:
        """Versions that may have let the permit be given; blames one that none did. `whole`: the
        inboxes are as long as they ever were."""
        known = self._in_force.at(pool, campaign_id, hold.begin_ms)
        if not known:
            request = self._requests.get(hold.task_id)
            if whole and request is not None and self._of_a_list(hold.task_id, request.event):
                self._blame("unknown", hold, "a permit before the pool knew the campaign")
            return []
        running = [
            v for v in known if v.state == "running" and self._in_force.settings(v) is not None
        ]
        if not running:
            said = known[-1].state
            self._blame("assigned_while", hold, f"a permit while the campaign was {said}")
        return running

    def _pace(self, pool: str, campaign_id: str, hold: _Hold, times: list[int]) -> None:
        at = hold.begin_ms
        known = self._in_force.during(pool, campaign_id, at - PACE_MS, at)
        paces = [s.calls_per_s for s in map(self._in_force.settings, known) if s is not None]
        if not paces or not all(paces):
            return
        most = max(pace or 0.0 for pace in paces)
        within = sum(1 for _ in _since(times, at - PACE_MS))
        if within > most * (PACE_MS + 250) / 1_000 + 1:
            self._blame("pace", hold, f"{within} permits in 10 s at {most:g} a second")

    def _budget(self, hold: _Hold, campaign_id: str) -> None:
        before = self._tasks[hold.task_id].holds[: hold.ordinal]
        rang = sum(
            h.call_id in self._dialled and self._ended.get(h.call_id, "") not in NOT_DIALLED
            for h in before
        )
        most = self._budgets.get(campaign_id, rang + 1)
        if rang >= most:
            self._blame("over_budget", hold, f"dial {rang + 1} of a contact, of {most}")

    def _blame(self, rule: str, hold: _Hold, text: str) -> None:
        self.result.violate(
            rule, text, hold.record.where, task_id=hold.task_id, call_id=hold.call_id,
            campaign_id=hold.record.event["campaign_id"],
        )  # fmt: skip

    # What must have happened by now

    def _state(self, campaign: Campaign, context: Context) -> None:
        campaign_id = campaign.campaign_id or ""
        since = self._since[campaign_id]
        if not since.judged or context.read_ms - since.timestamp_ms <= GRACE_MS:
            return
        if context.due("dispatch"):
            for pool, known in self._in_force.pools(campaign_id).items():
                if known.version < campaign.version:
                    self.result.violate(
                        "not_told", f"pool {pool} goes by version {known.version}, not "
                        f"{campaign.version}", since.where, campaign_id=campaign_id,
                    )  # fmt: skip
            if campaign.state == "ended":
                self._left_open(campaign_id, since)
        settings = self._in_force.settings(campaign)
        if campaign.state == "running" and settings is not None:
            self._forgotten(campaign_id, settings.ahead, context)

    def _left_open(self, campaign_id: str, since: LogRecord) -> None:
        """Calls of the list and calls back; what others asked for ends when its turn comes."""
        for task_id, request in self._requests.items():
            task = self._tasks.get(task_id)
            if request.event["producer"] != PRODUCER:
                continue
            if task is None or task.campaign_id != campaign_id or task.over_ms is not None:
                continue
            if task.kind in ("queued", "retry_scheduled"):
                self.result.violate(
                    "left_open", "a task waits though its campaign has ended",
                    since.where, request.where, task_id=task_id,
                )  # fmt: skip

    def _forgotten(self, campaign_id: str, ahead: int, context: Context) -> None:
        """A contact who is not asked for though the campaign has room for more. A task that is over
        only just still counts: its successor may be on its way."""
        settled = context.read_ms - GRACE_MS
        open_tasks, waiting = 0, []
        for task_id, contact in self._contacts.items():
            if contact.event["campaign_id"] != campaign_id:
                continue
            if task_id not in self._requests:
                if contact.judged and contact.timestamp_ms < settled:
                    waiting.append((task_id, contact))
                continue
            task = self._tasks.get(task_id)
            open_tasks += task is None or task.over_ms is None or task.over_ms >= settled
        for task_id, contact in waiting[: max(0, ahead - open_tasks)]:
            self.result.violate(
                "forgotten", "a contact of a running campaign was not asked for",
                contact.where, task_id=task_id, campaign_id=campaign_id,
            )  # fmt: skip


def _since(times: list[int], from_ms: int) -> Iterator[int]:
    """The newest of ascending times, back to one that is too old."""
    for at in reversed(times):
        if at <= from_ms:
            return
        yield at
