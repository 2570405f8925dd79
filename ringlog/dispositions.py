"""Dispositions of calls, and those of a carrier's cause codes (ITU-T Q.850 table 1, RFC 3261
section 21)."""

NUMBER_IN_CALL = "number_in_call"
"""The edge did not dial: the number is in another of our calls."""

EDGE_STOPPING = "edge_stopping"
"""The edge did not dial: it is about to stop."""

ONE_WAY_AUDIO = "one_way_audio"
"""The robot spoke, and no packet of the far end ever came."""

HALF_CLOSED = "half_closed"
"""The far end's sound stopped for good, and nobody hung up."""

MEDIA_FAULTS = frozenset({ONE_WAY_AUDIO, HALF_CLOSED})
"""Dispositions of calls that the edge ended for their media."""

EDGE_FULL = "edge_full"
"""The edge did not dial: it has as many calls as it takes."""

MACHINE = "machine"
"""An answering machine or a mailbox answered, and no message was left."""

VOICEMAIL = "voicemail"
"""A message was left after the beep of a mailbox."""

SCREENED = "screened"
"""A call-screening assistant answered, and the playbook has nothing to say to it."""

UNREACHABLE = "unreachable"
"""A carrier's announcement or tone: switched off, out of reach, busy, not answering."""

INVALID_NUMBER = "invalid_number"
"""A carrier's announcement or tone: no such number, or out of service."""

NOT_A_PERSON = frozenset({MACHINE, VOICEMAIL, SCREENED, UNREACHABLE, INVALID_NUMBER})
"""Dispositions of answered calls in which no person was reached."""

CANCELLED = "cancelled"
"""The task was cancelled while the call was under way."""

PROMPT_MISSING = "prompt_missing"
"""The edge did not dial: it cannot get a prompt that the call may play."""

UNLAWFUL = "unlawful"
"""The edge did not dial: the law forbids it by now, by the rule that the end names."""

PASSING = frozenset({NUMBER_IN_CALL, EDGE_STOPPING, EDGE_FULL, UNLAWFUL})
"""Reasons for not dialling that pass by themselves; they use up neither a dial nor an attempt."""

NO_LINE = "no_line"
"""The edge did not dial: every trunk is full, rests, or does not serve the number."""

NOT_DIALLED = PASSING | {PROMPT_MISSING, NO_LINE}
"""Dispositions of calls that the edge put off before any telephone rang; they use up no dial."""

RETRIED = frozenset({"no_answer", "busy", MACHINE, UNREACHABLE}) | NOT_DIALLED
"""Dispositions after which the customer is called again."""

FAILED = (
    RETRIED
    | MEDIA_FAULTS
    | {CANCELLED, "failed", "rejected", "abandoned", SCREENED, INVALID_NUMBER}
)
"""Dispositions after which a task has failed."""

CONNECTED = frozenset({"answered", "bridged", "transferred"})
"""Kinds of `calls.events` that say that somebody answered."""

UNANSWERED = frozenset({"no_answer", "busy", "rejected"})
"""Dispositions that an answer contradicts: such a call was `abandoned`."""

_BUSY = frozenset({17})
_NO_ANSWER = frozenset({18, 19, 20})
_REJECTED = frozenset({21})
_NORMAL = frozenset({16, 31})
_SIP_BUSY = frozenset({486, 600})
_SIP_NO_ANSWER = frozenset({408, 480, 487})
_SIP_REJECTED = frozenset({403, 603, 607, 608})


def disposition_of(answered: bool, cause_q850: int | None, cause_sip: int | None) -> str:
    """The disposition of a call that its carrier ended.

    If an answered call ends before the robot ends it, the customer hung up.
    """
    if answered:
        return "abandoned" if cause_q850 in _NORMAL or cause_q850 is None else "failed"
    if cause_q850 in _BUSY or cause_sip in _SIP_BUSY:
        return "busy"
    if cause_q850 in _NO_ANSWER or cause_sip in _SIP_NO_ANSWER:
        return "no_answer"
    if cause_q850 in _REJECTED or cause_sip in _SIP_REJECTED:
        return "rejected"
    return "no_answer" if cause_q850 in _NORMAL else "failed"
