"""Calls of tasks, and times that come: what follows from each."""

from functools import partial

from ringlog.dispositions import CONNECTED, NOT_A_PERSON, NOT_DIALLED, PASSING
from schemas.events import CallEvent
from schemas.ids import call_id as id_of_call
from streams.dispatch import inputs as i
from streams.dispatch.decided import Verdict
from streams.dispatch.elsewhere import OthersCall
from streams.dispatch.facts import Output, call_ended
from streams.dispatch.outcome import disposition_of, is_abandoned, unlawful_of
from streams.dispatch.pool_state import PoolState
from streams.dispatch.requests import after_attempt, newer_profile
from streams.dispatch.rules import after_call, after_permit
from streams.dispatch.task import HOLDING, OPEN, State, Task
from streams.dispatch.timers import accept

EFFECTS_OF_TIMERS = ("queued", "cancelled", "failed", "expired")
"""Decisions about a task that follow from a timer's record."""


def call_changed(pool: PoolState, record: i.CallChanged) -> list[Output]:
    call_id = record.call.call_id or ""
    task = pool.book.of_call(call_id)
    kind = record.call.kind
    if record.call.pool not in (None, pool.name):
        _elsewhere(pool, record)
        return []
    if task is None:
        return _answered_late(pool, record) if kind in CONNECTED else []
    if kind == "ended":
        return _ended(pool, task, record)
    out: list[Output] = []
    if kind in CONNECTED:
        task.answered = True
        pool.touch(task)
        if kind == "transferred" and task.state in HOLDING:
            pool.campaigns.transferred(task, pool.terms(task.campaign_id), pool.now)
            pool.reopen(task.campaign_id)
    elif kind == "moved" and record.call.edge_id is not None:
        pool.matching.moved(task, record.call.edge_id)
        pool.touch(task)
    if task.state is State.ASSIGNED:
        if kind == "dialing":
            _count_caller(pool, record.call)
        task.state = State.CALLING
        task.dialled_at = pool.now
        task.timers.pop("permit", None)
        out.append(pool.say(task, "dialing", record.event_id, edge_id=task.edge_id))
        pool.renew(task)
        pool.timers.set(task, "lease", task.lease_until, task.last_event_id)
    else:
        pool.renew(task)
    return out


def _elsewhere(pool: PoolState, record: i.CallChanged) -> None:
    """What a call of another pool means here: its number is on a call, and was dialled."""
    call, eligibility = record.call, pool.eligibility
    call_id = call.call_id or ""
    if call.kind == "dialing" and record.line:
        if eligibility.elsewhere.began(OthersCall(call_id, record.line, pool.now)):
            _count_caller(pool, call)
    elif call.kind == "ended":
        over = eligibility.elsewhere.ended(call_id)
        if over is None:
            return
        _count_answer(pool, call)
        others_call_over(pool, over, call.disposition not in NOT_DIALLED)


def others_call_over(pool: PoolState, call: OthersCall, dialled: bool = True) -> None:
    """A call of another pool holds its number no longer. Where its end never came, it counts as
    dialled."""
    if dialled:
        pool.eligibility.dials.add(call.line, call.dialled_at, pool.now)
    pool.line_free(call.line)


def _count_caller(pool: PoolState, call: CallEvent) -> None:
    if call.caller_id:
        pool.eligibility.tallies.dialled(call.caller_id, pool.now)


def _count_answer(pool: PoolState, call: CallEvent) -> None:
    """A call that a person answered, and whether anybody spoke to them in time."""
    abandoned = is_abandoned(call)
    if call.campaign_id is not None and abandoned is not None:
        pool.eligibility.tallies.answered(call.campaign_id, abandoned, pool.now)


def _answered_late(pool: PoolState, record: i.CallChanged) -> list[Output]:
    """A call that counted as unanswered was answered: the customer is not called again."""
    task = pool.tasks.get(record.call.task_id or "")
    if task is None or task.state not in OPEN or task.attempt == 1:
        return []
    if record.call.call_id != id_of_call(task.task_id, task.attempt - 1):
        return []
    cause = record.event_id
    verdict = pool.verdict(cause, lambda: Verdict("failed", "abandoned"), "failed")
    return [pool.over(task, verdict.kind, verdict.reason, cause)] if verdict else []


