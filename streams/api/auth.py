"""Access control: callers need the key; while none is configured, this user's own programs need
none."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from ringlog.callers import has_key, is_own_program
from streams.api.problems import Problem

_OPEN_PATHS: Final = frozenset({"/openapi.json"})


def middleware(key: str, configured: bool) -> "web.middleware":  # type: ignore[valid-type] # aiohttp types it as a function
    """Refuses requests without the key, with 401."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path in _OPEN_PATHS or has_key(request, key):
            return await handler(request)
        keyless = "Authorization" not in request.headers and not configured
        if keyless and is_own_program(request):
            return await handler(request)
        raise Problem(
            401, "Key needed",
            "send `Authorization: Bearer` with the key: RINGLOG_API_KEY, or the file `api-key` in "
            "the stack's home",
        )  # fmt: skip

    return check
