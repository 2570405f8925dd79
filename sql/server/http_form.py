"""multipart/form-data: a query, its parameters and external tables as fields of a form (RFC 7578).

A part with a file name is an external table. Any other part is an argument like one of the URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web

from sql.server.config import Limits
from sql.server.errors import (
    BAD_ARGUMENTS,
    INCORRECT_DATA,
    NOT_IMPLEMENTED,
    SOCKET_TIMEOUT,
    SYNTAX_ERROR,
    ServerError,
)
from sql.server.external import MAX_TABLES
from sql.server.spool import Spool, SpoolBudget

_CHUNK_BYTES = 1 << 16
_BROKEN = "The form is malformed. (INCORRECT_DATA)"


@dataclass(slots=True)
class Form:
    """Fields in their order, and files by name. ``close()`` frees the files."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, Spool] = field(default_factory=dict)

    def arguments(self, url: Mapping[str, str]) -> dict[str, str]:
        """The URL's arguments and the form's; several queries are joined, the URL's first."""
        out = dict(url)
        for name, value in self.fields:
            out[name] = out.get(name, "") + value if name == "query" else value
        return out

    def close(self) -> None:
        """Free the files' memory."""
        for spool in self.files.values():
            spool.close()


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether the body is a form and not SQL or data."""
    return headers.get("Content-Type", "").strip().lower().startswith("multipart/form-data")


async def read_form(request: web.Request, limits: Limits, budget: SpoolBudget) -> Form:
    """Read the whole form. Raises ServerError for a broken, a stalled or a too large one."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ServerError(NOT_IMPLEMENTED, "A compressed form is not supported (NOT_IMPLEMENTED)")
    form = Form()
    try:
        await _read_parts(request, form, limits, budget)
    except (ValueError, AssertionError, RuntimeError, LookupError, EOFError):
        form.close()
        raise ServerError(INCORRECT_DATA, _BROKEN) from None
    except BaseException:
        form.close()
        raise
    return form


async def _read_parts(
    request: web.Request, form: Form, limits: Limits, budget: SpoolBudget
) -> None:
    reader = await request.multipart()
    left = limits.query_bytes
    for _ in range(limits.settings + MAX_TABLES + 1):
        async with _patience(limits.receive_s):
            part = await reader.next()
        if part is None:
            if not form.fields and not form.files:
                raise ServerError(INCORRECT_DATA, _BROKEN)
            return
        if not isinstance(part, BodyPartReader) or not part.name:
            raise ServerError(INCORRECT_DATA, _BROKEN)
        if part.filename is None:
            value = bytearray()
            while chunk := await _chunk(part, limits):
                value += chunk
                left -= len(chunk)
                if left < 0:
                    raise ServerError(SYNTAX_ERROR, "Max query size exceeded (SYNTAX_ERROR)")
            form.fields.append((part.name, value.decode("utf-8", "surrogateescape")))
            continue
        if part.name in form.files or len(form.files) >= MAX_TABLES:
            raise ServerError(
                BAD_ARGUMENTS,
                f"A form may hold {MAX_TABLES} external tables, each once. (BAD_ARGUMENTS)",
            )
        spool = form.files[part.name] = Spool(budget, limits.insert_bytes)
        while chunk := await _chunk(part, limits):
            spool.write(chunk)
    raise ServerError(BAD_ARGUMENTS, "The form has too many parts. (BAD_ARGUMENTS)")


async def _chunk(part: BodyPartReader, limits: Limits) -> bytes:
    async with _patience(limits.receive_s):
        return bytes(await part.read_chunk(_CHUNK_BYTES))


@asynccontextmanager
async def _patience(wait_s: float) -> AsyncIterator[None]:
    """A time limit whose end is ClickHouse's error."""
    try:
        async with asyncio.timeout(wait_s):
            yield
    except TimeoutError:
        raise ServerError(SOCKET_TIMEOUT, "Timeout exceeded while reading") from None
