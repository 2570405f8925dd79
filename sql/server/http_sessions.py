"""HTTP sessions: one chDB session a request, or a named one that is kept between requests."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sql.server.engine import Engine, EngineSession, quote_name
from sql.server.errors import SESSION_IS_LOCKED, ServerError


@dataclass(slots=True)
class _Kept:
    session: EngineSession
    busy: bool
    until: float  # monotonic seconds


class HttpSessions:
    """Gives out sessions; at most ``limits.http_sessions`` named ones are kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._executor = ThreadPoolExecutor(
            engine.config.limits.http_queries, thread_name_prefix="http"
        )
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @asynccontextmanager
    async def use(self, name: str, keep_s: int, database: str) -> AsyncIterator[EngineSession]:
        """A session for one request.

        Raises ServerError: SESSION_IS_LOCKED when another request uses it, UNKNOWN_DATABASE.
        """
        if not name:
            session = EngineSession(self._engine, self._executor)
            try:
                await session.open(database or self._engine.config.database)
                yield session
            finally:
                await session.close()
            return
        kept = await self._named(name, database)
        try:
            yield kept.session
        finally:
            kept.busy = False
            kept.until = time.monotonic() + keep_s
            await self._expire()

    async def _named(self, name: str, database: str) -> _Kept:
        await self._expire()
        kept = self._kept.get(name)
        if kept is not None:
            if kept.busy:
                raise ServerError(
                    SESSION_IS_LOCKED, f"Session {name} is locked by a concurrent client"
                )
            kept.busy = True
            self._kept.move_to_end(name)
            if database:
                try:
                    await kept.session.execute(f"USE {quote_name(database)}")
                except BaseException:
                    kept.busy = False
                    raise
            return kept
        kept = _Kept(EngineSession(self._engine, self._executor), True, 0.0)
        self._kept[name] = kept
        try:
            await kept.session.open(database or self._engine.config.database)
        except BaseException:
            del self._kept[name]
            await kept.session.close()
            raise
        return kept

    async def _expire(self) -> None:
        """Close what has timed out, and the longest idle ones above the limit."""
        now = time.monotonic()
        over = len(self._kept) - self._engine.config.limits.http_sessions
        for name, kept in list(self._kept.items()):
            if not kept.busy and (kept.until <= now or over > 0):
                del self._kept[name]
                over -= 1
                await kept.session.close()

    async def close(self) -> None:
        """Close all named sessions."""
        for kept in list(self._kept.values()):
            await kept.session.close()
        self._kept.clear()
        self._executor.shutdown(wait=False)
