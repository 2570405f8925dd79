"""Lists in request bodies: CSV, JSON lines or Excel, received into a file."""

import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import web

from ringlog.campaigns.tables import MAX_BYTES, Format
from streams.api.problems import Problem, reading

ERRORS_SHOWN = 100_000
"""Rows at fault that an answer carries."""

TYPES: Final[dict[str, Format]] = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


LIST_TYPES: Final = (*TYPES, "application/octet-stream")
"""Content types of lists."""


@contextlib.asynccontextmanager
async def uploaded(
    request: web.Request, asked: Format | None
) -> AsyncIterator[tuple[Path, Format, str]]:
    """The body as a file that is gone afterwards, its format, and its digest (SHA-256); raises
    Problem 413 or 415."""
    kind = asked or TYPES.get(request.content_type)
    if kind is None:
        raise Problem(415, "Unknown format", "name it: ?format=csv, jsonl or xlsx")
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryDirectory(prefix="ringlog-list-") as folder:
        path = Path(folder) / "list"
        with reading(), path.open("wb") as file:
            async for data in request.content.iter_chunked(1 << 18):
                size += len(data)
                if size > MAX_BYTES:
                    raise Problem(413, "Too large", f"at most {MAX_BYTES // 2**20} MB")
                digest.update(data)
                file.write(data)
        yield path, kind, digest.hexdigest()


def heading_of(text: str) -> tuple[str, str]:
    """Heading and field of a `map`."""
    heading, _, name = text.rpartition(":")
    return heading, name