def _ended(pool: PoolState, task: Task, record: i.CallChanged) -> list[Output]:
    cause = record.event_id
    disposition = disposition_of(record.call, task.answered)
    terms = pool.terms(task.campaign_id)
    barred = partial(pool.eligibility.task_barred, task, newer_profile(task))
    verdict = pool.verdict(
        cause,
        lambda: after_call(
            task, disposition, terms, pool.policy, pool.now, barred, unlawful_of(record.call)
        ),
        "completed", "failed", "cancelled", "retry_scheduled",
    )  # fmt: skip
    if verdict is None:
        return []
    _count_answer(pool, record.call)
    task.undialled += disposition in PASSING
    if disposition not in NOT_DIALLED:
        task.dials += 1
        pool.eligibility.dials.add(task.line, task.dialled_at or pool.now, pool.now)
    pool.release(task, answered=task.answered and disposition not in NOT_A_PERSON)
    if verdict.kind != "retry_scheduled":
        return [pool.over(task, verdict.kind, verdict.reason, cause)]
    retry_at = verdict.retry_at or pool.now
    pool.next_attempt(task, State.WAITING)
    out = [pool.say(task, verdict.kind, cause, reason=verdict.reason, retry_at=retry_at)]
    after_attempt(pool, task)
    pool.timers.set(task, "retry", retry_at, task.last_event_id)
    return out


def timer_fired(pool: PoolState, record: i.TimerFired) -> list[Output]:
    task = pool.tasks.get(record.task_id)
    if task is None:
        return []
    due = accept(task, record.name, record.event_id)
    if pool.hindsight is not None and due is None:
        # Set with another wait than today's rules give; its effect shows that it counted.
        if pool.hindsight.repeats(record.event_id):
            return []
        if pool.hindsight.decided.of(record.event_id, *EFFECTS_OF_TIMERS) is None:
            return []
        due, _ = task.timers.pop(record.name, (pool.now, ""))
    if due is None:
        return []
    if pool.hindsight is not None:
        pool.hindsight.followed(record.event_id)
    pool.touch(task)
    match record.name:
        case "permit":
            return _permit_expired(pool, task, record.event_id)
        case "lease":
            return _lease_expired(pool, task, due, record.event_id)
        case "deadline":
            return _deadline(pool, task, record.event_id)
        case "specialist":
            pool.matching.unhold(task)
            if task.state is State.QUEUED:
                pool.matching.lines.add(task)
            return []
    out = [pool.say(task, "queued", record.event_id, reason=record.name)]
    pool.queue(task)
    return out


def _deadline(pool: PoolState, task: Task, cause: str) -> list[Output]:
    ours = Verdict("expired" if task.state in OPEN else "", "deadline")
    verdict = pool.verdict(cause, lambda: ours, "expired")
    if verdict is None or not verdict.kind:
        return []
    return [pool.over(task, verdict.kind, verdict.reason, cause)]


def _permit_expired(pool: PoolState, task: Task, cause: str) -> list[Output]:
    barred = partial(pool.eligibility.task_barred, task, newer_profile(task))
    verdict = pool.verdict(
        cause,
        lambda: after_permit(task, pool.policy, pool.now, barred),
        "queued", "cancelled", "failed", "expired",
    )  # fmt: skip
    if verdict is None:
        return []
    pool.release(task)
    if verdict.kind != "queued":
        return [pool.over(task, verdict.kind, verdict.reason, cause)]
    # Another attempt is another call: the one whose permit ran out can never be dialled again.
    pool.next_attempt(task, State.QUEUED)
    out = [pool.say(task, "queued", cause, reason="permit_expired")]
    after_attempt(pool, task)
    pool.queue(task)
    return out


def _lease_expired(pool: PoolState, task: Task, due: int, cause: str) -> list[Output]:
    if task.lease_until > due:
        pool.timers.set(task, "lease", task.lease_until, cause)
        return []
    # Which `ended` counts is decided by the order of the call's own partition: the task's
    # outcome follows when that record comes back.
    out = [call_ended(task, pool.name, pool.now, cause)]
    pool.release(task)
    task.state = State.ENDING
    return out
