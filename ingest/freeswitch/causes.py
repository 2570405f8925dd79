"""FreeSWITCH's names of hang-up causes, as numbers of ITU-T Q.850. Pure.

Those above 127 are its own (switch_types.h, `switch_call_cause_t`); the nearest of Q.850 stands for
them.
"""

from typing import Final

from ringlog.dispositions import disposition_of

Q850_UNSPECIFIED: Final = 31

CAUSES: Final[dict[str, int]] = {
    "UNALLOCATED_NUMBER": 1, "NO_ROUTE_TRANSIT_NET": 2, "NO_ROUTE_DESTINATION": 3,
    "CHANNEL_UNACCEPTABLE": 6, "NORMAL_CLEARING": 16, "USER_BUSY": 17, "NO_USER_RESPONSE": 18,
    "NO_ANSWER": 19, "SUBSCRIBER_ABSENT": 20, "CALL_REJECTED": 21, "NUMBER_CHANGED": 22,
    "REDIRECTION_TO_NEW_DESTINATION": 23, "EXCHANGE_ROUTING_ERROR": 25,
    "DESTINATION_OUT_OF_ORDER": 27, "INVALID_NUMBER_FORMAT": 28, "FACILITY_REJECTED": 29,
    "NORMAL_UNSPECIFIED": 31, "NORMAL_CIRCUIT_CONGESTION": 34, "NETWORK_OUT_OF_ORDER": 38,
    "NORMAL_TEMPORARY_FAILURE": 41, "SWITCH_CONGESTION": 42, "REQUESTED_CHAN_UNAVAIL": 44,
    "FACILITY_NOT_SUBSCRIBED": 50, "OUTGOING_CALL_BARRED": 52, "INCOMING_CALL_BARRED": 54,
    "BEARERCAPABILITY_NOTAUTH": 57, "BEARERCAPABILITY_NOTAVAIL": 58, "SERVICE_UNAVAILABLE": 63,
    "CHAN_NOT_IMPLEMENTED": 66, "SERVICE_NOT_IMPLEMENTED": 79, "INCOMPATIBLE_DESTINATION": 88,
    "RECOVERY_ON_TIMER_EXPIRE": 102, "PROTOCOL_ERROR": 111, "INTERWORKING": 127,
    "ORIGINATOR_CANCEL": 16, "MANAGER_REQUEST": 16, "BLIND_TRANSFER": 16, "ATTENDED_TRANSFER": 16,
    "ALLOTTED_TIMEOUT": 19, "USER_NOT_REGISTERED": 20, "PROGRESS_TIMEOUT": 102,
    "MEDIA_TIMEOUT": 41, "CRASH": 41, "SYSTEM_SHUTDOWN": 41, "GATEWAY_DOWN": 38,
    "INVALID_GATEWAY": 38, "INVALID_URL": 38, "INVALID_PROFILE": 38,
}  # fmt: skip


def q850_of(name: str, number: str = "") -> int:
    """Number of a cause; `number` is FreeSWITCH's own, for a name that we do not know."""
    if name in CAUSES:
        return CAUSES[name]
    if number.isascii() and number.isdigit() and int(number[:9]) <= 127:
        return int(number)
    return Q850_UNSPECIFIED


def sip_of(specific: str) -> int | None:
    """SIP status of `sip:486`, or `486`; None for anything else."""
    digits = specific.removeprefix("sip:")
    if len(digits) == 3 and digits.isascii() and digits.isdigit() and digits[0] in "3456":
        return int(digits)
    return None


def outcome_of(
    answered: bool, name: str, number: str, specific: str
) -> tuple[int, int | None, str]:
    """(Q.850 cause, SIP status, disposition) of a call's end."""
    q850, sip = q850_of(name, number), sip_of(specific)
    return q850, sip, disposition_of(answered, q850, sip)
