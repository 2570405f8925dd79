"""What the end of a call means for its task."""

from ringlog import dispositions
from ringlog.terms import Permission
from schemas.events import CallEvent


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
