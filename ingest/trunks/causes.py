"""What a call's causes say of its carrier (ITU-T Q.850 table 1, RFC 3261 section 21)."""

from typing import Final

CARRIER_CAUSES: Final = frozenset({34, 38, 41, 42, 44, 47})
"""No circuit, network out of order, temporary failure, congestion, channel not available, resource
unavailable: another carrier may reach the number."""

NO_RESPONSE: Final = 102
"""Recovery on timer expiry: the carrier did not say a word in time."""

_REACHED_CAUSES: Final = frozenset({17})
_REACHED_SIP: Final = frozenset({486, 600, 603})


def is_carrier_fault(cause_q850: int | None, cause_sip: int | None) -> bool:
    """Whether the carrier failed, so that another may be tried; never for busy or no answer.

    A SIP status counts before the cause: gateways map both ways, not always alike.
    """
    if cause_sip is not None and 500 <= cause_sip < 600:
        return True
    return cause_q850 in CARRIER_CAUSES or cause_q850 == NO_RESPONSE


def reached_the_line(cause_q850: int | None, cause_sip: int | None) -> bool:
    """Whether an unanswered call's end proves that the carrier works: the line was busy, or
    somebody declined."""
    return cause_q850 in _REACHED_CAUSES or cause_sip in _REACHED_SIP
