"""One pool's dispatch: a deterministic fold over its inbox.

`Pool.step(input, timestamp_ms)` takes one record, changes the state and returns the resulting
events in order. It uses no clock and no chance: `timestamp_ms` is the record's Kafka timestamp, and
its running maximum is the pool's `now`. The same records give the same outputs with the same ids.
The cost of a step does not depend on how many tasks wait.
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from ringlog.dispositions import CONNECTED, FAILED, NOT_DIALLED, PASSING, RETRIED
from schemas.catalogue import CALL_PARTITIONS
from schemas.donotcall import GLOBAL, extents
from schemas.events import Profile
from schemas.ids import call_id as id_of_call
from streams.dispatch import inputs as i
from streams.dispatch.decided import Decided, Verdict
from streams.dispatch.facts import Output, call_ended, refusal, task_event
from streams.dispatch.fairness import Fairness
from streams.dispatch.lines import RANKS, Lines
from streams.dispatch.outcome import disposition_of
from streams.dispatch.policy import Policy
from streams.dispatch.roster import Robot
from streams.dispatch.state import Index, OptOuts, Recent, Touched, Up
from streams.dispatch.task import HOLDING, OPEN, Requirement, State, Task, rank_of
from streams.dispatch.timers import Timer, Timers, accept

ALL_PARTITIONS = frozenset(range(CALL_PARTITIONS))

DECIDED_OF_OPEN = ("assigned", "refused", "failed")
"""Decisions about a task without a call that follow from its own last event."""

EFFECTS_OF_TIMERS = ("queued", "cancelled", "failed", "expired")
"""Decisions about a task that follow from a timer's record."""


