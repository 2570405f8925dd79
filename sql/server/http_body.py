"""The body of an HTTP request as plain bytes, whatever its content coding."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from sql.server import http_coding
from sql.server.errors import SOCKET_TIMEOUT, ServerError
from sql.server.http_request import HttpQuery

_BODY_READ_BYTES = 1 << 18


class Body:
    """A request's body, decoded, that can be read in parts."""

    def __init__(self, request: web.Request, query: HttpQuery, frame_bytes: int, wait_s: float):
        encoding = request.headers.get("Content-Encoding", "")
        self._request = request
        self._decoder = http_coding.decoder(encoding, query.decompress, frame_bytes)
        self._wait_s = wait_s

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield decoded pieces. Raises ServerError for a broken or a stalled body."""
        while True:
            try:
                async with asyncio.timeout(self._wait_s):
                    raw = await self._request.content.read(_BODY_READ_BYTES)
            except TimeoutError:
                raise ServerError(SOCKET_TIMEOUT, "Timeout exceeded while reading") from None
            if not raw:
                break
            for piece in self._decoder.feed(raw):
                if piece:
                    yield piece
        self._decoder.end()
