"""What follows for a task from a call's end, an unused permit, a free robot: pure verdicts."""

from collections.abc import Callable

from ringlog.dispositions import CANCELLED, FAILED, NOT_DIALLED, PASSING, RETRIED
from ringlog.terms import Permission, Terms
from streams.dispatch.decided import Verdict
from streams.dispatch.policy import Policy
from streams.dispatch.task import Task

SPECIALIST = "specialist"
"""Reason of a task that waits for a better robot than those that are free."""


MIN_WAIT_MS = 1_000
"""Shortest wait of a task that the edge did not dial by law, so that no two clocks make a loop."""


def after_call(
    task: Task,
    disposition: str,
    terms: Terms,
    policy: Policy,
    now_ms: int,
    barred: Callable[[], bool],
    unlawful: Permission | None = None,
) -> Verdict:
    """What follows from a call's end, before it is counted. `unlawful` is what the law said at the
    instant of the dial, where it forbade that."""
    reason = disposition if unlawful is None else _why(unlawful)
    failed = Verdict("failed", reason)
    if disposition == "opted_out" and not task.answered:
        return failed  # the edge refused to dial
    if unlawful is not None and unlawful.at_ms is None:
        return failed
    if disposition == CANCELLED:
        return Verdict("cancelled", "cancelled")
    if disposition not in FAILED:
        return Verdict("completed", disposition)
    rang, passes = disposition not in NOT_DIALLED, disposition in PASSING
    if rang and disposition not in RETRIED:
        return failed
    retry_at: int | None = now_ms + policy.line_retry_ms
    if not passes:
        tries = task.dials + 1 if rang else task.attempt - task.undialled
        retry_at = terms.retry_at(disposition, tries, now_ms)
    if unlawful is not None and unlawful.at_ms is not None:
        retry_at = max(unlawful.at_ms, now_ms + MIN_WAIT_MS)
    if retry_at is None:
        return failed
    if task.cancel_requested:
        return Verdict("cancelled", "cancelled")
    if barred():
        return Verdict("failed", "opted_out")
    if task.deadline is not None and task.deadline <= retry_at:
        return failed
    if not passes and task.attempt - task.undialled >= policy.max_attempts:
        return failed
    return Verdict("retry_scheduled", reason, retry_at)


def after_permit(task: Task, policy: Policy, now_ms: int, barred: Callable[[], bool]) -> Verdict:
    """What follows when nobody has dialled in time."""
    if task.cancel_requested:
        return Verdict("cancelled", "cancelled")
    if barred():
        return Verdict("failed", "opted_out")
    if task.deadline is not None and task.deadline <= now_ms:
        return Verdict("expired", "deadline")
    if task.attempt - task.undialled >= policy.max_attempts:
        return Verdict("failed", "no edge dialled")
    return Verdict("queued", "permit_expired")


def not_now(permission: Permission, first: bool, now_ms: int) -> Verdict | None:
    """What follows for a task without a call from when it may be placed; None: it may be now.
    `first`: it has not been assigned yet."""
    if permission.at_ms is None:
        return Verdict("refused" if first else "failed", _why(permission))
    if permission.at_ms > now_ms:
        return Verdict("queued", _why(permission), permission.at_ms)
    return None


def _why(permission: Permission) -> str:
    return f"{permission.rule}: {permission.reason}" if permission.reason else permission.rule