class Pool:
    """The state of one pool.

    Attributes are for the snapshot and for tests to read. With `decided` the pool is rebuilt: it
    takes every decision from there and makes none itself, whatever today's rules are.
    """

    def __init__(
        self, name: str, policy: Policy | None = None, decided: Decided | None = None
    ) -> None:
        self.name = name
        self.policy = policy or Policy()
        self.decided = decided
        self._ahead: list[tuple[int, str, str]] = []
        """Heap of decisions about open tasks that the fold has not reached yet: (at_ms, id of the
        task's event that it follows, task_id)."""
        self.now = 0
        self._call_ahead: dict[str, tuple[str, str]] = {}
        """The same by call, for decisions that start one."""
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
        self.optouts = OptOuts(self.touched)
        self.recent = Recent(self.touched)
        self.up = Up()
        self._by_call: dict[str, Task] = {}
        self._by_customer = Index()
        self._by_phone = Index()
        self._on_line: dict[str, str] = {}
        self._for_line = Index()
        self._edge_load: dict[str, int] = {}
        self._robot_by_n: dict[int, Robot] = {}

    def step(self, record: i.Input, timestamp_ms: int) -> list[Output]:
        """Processes one inbox record; returns (topic, event) pairs in the order to write them."""
        if timestamp_ms > self.now:
            self.catch_up()
            self.now = timestamp_ms
        out = self._work(record)
        if self.decided is None:
            self._assign(out)
        else:
            self._assign_as_decided(out, self.decided)
        return out

    def take_due(self, clock_ms: int) -> list[Timer]:
        """Timers that the host now has to append to the inbox, each once."""
        return self.timers.take_due(self.tasks, clock_ms)

    def restore(self, tasks: Iterable[Task], robots: Iterable[Robot]) -> None:
        """Loads a snapshot's tasks and robots; the other attributes are set before."""
        for robot in robots:
            self._robot_by_n[robot.n] = robot
            self.roster.put(robot)
        for task in tasks:
            self._index(task)
            self.timers.restore(task)
            if task.state is State.QUEUED:
                self.lines.add(task)
            elif task.state is State.LINE_BUSY:
                self._for_line.add(task.line, task.task_id)

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
                self.up.note(record)
            case i.SettingsChanged():
                self.policy = record.policy
        return []

    # Requests

    def _requested(self, record: i.Request) -> list[Output]:
        request, profile = record.task, record.profile
        task_id = request.task_id or ""
        if task_id in self.tasks or (self.decided is None and task_id in self.recent):
            return []
        need = Requirement(tuple(sorted(request.skills.items())), request.playbook)
        verdict = self._verdict(
            record.event_id, lambda: self._admission(record, need), "queued", "refused", "expired"
        )
        if verdict is None:
            return []
        if verdict.kind != "queued":
            self.recent.add(task_id)  # a copy of the request gives the same result
            why = (verdict.kind, verdict.reason)
            return [refusal(request, self.name, *why, self.now, record.event_id)]
        task = Task(
            seq=self.next_seq,
            task_id=task_id,
            tenant_id=request.tenant_id,
            customer_id=request.customer_id or "",
            campaign_id=request.campaign_id,
            phone=record.phone or request.phone or "",
            phone_hash=record.hashes[0] if record.hashes else profile.phone_hash,
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
        later = verdict.retry_at
        out = [self._say(task, "queued", retry_at=later)]
        if request.deadline is not None:
            self.timers.set(task, "deadline", request.deadline, task.last_event_id)
        if later is None:
            self._queue(task)
        else:
            task.state = State.WAITING
            self.timers.set(task, "start", later, task.last_event_id)
        return out

    def _admission(self, record: i.Request, need: Requirement) -> Verdict:
        request, profile = record.task, record.profile
        if record.invalid or not request.phone:
            return Verdict("refused", record.invalid or "no phone number")
        hashes = record.hashes or ((profile.phone_hash,) if profile.phone_hash else ())
        if self._barred(hashes, request.tenant_id, request.campaign_id, profile):
            return Verdict("refused", "opted_out")
        if request.deadline is not None and request.deadline <= self.now:
            return Verdict("expired", "deadline")
        if why := self.roster.unservable(need):
            return Verdict("refused", why)
        limit = self.policy.queue_limit
        if limit and len(self.tasks) >= limit:
            return Verdict("refused", f"queue is full: {limit} open tasks")
        starts = request.not_before
        return Verdict("queued", retry_at=starts if starts and starts > self.now else None)

    def _cancelled(self, record: i.Cancel) -> list[Output]:
        task = self.tasks.get(record.task_id)
        if task is None:
            return []
        now = task.state in OPEN
        if self.decided is not None:
            now = self.decided.of(record.event_id, "cancelled") is not None
        if now:
            return [self._over(task, "cancelled", "cancelled", record.event_id)]
        task.cancel_requested = True  # the edge may be dialling: the call's end decides
        self._touch(task)
        return []

    def _opted_out(self, record: i.OptedOut) -> list[Output]:
        self.optouts.evolve(record.optout)
        found = map(self.tasks.__getitem__, self._by_phone.of(record.optout.phone_hash))
        return self._drop([task for task in found if self._task_barred(task)])

    def _profile_changed(self, record: i.ProfileChanged) -> list[Output]:
        profile = record.profile
        tasks = [self.tasks[task_id] for task_id in self._by_customer.of(profile.customer_id)]
        out = self._drop([task for task in tasks if self._task_barred(task, profile)])
        for task in tasks:
            if task.task_id not in self.tasks:
                continue
            if task.state in HOLDING or task.profile_version >= profile.version:
                continue
            task.profile, task.profile_version = record.profile_text, profile.version
            rank = rank_of(task.priority, profile.purchase_intent, profile.level, self.policy)
            self._touch(task)
            if rank != task.rank:
                task.rank = rank
                if task.state is State.QUEUED:
                    self.lines.add(task)
        return out

    def _drop(self, tasks: Iterable[Task]) -> list[Output]:
        """Ends the tasks that have no call: their numbers must not be called."""
        found = [task for task in tasks if task.state in OPEN]
        if self.decided is not None:
            said = [self.decided.of(task.last_event_id, "refused", "failed") for task in found]
            found = [t for t, v in zip(found, said, strict=True) if v and v.at_ms == self.now]
        return [
            self._over(task, "refused" if task.attempt == 1 else "failed", "opted_out")
            for task in found
        ]

    def _barred(
        self,
        hashes: tuple[str, ...],
        tenant_id: str,
        campaign_id: str | None,
        profile: Profile | None = None,
    ) -> bool:
        """By the list, or by what the customer said about any number, unless undone for this
        one."""
        if self.optouts.barred(hashes, tenant_id, campaign_id):
            return True
        if profile is None or not (profile.opted_out or profile.opted_out_in):
            return False
        said = profile.opted_out_in or [GLOBAL]
        return any(
            extent in said and self.optouts.says(hashes, extent) is None
            for extent in extents(tenant_id, campaign_id)
        )

    def _task_barred(self, task: Task, profile: Profile | None = None) -> bool:
        hashes = (task.phone_hash,) if task.phone_hash else ()
        return self._barred(hashes, task.tenant_id, task.campaign_id, profile)

    # Calls

    def _call_changed(self, record: i.CallChanged) -> list[Output]:
        call_id = record.call.call_id or ""
        if call_id in self._call_ahead and call_id not in self._by_call:
            self._follow(*self._call_ahead[call_id])  # decided in this very millisecond
        task = self._by_call.get(call_id)
        kind = record.call.kind
        if task is None:
            return self._answered_late(record) if kind in CONNECTED else []
        if kind == "ended":
            return self._ended(task, record)
        out: list[Output] = []
        if kind in CONNECTED:
            task.answered = True
            self._touch(task)
        if task.state is State.ASSIGNED:
            task.state = State.CALLING
            task.timers.pop("permit", None)
            out.append(self._say(task, "dialing", record.event_id, edge_id=task.edge_id))
            self._renew(task)
            self.timers.set(task, "lease", task.lease_until, task.last_event_id)
        else:
            self._renew(task)
        return out

    def _answered_late(self, record: i.CallChanged) -> list[Output]:
        """A call that counted as unanswered was answered: the customer is not called again."""
        task = self.tasks.get(record.call.task_id or "")
        if task is None or task.state not in OPEN or task.attempt == 1:
            return []
        if record.call.call_id != id_of_call(task.task_id, task.attempt - 1):
            return []
        cause = record.event_id
        verdict = self._verdict(cause, lambda: Verdict("failed", "abandoned"), "failed")
        return [self._over(task, verdict.kind, verdict.reason, cause)] if verdict else []

    def _ended(self, task: Task, record: i.CallChanged) -> list[Output]:
        cause = record.event_id
        disposition = disposition_of(record.call, task.answered)
        verdict = self._verdict(
            cause,
            lambda: self._after_call(task, disposition),
            "completed", "failed", "cancelled", "retry_scheduled",
        )  # fmt: skip
        if verdict is None:
            return []
        task.undialled += disposition in PASSING
        task.dials += disposition not in NOT_DIALLED
        self._release(task)
        if verdict.kind != "retry_scheduled":
            return [self._over(task, verdict.kind, verdict.reason, cause)]
        retry_at = verdict.retry_at or self.now
        self._next_attempt(task, State.WAITING)
        out = [self._say(task, verdict.kind, cause, reason=verdict.reason, retry_at=retry_at)]
        self.timers.set(task, "retry", retry_at, task.last_event_id)
        return out

    def _after_call(self, task: Task, disposition: str) -> Verdict:
        """What follows from a call's end, before it is counted."""
        policy, failed = self.policy, Verdict("failed", disposition)
        if disposition == "opted_out" and not task.answered:
            return failed  # the edge refused to dial
        if disposition not in FAILED:
            return Verdict("completed", disposition)
        rang, passes = disposition not in NOT_DIALLED, disposition in PASSING
        if rang and (disposition not in RETRIED or task.dials + 1 >= policy.max_dials):
            return failed
        if task.cancel_requested:
            return Verdict("cancelled", "cancelled")
        if self._task_barred(task):
            return Verdict("failed", "opted_out")
        retry_at = self.now + (policy.line_retry_ms if passes else policy.retry_ms)
        if task.deadline is not None and task.deadline <= retry_at:
            return failed
        if not passes and task.attempt - task.undialled >= policy.max_attempts:
            return failed
        return Verdict("retry_scheduled", disposition, retry_at)

    # Timers

    def _timer_fired(self, record: i.TimerFired) -> list[Output]:
        task = self.tasks.get(record.task_id)
        if task is None:
            return []
        due = accept(task, record.name, record.event_id)
        if self.decided is not None and due is None:
            # Set with another wait than today's policy gives; its effect shows that it counted.
            if self.decided.of(record.event_id, *EFFECTS_OF_TIMERS) is None:
                return []
            due, _ = task.timers.pop(record.name, (self.now, ""))
        if due is None:
            return []
        self._touch(task)
        if record.name == "permit":
            return self._permit_expired(task, record.event_id)
        if record.name == "lease":
            return self._lease_expired(task, due, record.event_id)
        if record.name == "deadline":
            verdict = self._verdict(
                record.event_id,
                lambda: Verdict("expired" if task.state in OPEN else "", "deadline"),
                "expired",
            )
            if verdict is None or not verdict.kind:
                return []
            return [self._over(task, verdict.kind, verdict.reason, record.event_id)]
        out = [self._say(task, "queued", record.event_id, reason=record.name)]
        self._queue(task)
        return out

    def _permit_expired(self, task: Task, cause: str) -> list[Output]:
        verdict = self._verdict(
            cause, lambda: self._after_permit(task), "queued", "cancelled", "failed", "expired"
        )
        if verdict is None:
            return []
        self._release(task)
        if verdict.kind != "queued":
            return [self._over(task, verdict.kind, verdict.reason, cause)]
        # Another attempt is another call: the one whose permit ran out can never be dialled again.
        self._next_attempt(task, State.QUEUED)
        out = [self._say(task, "queued", cause, reason="permit_expired")]
        self._queue(task)
        return out

    def _after_permit(self, task: Task) -> Verdict:
        """What follows when nobody has dialled in time."""
        if task.cancel_requested:
            return Verdict("cancelled", "cancelled")
        if self._task_barred(task):
            return Verdict("failed", "opted_out")
        if task.deadline is not None and task.deadline <= self.now:
            return Verdict("expired", "deadline")
        if task.attempt - task.undialled >= self.policy.max_attempts:
            return Verdict("failed", "no edge dialled")
        return Verdict("queued", "permit_expired")

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
        """Releases the slot that the task holds, if any."""
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
        """Gives waiting tasks to idle robots until no fitting pair is left."""
        if not self.up.covers(ALL_PARTITIONS):
            return
        while self._has_room:
            pair = self._choice()
            if pair is None:
                return
            out.append(self._permit(*pair))

    @property
    def _has_room(self) -> bool:
        """Whether an edge takes another call."""
        return self.up.least_loaded(self._edge_load) is not None

    def _choice(self) -> tuple[Task, Robot] | None:
        """The next task to be served, and the robot for it."""
        found = {rank: pair for rank in RANKS if (pair := self._first(rank)) is not None}
        return found[self.fairness.pick(tuple(found))] if found else None

    def _first(self, rank: int) -> tuple[Task, Robot] | None:
        """In the order of the lines; a task whose number is on a call waits until that ends."""
        while (pair := self.lines.first(rank)) is not None:
            task, _ = pair
            if task.line not in self._on_line:
                return pair
            task.state = State.LINE_BUSY
            self._for_line.add(task.line, task.task_id)
            self._touch(task)
        return None

    def _assign_as_decided(self, out: list[Output], decided: Decided) -> None:
        """Follows our own choice while it matches the recorded one, so the fairness counters match,
        too. `catch_up` folds recorded decisions that differ."""
        while self._has_room and self.up.covers(ALL_PARTITIONS):
            credits = list(self.fairness.credits)
            pair = self._choice()
            if pair is None:
                return
            task, robot = pair
            fact = decided.of(task.last_event_id, "assigned")
            if fact is None or (fact.at_ms, fact.robot_id) != (self.now, robot.robot_id):
                self.fairness.credits = credits
                return
            out.append(self._permit(task, robot, fact))

    def catch_up(self) -> None:
        """Folds recorded decisions up to `now` that we would not have made, or not at that time."""
        while self._ahead and self._ahead[0][0] <= self.now:
            _, last_event_id, task_id = heappop(self._ahead)
            self._follow(last_event_id, task_id)

    def _follow(self, last_event_id: str, task_id: str) -> None:
        """Folds what was decided about a task after one of its events, unless already folded."""
        task = self.tasks.get(task_id)
        if task is None or task.last_event_id != last_event_id or task.state not in OPEN:
            return
        fact = self.decided and self.decided.of(last_event_id, *DECIDED_OF_OPEN)
        if not fact:
            return
        robot = self.roster.robots.get(fact.robot_id or "")
        if fact.kind != "assigned":
            self._over(task, fact.kind, fact.reason)
        elif robot is not None:
            self._permit(task, robot, fact)

    def _permit(self, task: Task, robot: Robot, fact: Verdict | None = None) -> Output:
        decided = fact or Verdict(
            "assigned",
            edge_id=self.up.least_loaded(self._edge_load) or "",
            expires_at=self.now + self.policy.permit_ms,
        )
        edge_id, expires = decided.edge_id or "", decided.expires_at or self.now
        self.assignments += 1
        robot.last_used = self.assignments
        task.state = State.ASSIGNED
        task.call_id = id_of_call(task.task_id, task.attempt)
        self._call_ahead.pop(task.call_id, None)
        task.robot_id = robot.robot_id
        task.edge_id = edge_id
        task.answered = False
        robot.calls.add(task.call_id)
        self._by_call[task.call_id] = task
        self._for_line.discard(task.line, task.task_id)
        self._on_line[task.line] = task.task_id
        self._edge_load[edge_id] = self._edge_load.get(edge_id, 0) + 1
        playbook = task.requirement.playbook or next(iter(robot.playbooks), None)
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
            self._on_line[task.line] = task.task_id
            if task.state in HOLDING and task.edge_id is not None:
                self._edge_load[task.edge_id] = self._edge_load.get(task.edge_id, 0) + 1

    def _say(self, task: Task, kind: str, cause: str | None = None, **fields: object) -> Output:
        self._touch(task)
        output = task_event(task, self.name, kind, self.now, cause, **fields)
        fact = self.decided and self.decided.of(task.last_event_id, *DECIDED_OF_OPEN)
        if fact and fact.at_ms is not None:
            heappush(self._ahead, (fact.at_ms, task.last_event_id, task.task_id))
            call_id = id_of_call(task.task_id, task.attempt)
            self._call_ahead[call_id] = (task.last_event_id, task.task_id)
        return output

    def _verdict(self, cause: str, ours: Callable[[], Verdict], *kinds: str) -> Verdict | None:
        """The recorded decision that a record led to; without one, our own."""
        return ours() if self.decided is None else self.decided.of(cause, *kinds)

    def _over(self, task: Task, kind: str, reason: str, cause: str | None = None) -> Output:
        """The task's last event. The task is forgotten; its id is kept for a while."""
        output = self._say(task, kind, cause, reason=reason)
        self._unbind(task)
        del self.tasks[task.task_id], self.by_seq[task.seq]
        self._by_customer.discard(task.customer_id, task.task_id)
        self._by_phone.discard(task.phone_hash, task.task_id)
        self._for_line.discard(task.line, task.task_id)
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
        if task.call_id is None:
            return
        self._by_call.pop(task.call_id, None)
        if self._on_line.get(task.line) == task.task_id:
            del self._on_line[task.line]
            for waiting in self._for_line.of(task.line):
                self._for_line.discard(task.line, waiting)
                self._queue(self.tasks[waiting])

    def _renew(self, task: Task) -> None:
        if task.state in HOLDING:
            task.lease_until = max(task.lease_until, self.now + self.policy.lease_ms)
            self._touch(task)

    def _touch(self, task: Task) -> None:
        self.touched.task(task.seq)
