"""What the end of a call means for its task."""

from ringlog import dispositions
from ringlog.terms import Permission
from schemas.events import CallEvent

SPEAKS_WITHIN_MS = 2_000
"""How long after their greeting a person may wait for a voice, by the rules on abandoned calls."""


def disposition_of(ended: CallEvent, answered: bool) -> str:
    """The call's disposition: as recorded, else from its causes and from whether it was answered.

    The recorder of the end may not have known yet that the call was answered.
    """
    if answered and ended.disposition in dispositions.UNANSWERED:
        return "abandoned"
    return ended.disposition or dispositions.disposition_of(
        answered, ended.cause_q850, ended.cause_sip
    )


def unlawful_of(ended: CallEvent) -> Permission | None:
    """What the law said at the instant of the dial; None where it did not forbid that."""
    if ended.disposition != dispositions.UNLAWFUL:
        return None
    return Permission(ended.lawful_at, ended.rule or "law", ended.reason or "")


def is_abandoned(ended: CallEvent) -> bool | None:
    """Whether nobody spoke in time to the person who answered, as 47 CFR 64.1200(a)(7)(i) counts;
    None where no person did, or where the record does not say."""
    if ended.silent_ms is None or ended.disposition in dispositions.NOT_A_PERSON:
        return None
    return ended.silent_ms > SPEAKS_WITHIN_MS
