"""Requests, and what stops them: cancellations, opt-outs, newer profiles."""

from collections.abc import Iterable

import orjson

from ringlog.terms import Callee, Demand, Terms
from schemas.events import Profile
from schemas.text import from_json
from streams.dispatch import inputs as i
from streams.dispatch.decided import Verdict
from streams.dispatch.facts import Output, call_withdrawn, refusal
from streams.dispatch.pool_state import PoolState
from streams.dispatch.rules import not_now
from streams.dispatch.task import HOLDING, OPEN, Requirement, State, Task, rank_of


def requested(pool: PoolState, record: i.Request) -> list[Output]:
    request = record.task
    profile = record.profile.within(request.campaign_id)
    task_id = request.task_id or ""
    if task_id in pool.tasks or (pool.hindsight is None and task_id in pool.recent):
        return []
    if pool.hindsight is not None:
        if pool.hindsight.repeats(record.event_id):
            return []
        pool.hindsight.followed(record.event_id)
    pool.campaigns.expect(request)
    terms = pool.terms(request.campaign_id)
    callee = callee_of(
        record.phone or request.phone or "", request.tenant_id, profile, request.tags, task_id
    )
    demand = terms.demand(callee, request.skills)
    need = requirement_of(request.skills, request.playbook, demand)
    verdict = pool.verdict(
        record.event_id,
        lambda: _admission(pool, record, need, terms, callee),
        "queued", "refused", "expired",
    )  # fmt: skip
    if verdict is None:
        return []
    if verdict.kind != "queued":
        pool.recent.add(task_id)  # a copy of the request gives the same result
        why = (verdict.kind, verdict.reason)
        return [refusal(request, pool.name, *why, pool.now, record.event_id)]
    task = Task(
        seq=pool.book.next_seq,
        task_id=task_id,
        tenant_id=request.tenant_id,
        customer_id=request.customer_id or "",
        campaign_id=request.campaign_id,
        phone=callee.phone,
        phone_hash=record.hashes[0] if record.hashes else profile.phone_hash,
        priority=request.priority,
        rank=rank_of(request.priority, demand.rise),
        requirement=need,
        deadline=request.deadline,
        profile=record.profile_text,
        profile_version=profile.version,
        state=State.QUEUED,
        last_event_id=record.event_id,
        tags=tuple(request.tags),
        asked=tuple(sorted(request.skills.items())),
        wait_ms=demand.wait_ms,
        dials=request.dials,
    )
    pool.book.next_seq += 1
    pool.book.put(task)
    later = verdict.retry_at
    out = [pool.say(task, "queued", retry_at=later, reason=verdict.reason or None)]
    if request.deadline is not None:
        pool.timers.set(task, "deadline", request.deadline, task.last_event_id)
    if later is None:
        pool.queue(task)
    else:
        task.state = State.WAITING
        pool.timers.set(task, "start", later, task.last_event_id)
    return out


def _admission(
    pool: PoolState, record: i.Request, need: Requirement, terms: Terms, callee: Callee
) -> Verdict:
    request, profile = record.task, record.profile
    if record.invalid or not request.phone:
        return Verdict("refused", record.invalid or "no phone number")
    hashes = record.hashes or ((profile.phone_hash,) if profile.phone_hash else ())
    if pool.eligibility.barred(hashes, request.tenant_id, request.campaign_id, profile):
        return Verdict("refused", "opted_out")
    if request.deadline is not None and request.deadline <= pool.now:
        return Verdict("expired", "deadline")
    if why := pool.roster.unservable(need):
        return Verdict("refused", why)
    limit = pool.policy.queue_limit
    if limit and len(pool.tasks) >= limit:
        return Verdict("refused", f"queue is full: {limit} open tasks")
    starts = max(request.not_before or 0, pool.now)
    line = hashes[0] if hashes else callee.phone
    dials = pool.eligibility.dials.of(line, pool.now)
    counts = pool.eligibility.counts(request.campaign_id, pool.now)
    said = terms.permission(callee, dials, starts, counts)
    if (verdict := not_now(said, True, starts)) is not None:
        return verdict
    return Verdict("queued", retry_at=starts if starts > pool.now else None)


