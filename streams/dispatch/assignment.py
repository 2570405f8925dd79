"""What becomes of the next waiting task: a permit, a wait, an end."""

import orjson

from ringlog.campaigns.aggregate import STOPPED
from ringlog.terms import Callee, Permission
from schemas.events.customers import attributes_within
from schemas.ids import call_id as id_of_call
from streams.dispatch.decided import Verdict
from streams.dispatch.facts import Output
from streams.dispatch.pace import WHOLE
from streams.dispatch.pool_state import PoolState
from streams.dispatch.roster import Robot
from streams.dispatch.rules import SPECIALIST, not_now
from streams.dispatch.task import OPEN, State, Task

PUT_OFF = 256
"""Tasks that one step puts off at most, so that no record costs too much; the next goes on."""

NOBODY = Callee("")


class Assignment:
    """Decides for one pool, or follows what was decided."""

    def __init__(self, pool: PoolState) -> None:
        self._pool = pool

    def assign(self, out: list[Output]) -> None:
        """Gives waiting tasks to idle robots until no fitting pair is left."""
        pool = self._pool
        matching, put_off = pool.matching, 0
        if not matching.staffed:
            return
        for group in pool.paces.due(pool.now):
            pool.reopen(group)
        while self._has_room() and (edge := matching.edge) is not None:
            credits = list(matching.fairness.credits)
            pair = matching.choose(pool.policy.weights, self._stands)
            if pair is None:
                return
            verdict = self._decision(*pair, edge)
            if verdict is None:
                matching.fairness.credits = credits
                return
            out += self._apply(*pair, verdict)
            if verdict.kind == "assigned":
                continue
            if verdict.reason != SPECIALIST:
                matching.fairness.credits = credits  # its turn goes to another
            put_off += 1
            if put_off == PUT_OFF:
                pool.timers.wake(pool.name, pool.now)
                return

    def _has_room(self) -> bool:
        """Whether the pool may begin another call now."""
        pool = self._pool
        policy = pool.policy
        room = not policy.concurrency or pool.campaigns.calls < policy.concurrency
        return room and self._in_time(WHOLE, policy.calls_per_s)

    def _in_time(self, who: str, per_s: float | None) -> bool:
        """Whether the pace allows another call now; else its time will come."""
        pool = self._pool
        at = pool.paces.opens(who, per_s, pool.now) if per_s else None
        if at is not None:
            pool.paces.wait(who, at)
        return at is None

    def _stands(self, task: Task) -> bool:
        """In the order of the lines; a task whose number is on a call waits until that ends, and
        a campaign's tasks while it may begin no call. Those of an ended one wait for nothing."""
        pool = self._pool
        if pool.campaigns.has_ended(task.campaign_id):
            return True
        if pool.eligibility.on_call(task, pool.now):
            task.state = State.LINE_BUSY
            pool.eligibility.wait(task)
            pool.touch(task)
            return False
        group = task.campaign_id
        terms = pool.terms(group)
        room = pool.campaigns.has_room(group, terms, pool.now)
        if room and (group is None or self._in_time(group, terms.calls_per_s)):
            return True
        pool.matching.lines.shut(group)
        return False

    def _decision(self, task: Task, robot: Robot, edge: str) -> Verdict | None:
        """What becomes of the next task. A rebuild follows our own choice while it matches the
        recorded one, so the fairness counters match, too; `catch_up` folds what differs."""
        pool = self._pool
        if pool.hindsight is None:
            return self._judge(task, robot, edge)
        fact = pool.hindsight.next(task)
        if fact is None or fact.at_ms != pool.now:
            return None
        return fact if fact.kind != "assigned" or fact.robot_id == robot.robot_id else None

    def _judge(self, task: Task, robot: Robot, edge: str) -> Verdict:
        pool = self._pool
        if pool.campaigns.has_ended(task.campaign_id):
            return Verdict("cancelled", STOPPED)
        expires = pool.now + pool.policy.permit_ms
        for at in (pool.now, expires):  # the edge may dial until the permit expires
            verdict = not_now(self._permission(task, at), task.attempt == 1, at)
            if verdict is not None:
                return verdict
        if pool.matching.better_soon(task, robot):
            return Verdict("queued", SPECIALIST, pool.now + task.wait_ms)
        return Verdict("assigned", edge_id=edge, expires_at=expires)

    def _permission(self, task: Task, at_ms: int) -> Permission:
        pool = self._pool
        terms = pool.terms(task.campaign_id)
        lawless = pool.campaigns.law.level == "off"
        if lawless and not pool.campaigns.knows(task.campaign_id):
            return terms.permission(NOBODY, (), at_ms)
        profile = orjson.loads(task.profile)
        attributes = attributes_within(
            profile.get("attributes", {}), profile.get("consents", ()), task.campaign_id
        )
        callee = Callee(
            task.phone, task.tenant_id, task.customer_id, profile.get("level", "normal"),
            tuple(sorted({*task.tags, *profile.get("tags", ())})),
            profile.get("purchase_intent", 0.0), attributes, task.task_id,
        )  # fmt: skip
        dials = pool.eligibility.dials.of(task.line, pool.now)
        counts = pool.eligibility.counts(task.campaign_id, pool.now)
        return terms.permission(callee, dials, at_ms, counts)

    def _version(self, task: Task) -> str | None:
        """The campaign's version by which a task may be called, None without one: the edge goes by
        none that is older."""
        known = self._pool.campaigns.knows(task.campaign_id)
        return self._pool.terms(task.campaign_id).version if known else None

    def catch_up(self) -> None:
        """Folds recorded decisions up to `now` that we would not have made, or not at that time."""
        pool = self._pool
        if pool.hindsight is not None:
            for last_event_id, task_id in pool.hindsight.due(pool.now):
                self._follow(last_event_id, task_id)

    def follow_call(self, call_id: str) -> None:
        """Folds the decisions up to the one that began a call, where its first record lies in their
        very millisecond."""
        pool, last = self._pool, None
        while pool.hindsight is not None and pool.book.of_call(call_id) is None:
            ahead = pool.hindsight.of_call(call_id)
            if ahead is None or ahead == last:
                return
            self._follow(*ahead)
            last = ahead

    def _follow(self, last_event_id: str, task_id: str) -> None:
        """Folds what was decided about a task after one of its events, unless already folded."""
        pool = self._pool
        task = pool.tasks.get(task_id)
        if task is None or task.last_event_id != last_event_id or task.state not in OPEN:
            return
        fact = pool.hindsight and pool.hindsight.next(task)
        robot = pool.roster.robots.get(fact.robot_id or "") if fact else None
        if fact and (robot is not None or fact.kind != "assigned"):
            self._apply(task, robot, fact)

    def _apply(self, task: Task, robot: Robot | None, verdict: Verdict) -> list[Output]:
        """Does what was decided about a task without a call."""
        match verdict.kind:
            case "assigned" if robot is not None:
                return [self.permit(task, robot, verdict)]
            case "queued":
                return [self._put_off(task, verdict)]
        return [self._pool.over(task, verdict.kind, verdict.reason)]

    def _put_off(self, task: Task, verdict: Verdict) -> Output:
        pool = self._pool
        until = verdict.retry_at or pool.now
        output = pool.say(task, "queued", reason=verdict.reason, retry_at=until)
        pool.eligibility.forget(task)
        if verdict.reason == SPECIALIST:
            task.state = State.QUEUED
            pool.matching.hold(task)
            pool.timers.set(task, "specialist", until, task.last_event_id)
        else:
            pool.turn_over(task)
            task.state = State.WAITING
            pool.timers.set(task, "start", until, task.last_event_id)
        return output

    def permit(self, task: Task, robot: Robot, verdict: Verdict) -> Output:
        pool = self._pool
        edge_id, expires = verdict.edge_id or "", verdict.expires_at or pool.now
        pool.turn_over(task)
        pool.assignments += 1
        robot.last_used = pool.assignments
        task.state = State.ASSIGNED
        pool.book.bind(task, call_id := id_of_call(task.task_id, task.attempt))
        if pool.hindsight is not None:
            pool.hindsight.began(call_id)
        task.robot_id = robot.robot_id
        task.edge_id = edge_id
        task.answered = False
        task.assigned_at, task.dialled_at = pool.now, 0
        robot.calls.add(call_id)
        pool.eligibility.take(task)
        pool.matching.began(task)
        self._count(task)
        setup = pool.terms(task.campaign_id).setup(task.task_id)
        playbook = task.requirement.playbook or next(iter(robot.playbooks), None)
        output = pool.say(
            task,
            "assigned",
            permit_expires_at=expires,
            edge_id=edge_id,
            phone=task.phone,
            playbook=playbook,
            playbook_version=pool.playbooks.get(playbook or "", (None, 0))[0],
            asr_profile=setup.asr_profile or robot.asr_profile,
            caller_id=setup.caller_id,
            variant=setup.variant,
            profile=task.profile,
            terms=self._version(task),
            number_dials=list(pool.eligibility.dials.of(task.line, pool.now)),
        )
        due = expires + pool.policy.permit_grace_ms
        pool.timers.set(task, "permit", due, task.last_event_id)
        pool.touched.robot(robot.n)
        return output

    def _count(self, task: Task) -> None:
        pool, group = self._pool, task.campaign_id
        pool.campaigns.began(task)
        for who, per_s in (
            (WHOLE, pool.policy.calls_per_s), (group, pool.terms(group).calls_per_s),
        ):  # fmt: skip
            if per_s and who is not None:
                pool.paces.began(who, per_s, pool.now)
