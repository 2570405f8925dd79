"""Why a call ended, from what Asterisk tells. Pure.

`ChannelDestroyed` has the Q.850 cause. The SIP status is `tech_cause`, and only that of a
`ChannelHangupRequest` without `soft` is the far end's; Asterisk makes one up for a ring time-out.
"""

from typing import Final, NamedTuple

Q850_NORMAL: Final = 16
Q850_OUT_OF_ORDER: Final = 38

_BUSY: Final = frozenset({17})
_NO_ANSWER: Final = frozenset({18, 19, 20})


class EndCauses(NamedTuple):
    """ITU-T Q.850 cause and the far end's SIP status, as told."""

    q850: int | None = None
    sip: int | None = None


def disposition_of(causes: EndCauses, answered: bool) -> str:
    """What an ended call came to."""
    if answered:
        return "completed"
    if causes.q850 in _BUSY or causes.sip in (486, 600):
        return "busy"
    if causes.q850 in _NO_ANSWER or causes.sip in (408, 480, 487):
        return "no_answer"
    return "failed"


def told_cause(q850: int | None) -> int | None:
    """The cause as it is recorded: a far end's BYE without a Reason header comes as 0, which is no
    cause of Q.850 but means normal clearing (RFC 3398 section 8.2.7)."""
    return Q850_NORMAL if q850 == 0 else q850
