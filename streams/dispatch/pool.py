"""One pool's dispatch: a deterministic fold over its inbox.

`Pool.step(input, timestamp_ms)` takes one record, changes the state and returns what follows, in
order. It reads no clock and draws no lots: `timestamp_ms` is the record's Kafka timestamp, and its
running maximum is the pool's `now`. Fed with the same records, it gives the same outputs with the
same ids. The cost of a step does not depend on how many tasks wait.
"""

from collections.abc import Iterable

from ringlog.dispositions import FAILED, NOT_DIALLED, RETRIED
from schemas.catalogue import CALL_PARTITIONS
from schemas.ids import call_id as id_of_call
from streams.dispatch import inputs as i
from streams.dispatch.facts import Output, call_ended, refusal, task_event
from streams.dispatch.fairness import Fairness
from streams.dispatch.lines import RANKS, Lines
from streams.dispatch.outcome import disposition_of
from streams.dispatch.policy import Policy
from streams.dispatch.roster import Robot
from streams.dispatch.state import Index, Optouts, Presence, Recent, Touched
from streams.dispatch.task import HOLDING, Requirement, State, Task, rank_of
from streams.dispatch.timers import Timer, Timers, accept

ALL_PARTITIONS = frozenset(range(CALL_PARTITIONS))


class Pool:
    """The state of one pool. Attributes are for the snapshot and for tests to read."""

    def __init__(self, name: str, policy: Policy | None = None) -> None:
        self.name = name
        self.policy = policy or Policy()
        self.now = 0
        self.next_seq = 0
        self.next_robot = 0
        self.assignments = 0
        self.tasks: dict[str, Task] = {}
        self.by_seq: dict[int, Task] = {}
        self.lines = Lines(self.by_seq)
        self.roster = self.lines.roster
        self.fairness = Fairness()
        self.timers = Timers()
        self.playbooks: dict[str, tuple[str | None, int]] = {}
        self.touched = Touched()
        self.optouts = Optouts(self.touched)
        self.recent = Recent(self.touched)
        self.presence = Presence()
        self._by_call: dict[str, Task] = {}
        self._by_customer = Index()
        self._by_phone = Index()
        self._edge_load: dict[str, int] = {}
        self._robot_by_n: dict[int, Robot] = {}

    def step(self, record: i.Input, timestamp_ms: int) -> list[Output]:
        """Works one inbox record; returns (topic, event) pairs in the order to write them."""
        self.now = max(self.now, timestamp_ms)
        out = self._work(record)
        self._assign(out)
        return out

    def take_due(self, clock_ms: int) -> list[Timer]:
        """Timers that the host now has to append to the inbox, each once."""
        return self.timers.take_due(self.tasks, clock_ms)

    def restore(self, tasks: Iterable[Task], robots: Iterable[Robot]) -> None:
        """Takes up tasks and robots of a snapshot; the other attributes are set before."""
        for robot in robots:
            self._robot_by_n[robot.n] = robot
            self.roster.put(robot)
        for task in tasks:
            self._index(task)
            self.timers.restore(task)
            if task.state is State.QUEUED:
                self.lines.add(task)

    def robot_by_n(self, n: int) -> Robot | None:
        """The robot of that order of arrival."""
        return self._robot_by_n.get(n)

    def _work(self, record: i.Input) -> list[Output]:
        match record:
            case i.Request():
                return self._requested(record)
            case i.CallChanged():
                return self._call_changed(record)
            case i.CallsAlive():
                for call in record.call_ids:
                    task = self._by_call.get(call)
                    if task is not None:
                        self._renew(task)
                return []
            case i.TimerFired():
                return self._timer_fired(record)
            case i.Cancel():
                return self._cancelled(record)
            case i.OptedOut():
                return self._opted_out(record)
            case i.ProfileChanged():
                return self._profile_changed(record)
            case i.RobotChanged():
                self._robot_changed(record)
            case i.PlaybookChanged():
                if record.offset > self.playbooks.get(record.playbook, ("", -1))[1]:
                    self.playbooks[record.playbook] = (record.version, record.offset)
            case i.Liveness():
                self.presence.note(record)
        return []

    # Requests

    def _requested(self, record: i.Request) -> list[Output]:
        request, profile = record.task, record.profile
        task_id = request.task_id or ""
        if task_id in self.tasks or task_id in self.recent:
            return []
        need = Requirement(tuple(sorted(request.skills.items())), request.playbook)
        why = self._why_not(record, need)
        if why is not None:
            kind, reason = why
            return [refusal(request, self.name, kind, reason, self.now, record.event_id)]
        task = Task(
            seq=self.next_seq,
            task_id=task_id,
            tenant_id=request.tenant_id,
            customer_id=request.customer_id or "",
            campaign_id=request.campaign_id,
            phone=request.phone or "",
            phone_hash=profile.phone_hash,
            priority=request.priority,
            rank=rank_of(request.priority, profile.purchase_intent, profile.level, self.policy),
            requirement=need,
            deadline=request.deadline,
            profile=record.profile_text,
            profile_version=profile.version,
            state=State.QUEUED,
            last_event_id=record.event_id,
        )
        self.next_seq += 1
        self._index(task)
        starts = request.not_before
        later = starts if starts is not None and starts > self.now else None
        out = [self._say(task, "queued", retry_at=later)]
        if request.deadline is not None:
            self.timers.set(task, "deadline", request.deadline, task.last_event_id)
        if later is None:
            self._queue(task)
        else:
            task.state = State.WAITING
            self.timers.set(task, "start", later, task.last_event_id)
        return out

    def _why_not(self, record: i.Request, need: Requirement) -> tuple[str, str] | None:
        request, profile = record.task, record.profile
        if not request.phone:
            return "refused", "no phone number"
        if profile.opted_out or (profile.phone_hash or "") in self.optouts:
            return "refused", "opted_out"
        if request.deadline is not None and request.deadline <= self.now:
            return "expired", "deadline"
        if why := self.roster.unservable(need):
            return "refused", why
        limit = self.policy.queue_limit
        if limit and len(self.tasks) >= limit:
            return "refused", f"queue is full: {limit} open tasks"
        return None

    def _cancelled(self, record: i.Cancel) -> list[Output]:
        task = self.tasks.get(record.task_id)
        if task is None:
            return []
        if task.state in (State.QUEUED, State.WAITING):
            return [self._over(task, "cancelled", "cancelled", record.event_id)]
        task.cancel_requested = True  # the edge may be dialling: the call's end decides
        self._touch(task)
        return []

    def _opted_out(self, record: i.OptedOut) -> list[Output]:
        if record.allowed:
            self.optouts.discard(record.phone_hash)
            return []
        self.optouts.add(record.phone_hash)
        return self._drop_waiting(self._by_phone.of(record.phone_hash))

    def _profile_changed(self, record: i.ProfileChanged) -> list[Output]:
        profile = record.profile
        ids = self._by_customer.of(profile.customer_id)
        if profile.opted_out:
            return self._drop_waiting(ids)
        for task in map(self.tasks.__getitem__, ids):
            if task.state in HOLDING or task.profile_version >= profile.version:
                continue
            task.profile, task.profile_version = record.profile_text, profile.version
            rank = rank_of(task.priority, profile.purchase_intent, profile.level, self.policy)
            self._touch(task)
            if rank != task.rank:
                task.rank = rank
                if task.state is State.QUEUED:
                    self.lines.add(task)
        return []

    def _drop_waiting(self, ids: Iterable[str]) -> list[Output]:
        found = [self.tasks[task_id] for task_id in ids]
        return [
            self._over(task, "refused" if task.attempt == 1 else "failed", "opted_out")
            for task in found
            if task.state in (State.QUEUED, State.WAITING)
        ]

    # Calls

    def _call_changed(self, record: i.CallChanged) -> list[Output]:
        task = self._by_call.get(record.call.call_id or "")
        if task is None:
            return []
        kind = record.call.kind
        if kind == "ended":
            return self._ended(task, record)
        out: list[Output] = []
        if kind == "answered":
            task.answered = True
        if task.state is State.ASSIGNED:
            task.state = State.CALLING
            task.timers.pop("permit", None)
            out.append(self._say(task, "dialing", record.event_id, edge_id=task.edge_id))
            self._renew(task)
            self.timers.set(task, "lease", task.lease_until, task.last_event_id)
        else:
            self._renew(task)
        return out

    def _ended(self, task: Task, record: i.CallChanged) -> list[Output]:
        cause = record.event_id
        disposition = disposition_of(record.call, task.answered)
        if disposition not in NOT_DIALLED:
            task.dials += 1
        self._release(task)
        if disposition == "opted_out" and not task.answered:
            return [self._over(task, "failed", disposition, cause)]  # the edge refused to dial
        if disposition not in FAILED:
            return [self._over(task, "completed", disposition, cause)]
        retry_at = self.now + self.policy.retry_ms
        if disposition not in RETRIED or task.dials >= self.policy.max_dials:
            return [self._over(task, "failed", disposition, cause)]
        if task.cancel_requested:
            return [self._over(task, "cancelled", "cancelled", cause)]
        if (task.phone_hash or "") in self.optouts:
            return [self._over(task, "failed", "opted_out", cause)]
        if task.attempt >= self.policy.max_attempts or (
            task.deadline is not None and task.deadline <= retry_at
        ):
            return [self._over(task, "failed", disposition, cause)]
        self._next_attempt(task, State.WAITING)
        out = [self._say(task, "retry_scheduled", cause, reason=disposition, retry_at=retry_at)]
        self.timers.set(task, "retry", retry_at, task.last_event_id)
        return out

    # Timers

    def _timer_fired(self, record: i.TimerFired) -> list[Output]:
        task = self.tasks.get(record.task_id)
        if task is None:
            return []
        due = accept(task, record.name, record.event_id)
        if due is None:
            return []
        self._touch(task)
        if record.name == "permit":
            return self._permit_expired(task, record.event_id)
        if record.name == "lease":
            return self._lease_expired(task, due, record.event_id)
        if record.name == "deadline":
            if task.state in (State.QUEUED, State.WAITING):
                return [self._over(task, "expired", "deadline", record.event_id)]
            return []
        out = [self._say(task, "queued", record.event_id, reason=record.name)]
        self._queue(task)
        return out

    def _permit_expired(self, task: Task, cause: str) -> list[Output]:
        self._release(task)
        if task.cancel_requested:
            return [self._over(task, "cancelled", "cancelled", cause)]
        if (task.phone_hash or "") in self.optouts:
            return [self._over(task, "failed", "opted_out", cause)]
        if task.deadline is not None and task.deadline <= self.now:
            return [self._over(task, "expired", "deadline", cause)]
        if task.attempt >= self.policy.max_attempts:
            return [self._over(task, "failed", "no edge dialled", cause)]
        # Another attempt is another call: the one whose permit ran out can never be dialled again.
        self._next_attempt(task, State.QUEUED)
        out = [self._say(task, "queued", cause, reason="permit_expired")]
        self._queue(task)
        return out

    def _lease_expired(self, task: Task, due: int, cause: str) -> list[Output]:
        if task.lease_until > due:
            self.timers.set(task, "lease", task.lease_until, cause)
            return []
        # Which `ended` counts is decided by the order of the call's own partition: the task's
        # outcome follows when that record comes back.
        out = [call_ended(task, self.name, self.now, cause)]
        self._release(task)
        task.state = State.ENDING
        return out

    # Robots

    def _robot_changed(self, record: i.RobotChanged) -> None:
        status = record.robot
        robot_id = status.robot_id or ""
        robot = self.roster.robots.get(robot_id)
        if robot is None:
            robot = Robot(self.next_robot, robot_id, -1, "removed", 0, {}, [], "")
            self._robot_by_n[robot.n] = robot
            self.next_robot += 1
        elif record.offset <= robot.offset:
            return
        robot.offset = record.offset
        robot.state = status.state
        robot.slots = status.slots
        robot.skills = dict(status.skills)
        robot.playbooks = list(status.playbooks)
        robot.asr_profile = status.asr_profile
        self.roster.put(robot)
        self.touched.robot(robot.n)

    def _release(self, task: Task) -> None:
        """Gives back the slot that the task holds, if it holds one."""
        task.timers.pop("permit", None)
        task.timers.pop("lease", None)
        robot = self.roster.robots.get(task.robot_id or "")
        if task.state in HOLDING and robot is not None and task.call_id in robot.calls:
            robot.calls.discard(task.call_id)
            self.roster.changed(robot)
            self.touched.robot(robot.n)
        if task.state in HOLDING and task.edge_id is not None:
            self._edge_load[task.edge_id] = max(0, self._edge_load.get(task.edge_id, 0) - 1)
        self._touch(task)

    # Assignment

    def _assign(self, out: list[Output]) -> None:
        """Gives waiting tasks to idle robots until none of either is left that fit."""
        if not self.presence.any_edge or not self.presence.covers(ALL_PARTITIONS):
            return
        while True:
            found = {rank: pair for rank in RANKS if (pair := self.lines.first(rank)) is not None}
            if not found:
                return
            task, robot = found[self.fairness.pick(tuple(found))]
            out.append(self._permit(task, robot))

    def _permit(self, task: Task, robot: Robot) -> Output:
        edge_id = self.presence.least_loaded(self._edge_load)
        self.assignments += 1
        robot.last_used = self.assignments
        task.state = State.ASSIGNED
        task.call_id = id_of_call(task.task_id, task.attempt)
        task.robot_id = robot.robot_id
        task.edge_id = edge_id
        task.answered = False
        robot.calls.add(task.call_id)
        self._by_call[task.call_id] = task
        self._edge_load[edge_id] = self._edge_load.get(edge_id, 0) + 1
        playbook = task.requirement.playbook or next(iter(robot.playbooks), None)
        expires = self.now + self.policy.permit_ms
        output = self._say(
            task,
            "assigned",
            permit_expires_at=expires,
            edge_id=edge_id,
            phone=task.phone,
            playbook=playbook,
            playbook_version=self.playbooks.get(playbook or "", (None, 0))[0],
            asr_profile=robot.asr_profile,
            profile=task.profile,
        )
        due = expires + self.policy.permit_grace_ms
        self.timers.set(task, "permit", due, task.last_event_id)
        self.touched.robot(robot.n)
        return output

    # The indexes

    def _index(self, task: Task) -> None:
        self.tasks[task.task_id] = self.by_seq[task.seq] = task
        self._by_customer.add(task.customer_id, task.task_id)
        self._by_phone.add(task.phone_hash, task.task_id)
        if task.call_id is not None:
            self._by_call[task.call_id] = task
            if task.state in HOLDING and task.edge_id is not None:
                self._edge_load[task.edge_id] = self._edge_load.get(task.edge_id, 0) + 1

    def _say(self, task: Task, kind: str, cause: str | None = None, **fields: object) -> Output:
        self._touch(task)
        return task_event(task, self.name, kind, self.now, cause, **fields)

    def _over(self, task: Task, kind: str, reason: str, cause: str | None = None) -> Output:
        """The task's last event; the task is forgotten, but for a while not its id."""
        output = self._say(task, kind, cause, reason=reason)
        self._unbind(task)
        del self.tasks[task.task_id], self.by_seq[task.seq]
        self._by_customer.discard(task.customer_id, task.task_id)
        self._by_phone.discard(task.phone_hash, task.task_id)
        self.recent.add(task.task_id)
        return output

    def _queue(self, task: Task) -> None:
        task.state = State.QUEUED
        self.lines.add(task)
        self._touch(task)

    def _next_attempt(self, task: Task, state: State) -> None:
        self._unbind(task)
        task.state, task.attempt = state, task.attempt + 1
        task.call_id = task.robot_id = task.edge_id = None

    def _unbind(self, task: Task) -> None:
        if task.call_id is not None:
            self._by_call.pop(task.call_id, None)

    def _renew(self, task: Task) -> None:
        if task.state in HOLDING:
            task.lease_until = max(task.lease_until, self.now + self.policy.lease_ms)
            self._touch(task)

    def _touch(self, task: Task) -> None:
        self.touched.task(task.seq)