def cancelled(pool: PoolState, record: i.Cancel) -> list[Output]:
    task = pool.tasks.get(record.task_id)
    if task is None:
        return []
    now = task.state in OPEN
    if pool.hindsight is not None:
        now = pool.hindsight.decided.of(record.event_id, "cancelled") is not None
    if now:
        return [pool.over(task, "cancelled", record.reason, record.event_id)]
    # The edge may be dialling, or somebody may have answered: the call's end decides.
    known, task.cancel_requested = task.cancel_requested, True
    pool.touch(task)
    if known or task.state not in HOLDING:
        return []
    return [call_withdrawn(task, pool.name, pool.now, record.event_id)]


def opted_out(pool: PoolState, record: i.OptedOut) -> list[Output]:
    pool.optouts.evolve(record.optout)
    found = pool.book.of_phone(record.optout.phone_hash)
    return _drop(pool, [task for task in found if pool.eligibility.task_barred(task)])


def profile_changed(pool: PoolState, record: i.ProfileChanged) -> list[Output]:
    profile = record.profile
    tasks = pool.book.of_customer(profile.customer_id)
    out = _drop(pool, [t for t in tasks if pool.eligibility.task_barred(t, profile)])
    for task in tasks:
        if task.task_id not in pool.tasks:
            continue
        if max(task.profile_version, task.newer_version) >= profile.version:
            continue
        if task.state in HOLDING:
            task.newer, task.newer_version = record.profile_text, profile.version
            pool.touch(task)
        else:
            _take(pool, task, profile, record.profile_text)
    return out


def newer_profile(task: Task) -> Profile | None:
    """The customer's profile if it changed during the task's call."""
    if not task.newer:
        return None
    found = from_json("customers.profiles", orjson.loads(task.newer))
    assert isinstance(found, Profile)
    return found


def after_attempt(pool: PoolState, task: Task) -> None:
    """The task goes by what its customer has become during the call."""
    profile = newer_profile(task)
    if profile is not None:
        _take(pool, task, profile, task.newer)
        task.newer, task.newer_version = "", 0


def _take(pool: PoolState, task: Task, profile: Profile, text: str) -> None:
    task.profile, task.profile_version = text, profile.version
    pool.touch(task)
    here = profile.within(task.campaign_id)
    callee = callee_of(task.phone, task.tenant_id, here, task.tags, task.task_id)
    _demand(pool, task, pool.terms(task.campaign_id).demand(callee, dict(task.asked)))


def _demand(pool: PoolState, task: Task, demand: Demand) -> None:
    """Takes over what a task's customer asks for by now. A robot that nobody is any more is
    not asked for: the task keeps what it had."""
    if task.turn:
        return
    need = requirement_of(dict(task.asked), task.requirement.playbook, demand)
    rank = rank_of(task.priority, demand.rise)
    if need != task.requirement and pool.roster.unservable(need) is not None:
        need = task.requirement
    if (rank, need) == (task.rank, task.requirement):
        return
    task.rank, task.requirement, task.wait_ms = rank, need, demand.wait_ms
    if task.state is State.QUEUED:
        pool.matching.lines.add(task)


def _drop(pool: PoolState, tasks: Iterable[Task]) -> list[Output]:
    """Ends the tasks that have no call: their numbers must not be called."""
    found = [task for task in tasks if task.state in OPEN]
    if pool.hindsight is not None:
        said = [
            pool.hindsight.decided.of(task.last_event_id, "refused", "failed") for task in found
        ]
        found = [t for t, v in zip(found, said, strict=True) if v and v.at_ms == pool.now]
    return [
        pool.over(task, "refused" if task.attempt == 1 else "failed", "opted_out") for task in found
    ]


def callee_of(
    phone: str, tenant_id: str, profile: Profile, tags: Iterable[str], task_id: str
) -> Callee:
    """Whom a request would call."""
    return Callee(
        phone, tenant_id, profile.customer_id or "", profile.level,
        tuple(sorted({*tags, *profile.tags})), profile.purchase_intent, profile.attributes,
        task_id,
    )  # fmt: skip


def requirement_of(skills: dict[str, int], playbook: str | None, demand: Demand) -> Requirement:
    """What a request and its campaign together need: of two levels of a skill the higher."""
    levels = dict(demand.skills)
    for skill, level in skills.items():
        levels[skill] = max(level, levels.get(skill, level))
    return Requirement(tuple(sorted(levels.items())), playbook, demand.best)
