"""Errors as problem+json (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ringlog import log
from schemas.wire import TooLarge

logger = log.logger("ringlog.api")

M = TypeVar("M", bound=BaseModel)


class Problem(Exception):
    """An answer other than success. `title` says what, `detail` how to mend it."""

    def __init__(self, status: int, title: str, detail: str = "", **extra: Any) -> None:
        super().__init__(title)
        self.status, self.title, self.detail, self.extra = status, title, detail, extra

    def response(self) -> web.Response:
        """The answer."""
        body = {"type": "about:blank", "title": self.title, "status": self.status, **self.extra}
        if self.detail:
            body["detail"] = self.detail
        return web.json_response(body, status=self.status, content_type="application/problem+json")


@web.middleware
async def problem_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns every error into problem+json; an unexpected one is logged and says no more."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except TooLarge as error:
        return Problem(413, "Too large", str(error)).response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return Problem(error.status, error.reason).response()
    except Exception as error:
        logger.exception("request failed", path=request.path, error=repr(error))
        return Problem(500, "Internal error", "see the log of the service `api`").response()


async def body_of(request: web.Request, model: type[M]) -> M:
    """The request's JSON body as a model; raises Problem 400, 415 or 422."""
    if request.content_type != "application/json":
        raise Problem(415, "JSON expected", "send Content-Type: application/json")
    try:
        data = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "Not JSON", str(error)) from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = [
            {"field": ".".join(str(p) for p in e["loc"]), "message": e["msg"]}
            for e in error.errors(include_url=False, include_input=False)
        ]
        first = errors[0]
        raise Problem(
            422, "Invalid request", f"{first['field']}: {first['message']}", errors=errors
        ) from None
