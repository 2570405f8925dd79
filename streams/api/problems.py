"""Errors as problem+json (RFC 9457)."""

import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar, get_origin

from aiohttp import ClientPayloadError, web
from aiohttp.hdrs import ALLOW, RETRY_AFTER
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from ringlog import log
from ringlog.problems import problem, problem_body
from ringlog.settings import Settings
from schemas.phone import InvalidNumber, e164
from schemas.wire import TooLarge

logger = log.logger("ringlog.api")

_CHARSETS = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "gbk", "gb2312", "gb18030", "big5", "iso-8859-1"}
)
"""Character sets of bodies. Python's other codecs include some that are no character sets."""

M = TypeVar("M", bound=BaseModel)


class Problem(Exception):
    """An answer other than success. `title` says what is wrong, `detail` how to mend it."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(title)
        self.headers = dict(headers or {})
        self.status, self.title, self.detail, self.extra = status, title, detail, extra

    def response(self) -> web.Response:
        """The answer."""
        return problem(self.status, self.title, self.detail, self.headers, **self.extra)

    def body(self) -> dict[str, Any]:
        """The answer's body alone."""
        return problem_body(self.status, self.title, self.detail, **self.extra)


@web.middleware
async def problem_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns every error into problem+json; an unexpected one is logged and gives no detail."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except TooLarge as error:
        return Problem(413, "Too large", str(error)).response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allowed = {str(ALLOW): error.headers[ALLOW]} if ALLOW in error.headers else {}
        return Problem(error.status, error.reason, headers=allowed).response()
    except Exception as error:
        logger.exception("request failed", path=request.path, error=repr(error))
        return Problem(500, "Internal error", "see the log of the service `api`").response()


def json_of(data: bytes, charset: str = "utf-8") -> object:
    """The JSON value in a body (RFC 8259); raises ValueError, also for a key that comes twice and
    for a number or nesting beyond Python's limits."""
    try:
        return json.loads(
            data.decode(charset), object_pairs_hook=_without_repeats, parse_float=_number
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> int | float:
    """A number with a point or exponent; to JSON Schema, `2.0` is an integer."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:64]!r} comes twice in one object")
        found[name] = value
    return found


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Around what reads a request's body; raises Problem 400."""
    try:
        yield
    except (HttpProcessingError, ClientPayloadError, web.RequestPayloadError):
        raise Problem(
            400, "Unreadable body", "its transfer or content encoding is incomplete"
        ) from None


async def bytes_of(request: web.Request) -> bytes:
    """The request's body; raises Problem 400."""
    with reading():
        return await request.read()


async def body_of(request: web.Request, model: type[M], zone: str = "") -> M:
    """The request's JSON body as a model; raises Problem 400, 415 or 422.

    `zone` is the time zone of times that name none; empty: such times are refused.
    """
    return checked(await data_of(request), model, zone)


async def data_of(request: web.Request) -> object:
    """The request's JSON body; raises Problem 400 or 415."""
    if request.content_type != "application/json":
        raise Problem(415, "JSON expected", "send Content-Type: application/json")
    charset = (request.charset or "utf-8").lower()
    if charset not in _CHARSETS:
        raise Problem(415, "Unknown charset", "send JSON as UTF-8, without a charset parameter")
    content = await bytes_of(request)
    try:
        return json_of(content, charset)
    except ValueError as error:
        raise Problem(400, "Not JSON", str(error)[:300]) from None


def query_of(request: web.Request, model: type[M]) -> M:
    """The request's query as a model; raises Problem 422, also for a name that is unknown, since
    a misspelt filter must not mean all, or that comes twice where the model has no list."""
    data: dict[str, object] = dict(request.query)
    times = Counter(name for name, _ in request.query.items())
    for name in times:
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            data[name] = request.query.getall(name)
        elif times[name] > 1:
            raise Problem(422, "Invalid request", f"{name[:64]}: it comes twice")
    return checked(data, model)


def checked(data: object, model: type[M], zone: str = "") -> M:
    """JSON data as a model, with `zone` as in `body_of`; raises Problem 422."""
    try:
        return model.model_validate(data, context={"zone": zone})
    except ValidationError as error:
        errors = [
            {"field": ".".join(str(p) for p in e["loc"]), "message": e["msg"]}
            for e in error.errors(include_url=False, include_input=False)
        ]
        first = errors[0]
        where = f"{first['field']}: " if first["field"] else ""
        raise Problem(422, "Invalid request", where + first["message"], errors=errors) from None


def number_of(text: str, config: Settings, field: str = "phone") -> str:
    """The E.164 form of a number in a request; raises Problem 422, which never repeats it."""
    try:
        return e164(text, config.region)
    except InvalidNumber as error:
        message = str(error)
        raise Problem(
            422, "Invalid request", f"{field}: {message}",
            errors=[{"field": field, "message": message}],
        ) from None  # fmt: skip


def history_away(detail: str) -> Problem:
    """For what only ClickHouse knows, while it does not answer."""
    return Problem(503, "History does not answer", detail, {RETRY_AFTER: "5"})


def unknown_cursor() -> Problem:
    """For a `next` that names no item: never silently the first page again."""
    return Problem(
        410, "Unknown page", "next: it names nothing in this list, or what it named is too old; "
        "begin again without it",
    )  # fmt: skip
