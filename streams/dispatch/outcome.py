"""What the end of a call means for its task."""

from ringlog import dispositions
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
