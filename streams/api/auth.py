"""Access control: callers need the key; while none is configured, this user's own programs need
none."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.hdrs import WWW_AUTHENTICATE

from ringlog.callers import has_key, is_own_page, is_own_program
from ringlog.problems import KINDS_PATH
from streams.api import openapi
from streams.api.crm import PATH as CRM_PATH
from streams.api.docs_page import OPEN_PATHS as DOCS
from streams.api.problems import Problem
from streams.api.softphone import PAGE_FILES, TOKEN_PATH, Tokens

_OPEN_PATHS: Final = frozenset({openapi.PATH, *DOCS, *PAGE_FILES})


def is_open(path: str) -> bool:
    """Whether anybody may read a path: it tells nothing of this site."""
    return path.startswith(KINDS_PATH) or path in _OPEN_PATHS


def middleware(key: str, configured: bool, tokens: Tokens) -> "web.middleware":  # type: ignore[valid-type] # aiohttp types it as a function
    """Refuses requests without the key, or a token where one is good, with 401."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if is_open(request.path) or request.path == CRM_PATH:  # the webhook's signature is its key
            return await handler(request)
        if has_key(request, key) or tokens.admits(request):
            return await handler(request)
        keyless = "Authorization" not in request.headers and not configured
        own_page = request.path == TOKEN_PATH and is_own_page(request)
        if keyless and (own_page or is_own_program(request)):
            return await handler(request)
        raise Problem(
            401, "Key needed",
            "send `Authorization: Bearer` with the key: RINGLOG_API_KEY, or the file `api-key` in "
            "the stack's home",
            {WWW_AUTHENTICATE: "Bearer"},
        )  # fmt: skip

    return check
