"""Who asks at an HTTP port: a program of this user on this machine, a proxy, or a web page.

Not only its owner's programs reach a loopback port: so do a reverse proxy that forwards outside
requests, and any page open in a browser on this machine.
"""

import hmac
import ipaddress
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from ringlog.socket_owner import owner_of

_OF_PROXIES: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-",
    "X-Real-Ip",
    "X-Original-Forwarded-For",
    "Cf-Ray",
)
"""Beginnings of header names that proxies add."""


def has_key(request: web.Request, key: str) -> bool:
    """Whether the request carries the bearer key (RFC 6750, section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), key.encode())
    return right and scheme.lower() == "bearer"


def is_from_a_page(request: web.Request) -> bool:
    """Whether a browser sends this for a web page: its headers say so (Fetch, sections 3.1 and
    3.5), or its Host is a name that a page's owner may have pointed at us (DNS rebinding)."""
    headers = request.headers
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") != "none":
        return True
    host = request.url.host or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost"
    return False


def is_own_program(request: web.Request) -> bool:
    """Whether the caller is a program of this service's own user on this machine, acting for
    itself.

    The peer is loopback and the Host header names this machine: a foreign page that resolves to
    loopback names its own host. No proxy header is present; a proxy that adds none speaks HTTP/1.0,
    or runs as another user, which the kernel shows.
    """
    return not is_from_a_page(request) and _is_own_user(request)


def is_own_page(request: web.Request) -> bool:
    """Whether a page that this very port has served asks, in a browser of this service's own user
    on this machine.

    The browser vouches for the page: it sets Sec-Fetch-Site and Origin itself (Fetch, sections 3.1
    and 3.5), and a Host that is a loopback address is no name that somebody else may point at us.
    """
    headers = request.headers
    ours = headers.get("Origin") == f"{request.scheme}://{request.host}"
    same = ours and headers.get("Sec-Fetch-Site") == "same-origin"
    return same and _is_own_user(request)


def _is_own_user(request: web.Request) -> bool:
    if request.version < HttpVersion11 or request.transport is None:
        return False
    if any(name.title().startswith(_OF_PROXIES) for name in request.headers):
        return False
    peer, ours = (request.transport.get_extra_info(name) for name in ("peername", "sockname"))
    try:
        named = request.url.host or ""
        loopback = named == "localhost" or ipaddress.ip_address(named).is_loopback
        if not loopback or not ipaddress.ip_address(peer[0]).is_loopback:
            return False
        return owner_of(peer[:2], ours[:2]) == Path("/proc/self").stat().st_uid
    except (OSError, ValueError, TypeError, IndexError):
        return False
