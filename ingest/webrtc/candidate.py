"""ICE candidates of a browser (RFC 8839 section 5.1): parsed under limits, with what we cannot use
passed over."""

import ipaddress
import re
from http import HTTPStatus
from typing import Final, NamedTuple

from ingest.webrtc.refusal import WhipRefused

MAX_CANDIDATES: Final = 16
"""Addresses of one browser that are tried; each costs a few STUN packets."""

MAX_LINE: Final = 1024
"""Longest line of SDP that is read, characters."""

_ICE_CHARS: Final = re.compile(r"[A-Za-z0-9+/]{1,32}")
_TYPES: Final = frozenset({"host", "srflx", "prflx", "relay"})


class Candidate(NamedTuple):
    """One address at which the browser may be reached over UDP."""

    foundation: str
    priority: int
    host: str
    port: int
    type: str


def parse_candidate(value: str) -> Candidate | None:
    """The candidate in the value of `a=candidate`.

    None for one that is of no use here: TCP, another component, a name instead of an address (a
    browser's mDNS name; its own checks will tell the address), a multicast address. Raises
    WhipRefused.
    """
    words = value.split(" ", 8)
    if len(words) < 8 or words[6].lower() != "typ":
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "a candidate is cut off")
    foundation, component, transport, priority, host, port, _, kind = words[:8]
    if not _ICE_CHARS.fullmatch(foundation):
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "a candidate's foundation is no ICE characters")
    numbers = [_number(text) for text in (component, priority, port)]
    if numbers[0] != 1 or transport.lower() != "udp" or kind not in _TYPES:
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    unicast = not (address.is_multicast or address.is_unspecified or address.is_reserved)
    if not unicast or str(address) == "255.255.255.255" or not 0 < numbers[2] < 65536:
        return None
    return Candidate(foundation, numbers[1], str(address), numbers[2], kind)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "a candidate has a word where a number belongs")
    return int(text)
