"""What the end of a call means for its task."""

from schemas.events import CallEvent

RETRIED = frozenset({"no_answer", "busy"})
"""Dispositions after which the customer is called again."""

FAILED = RETRIED | {"failed", "abandoned"}
"""Dispositions after which a task has not done what it was for."""

_BUSY = {17, 486, 600}
_NO_ANSWER = {18, 19, 20, 408, 480}
_CLEARED = {16, 31}


def disposition_of(ended: CallEvent, answered: bool) -> str:
    """The call's disposition: as recorded, else from its causes (ITU-T Q.850 table 1, RFC 3261
    section 21) and from whether it was answered."""
    if ended.disposition:
        return ended.disposition
    causes = {ended.cause_q850, ended.cause_sip} - {None}
    if causes & _BUSY:
        return "busy"
    if causes & _NO_ANSWER:
        return "no_answer"
    if answered and (not causes or causes & _CLEARED):
        return "completed"
    if not answered and causes & _CLEARED:
        return "no_answer"
    return "failed"
