"""Keeping web pages out: a page in a browser of this machine reaches a loopback port, too.

A page can send a query as plain text without asking (a "simple request" of the Fetch standard), so
a query is refused unless the request's own headers say that no foreign page sent it. Browsers set
Origin, Host and Sec-Fetch-Site themselves; programs send no Origin. Cross-origin reading (CORS) is
off until an origin is named with ``--cors-origin``.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from sql.server.config import ServerConfig

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITES = frozenset({"same-origin", "none"})
_ANY = "*"
_ANSWER_HEADERS = (
    "X-ClickHouse-Summary, X-ClickHouse-Query-Id, X-ClickHouse-Format, X-ClickHouse-Timezone, "
    "X-ClickHouse-Exception-Code, X-ClickHouse-Exception-Tag, X-ClickHouse-Server-Display-Name"
)
_ASK_HEADERS = (
    "authorization, content-type, content-encoding, x-clickhouse-user, x-clickhouse-key, "
    "x-clickhouse-database, x-clickhouse-format"
)
_CORS_OFF = "Cross-origin requests (CORS) are off on this server; --cors-origin switches them on"


class WebGate:
    """The rules for one server."""

    def __init__(self, config: ServerConfig) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in config.cors_origins)
        self._only_local = _is_local(config.host)
        named = {name.lower() for name in config.allowed_hosts} | {config.host.lower()}
        self._hosts = _LOCAL_NAMES | named
        if not self._only_local:
            self._hosts |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why the request may come from a page that has no right to ask, or None.

        Header names must be found in any case.
        """
        host = headers.get("Host", "")
        name = _host_name(host)
        if not self._is_ours(name):
            return (
                f"The Host header names {name[:100]!r}, which is not this server's; --allow-host "
                "adds a name"
            )
        origin = headers.get("Origin")
        if self._allows(origin):
            return None
        if origin is not None and not _same_origin(origin, host):
            return _CORS_OFF if not self._origins else "This origin is not allowed by --cors-origin"
        site = headers.get("Sec-Fetch-Site", "none").strip().lower()
        if site not in _OWN_SITES:
            return "A web page of another site asks"
        return None

    def preflight_refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why an OPTIONS request is refused, or None."""
        if not self._origins:
            return _CORS_OFF
        if "Origin" not in headers:
            return "OPTIONS without an Origin header"
        return self.refusal(headers)

    def cors_headers(self, headers: Mapping[str, str], preflight: bool = False) -> dict[str, str]:
        """What lets the page of an allowed origin read the answer; empty for everybody else."""
        origin = headers.get("Origin")
        if origin is None or not self._allows(origin):
            return {}
        out = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _ANSWER_HEADERS,
            "Vary": "Origin",
        }
        if preflight:
            out |= {
                "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
                "Access-Control-Allow-Headers": _ASK_HEADERS,
                "Access-Control-Max-Age": "600",
            }
            if headers.get("Access-Control-Request-Private-Network", "").lower() == "true":
                out["Access-Control-Allow-Private-Network"] = "true"
        return out

    def _allows(self, origin: str | None) -> bool:
        if origin is None or not origin.isascii() or not origin.isprintable():
            return False
        return _ANY in self._origins or origin.lower() in self._origins

    def _is_ours(self, name: str) -> bool:
        if not name or name in self._hosts:
            return True  # HTTP/1.0 knows no Host; browsers always send one
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A name can be made to point here by its owner (DNS rebinding), an address cannot.
        return address.is_loopback if self._only_local else True


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower() or host
    except ValueError:
        return host


def _same_origin(origin: str, host: str) -> bool:
    """Whether a page of this very server asks, as its own console would."""
    scheme, _, rest = origin.lower().partition("://")
    return scheme in ("http", "https") and rest == host.lower()
