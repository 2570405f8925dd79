"""`/softphone`: a page that calls the robot from a browser, and the tokens that it works with.

The page holds no secret. It asks for a token, by the key or, while no key is configured, as a page
of ours in this user's own browser on this machine (`ringlog.callers`). A token lives for minutes
and is good for calls by WHIP and for following one's own call: no other path takes it.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from aiohttp import web

from ringlog.clock import now_ms
from ringlog.settings import Settings
from ringlog.site_key import derived_key, site_key
from streams.api.answers import TokenAnswer
from streams.api.describe import Paths, answer, operation

TOKEN_MS: Final = 600_000
"""How long a token is good; the page asks for another in time."""

PROTOCOL: Final = "ringlog"
"""Sub-protocol of a browser's `/ws/events`. It cannot send headers there, so its token comes as
another sub-protocol, which we never choose."""

BROWSER_CALL: Final = "web-"
"""How ids of calls from browsers begin; the rest is chance, so an id is known to its caller."""

_FOLDER: Final = Path(__file__).with_name("softphone_page")

_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css"}

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

PAGE_FILES: Final = {
    "/softphone": "softphone.html",
    "/softphone/softphone.js": "softphone.js",
    "/softphone/words.js": "words.js",
    "/softphone/softphone.css": "softphone.css",
}
"""What anybody may read, by path."""

TOKEN_PATH: Final = "/softphone/token"


PATHS: Final[Paths] = {
    TOKEN_PATH: {
        "post": operation(
            "make_token", "A token for calls from a browser: ten minutes, `/whip` alone",
            {200: answer("The token", TokenAnswer)},
        ),
    },
}  # fmt: skip


class Tokens:
    """Makes and checks the softphone's tokens. Pure but for `made`'s chance."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def made(self, at_ms: int) -> tuple[str, int]:
        """(token, when it expires, ms since 1970 UTC)."""
        expires_ms = at_ms + TOKEN_MS
        stem = f"{expires_ms}.{secrets.token_hex(8)}"
        return f"{stem}.{self._mark(stem)}", expires_ms

    def holds(self, token: str, at_ms: int) -> bool:
        """Whether a token is ours and not expired."""
        if len(token) > 128 or not token.isascii():
            return False
        stem, _, mark = token.rpartition(".")
        if not hmac.compare_digest(mark, self._mark(stem)):
            return False
        return at_ms < int(stem.partition(".")[0])

    def admits(self, request: web.Request) -> bool:
        """Whether a request carries a token that is good for it."""
        at_ms = now_ms()
        path = request.path
        if path == "/ws/events":
            own = request.query.get("call_id", "").startswith(BROWSER_CALL)
            offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")[:8]
            return own and any(self.holds(word.strip(), at_ms) for word in offered)
        if not path.startswith("/whip/") and path != "/softphone/choices":
            return False
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.holds(token.strip(), at_ms)

    def _mark(self, stem: str) -> str:
        return hmac.new(self._key, stem.encode(), hashlib.sha256).hexdigest()


def tokens_of(config: Settings) -> Tokens:
    """The site's; raises SiteKeyError."""
    return Tokens(derived_key(site_key(config), "softphone"))


class SoftphoneRoutes:
    """The page's files, and its tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._files = {path: (_FOLDER / name).read_bytes() for path, name in PAGE_FILES.items()}

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        files = [web.get(path, self.file) for path in PAGE_FILES]
        return [*files, web.post(TOKEN_PATH, self.token)]

    async def file(self, request: web.Request) -> web.Response:
        """One of the page's files."""
        kind = PAGE_FILES[request.path].rpartition(".")[2]
        return web.Response(
            body=self._files[request.path], content_type=_TYPES[kind], charset="utf-8",
            headers=_HEADERS,
        )  # fmt: skip

    async def token(self, _: web.Request) -> web.Response:
        """200 {token, expires_at, now}; the middleware has asked who it is."""
        at_ms = now_ms()
        token, expires_ms = self._tokens.made(at_ms)
        body = {"token": token, "expires_at": expires_ms, "now": at_ms}
        return web.json_response(body, headers={"Cache-Control": "no-store"})
