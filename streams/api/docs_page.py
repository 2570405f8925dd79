"""`/docs`: the API's description as a page to read and to try, and what each problem means.

The page is Swagger UI, from a pinned jar in the cache (`stack/jvm.lock`): it needs no internet.
"""

from html import escape
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from aiohttp import web

from ringlog.jvm import path_of, pins
from ringlog.problems import BY_KIND, KINDS, KINDS_PATH
from streams.api.describe import OPEN, TEXT, Paths, answer, named, operation
from streams.api.problems import Problem

PAGE_PATH: Final = "/docs"

_BUNDLE: Final = {
    f"{PAGE_PATH}/swagger-ui-bundle.js": "text/javascript",
    f"{PAGE_PATH}/swagger-ui.css": "text/css",
}

_START: Final = f"{PAGE_PATH}/start.js"

OPEN_PATHS: Final = frozenset({PAGE_PATH, _START, *_BUNDLE})
"""What anybody may read: it tells nothing of this site."""

_PAGE: Final = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ringlog API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{PAGE_PATH}/swagger-ui.css">
<div id="api"></div>
<script src="{PAGE_PATH}/swagger-ui-bundle.js"></script>
<script src="{_START}"></script>
</html>
"""

_STARTS: Final = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null,
  persistAuthorization: false,
});
"""

_HEADERS: Final = {
    # Swagger UI sets styles of elements, and draws its icons from data.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


PATHS: Final[Paths] = {
    KINDS_PATH + "{kind}": {
        "get": operation(
            "problem_kind", "What a kind of problem means, and how it is mended",
            {200: answer("A page", TEXT, of="text/html")},
            parameters=[named("kind", "The kind", TEXT | {"enum": sorted(BY_KIND)})],
            problems={404: "No such kind"}, security=OPEN,
        ),
    },
}  # fmt: skip


class DocsRoutes:
    """The page, its files, and the kinds of problems."""

    def __init__(self) -> None:
        (pin,) = pins("docs")
        self._jar = path_of(pin)
        self._folder = f"META-INF/resources/webjars/{pin.artifact}/{pin.version}"

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.get(PAGE_PATH, self.page),
            web.get(_START, self.start),
            *(web.get(path, self.file) for path in _BUNDLE),
            web.get(KINDS_PATH + "{kind}", self.kind),
        ]

    async def page(self, _: web.Request) -> web.Response:
        """The page."""
        return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)

    async def start(self, _: web.Request) -> web.Response:
        """What draws it."""
        return web.Response(text=_STARTS, content_type="text/javascript", headers=_HEADERS)

    async def file(self, request: web.Request) -> web.Response:
        """A file of Swagger UI."""
        try:
            with ZipFile(self._jar) as jar:
                content = jar.read(f"{self._folder}/{Path(request.path).name}")
        except FileNotFoundError:
            raise Problem(503, "Not ready", "the page's files are absent: `make install`") from None
        return web.Response(
            body=content, content_type=_BUNDLE[request.path], charset="utf-8", headers=_HEADERS
        )

    async def kind(self, request: web.Request) -> web.Response:
        """What a kind of problem means."""
        title = BY_KIND.get(request.match_info["kind"])
        if title is None:
            raise web.HTTPNotFound
        text = f"<!doctype html>\n<title>{escape(title)}</title>\n<h1>{escape(title)}</h1>\n"
        text += f"<p>{escape(KINDS[title])}</p>\n"
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)
