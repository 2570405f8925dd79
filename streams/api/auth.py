"""Who may call: a bearer key, or anyone on this machine while no key is configured."""

import hmac
import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import HttpVersion11, web

from ringlog.health import from_web_page
from ringlog.settings import Settings
from streams.api.problems import Problem

_OPEN_PATHS = frozenset({"/openapi.json"})
_PROXIED = frozenset({"Forwarded", "Via", "X-Real-IP", "X-Original-Forwarded-For", "CF-Ray"})
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


def api_key(config: Settings) -> tuple[str, bool]:
    """(the key, whether it was configured); one is made into `<home>/api-key` on first start."""
    if config.api_key is not None:
        return config.api_key.get_secret_value(), True
    path = config.home / "api-key"
    try:
        return path.read_text(encoding="ascii").strip(), False
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(32)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return Path(path).read_text(encoding="ascii").strip(), False
    with os.fdopen(fd, "w") as file:
        file.write(made + "\n")
    return made, False


def _is_local(request: web.Request) -> bool:
    """Whether a program of this machine asks, and neither a proxy nor a web page does for another.

    A web page elsewhere, made to resolve to loopback, still names its own host. A proxy adds a
    header, or speaks HTTP/1.0 as nginx does unless told otherwise. One that does neither looks like
    a program of this machine: behind any proxy, set RINGLOG_API_KEY.
    """
    if request.version < HttpVersion11 or not _PROXIED.isdisjoint(request.headers):
        return False
    if any(name.startswith("X-Forwarded-") for name in map(str.title, request.headers)):
        return False
    if from_web_page(request):
        return False
    peer = request.remote
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    try:
        return peer is not None and ipaddress.ip_address(peer).is_loopback and host in _LOCAL_HOSTS
    except ValueError:
        return False


def middleware(key: str, configured: bool) -> "web.middleware":  # type: ignore[valid-type] # aiohttp types it as a function
    """Refuses requests without the key, with 401."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path in _OPEN_PATHS:
            return await handler(request)
        given = request.headers.get("Authorization", "")
        scheme, _, token = given.partition(" ")
        if not given and not configured and _is_local(request):
            return await handler(request)
        right = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), key.encode())
        if scheme.lower() != "bearer" or not right:
            raise Problem(401, "Key needed", "send Authorization: Bearer with the key of the API")
        return await handler(request)

    return check
