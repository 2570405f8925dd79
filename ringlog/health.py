"""`/healthz`, `/readyz` and `/metrics` of every service, on its metrics port, and `POST /rebuild`
of those whose state can be rebuilt."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ringlog.api_key import api_key
from ringlog.callers import has_key, is_from_a_page
from ringlog.settings import settings

BACKLOG = 2048
"""Connections that may wait to be accepted: a burst of 1,000 and as many again. The kernel allows
`net.core.somaxconn`, 4096 by default."""


HEAD_S = 10.0
"""Time for the first request's head, s."""

KEEP_ALIVE_S = 75.0
"""How long a connection may be idle between requests, s."""


LINGER_S = 2.0
"""How long the rest of a refused request's body is waited for, s."""


class NotRebuilt(Exception):
    """A rebuild was refused or failed, and changed nothing; the text says why."""


@dataclass
class Health:
    """A service's health. `waiting_for` is the reason while it is not ready; `blocked` may give
    another one: a ready service may still meet a record that has to wait. `rebuild` folds the state
    again from the log, returns what it found, and raises NotRebuilt. A service that works outside
    the answering event loop sets `beats_within_s` and beats every turn."""

    service: str
    ready: bool = False
    waiting_for: str = "start"
    detail: dict[str, object] = field(default_factory=dict)
    rebuild: Callable[[], Awaitable[dict[str, int]]] | None = None
    blocked: Callable[[], str] = str
    beats_within_s: float | None = None
    beaten_s: float = field(default_factory=time.monotonic)

    def set_ready(self) -> None:
        """From now on `/readyz` answers 200."""
        self.ready, self.waiting_for = True, ""

    def beat(self) -> None:
        """The service makes progress."""
        self.beaten_s = time.monotonic()

    @property
    def stuck_s(self) -> float | None:
        """Seconds without progress, if too many."""
        since_s = time.monotonic() - self.beaten_s
        return since_s if since_s > (self.beats_within_s or float("inf")) else None

    def set_waiting(self, why: str) -> None:
        """From now on `/readyz` answers 503 with the reason."""
        self.ready, self.waiting_for = False, why


def add_routes(app: web.Application, health: Health) -> None:
    """Adds the routes to a service's application."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"service": health.service, "ok": True, **health.detail})

    async def readyz(_: web.Request) -> web.Response:
        if (stuck_s := health.stuck_s) is not None:
            return web.Response(status=500, text=f"stuck: no turn for {stuck_s:.0f} s")
        blocked = health.blocked()
        ready = health.ready and not blocked
        body = {"service": health.service, "ready": ready}
        if not ready:
            body["waiting_for"] = blocked or health.waiting_for
        return web.json_response(body, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def rebuild(request: web.Request) -> web.Response:
        if health.rebuild is None:
            return web.Response(status=404, text=f"{health.service} has nothing to rebuild")
        if is_from_a_page(request):
            return web.Response(status=403, text="a web page may not rebuild; use ringlog rebuild")
        if not has_key(request, api_key(settings())[0]):
            return web.Response(status=401, text="send Authorization: Bearer with the API's key")
        if not health.ready:
            return web.Response(status=503, text=f"not ready: {health.waiting_for}")
        try:
            return web.json_response(await health.rebuild())
        except NotRebuilt as why:
            return web.Response(status=409, text=str(why))

    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.post("/rebuild", rebuild),
        ]
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether aiohttp reports a fault of ours: of a peer that talks nonsense it writes a traceback,
    too."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


logging.getLogger("aiohttp.server").addFilter(_is_ours)


class Idlers:
    """Ends connections that have sent no whole head of a request in `HEAD_S`: aiohttp waits for the
    first one for ever."""

    def __init__(self) -> None:
        self._asked: set[object] = set()
        self._came_s: dict[object, float] = {}

    @web.middleware
    async def mark(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A whole head has come."""
        self._asked.add(request.protocol)
        return await handler(request)

    async def watch(self, runner: web.AppRunner) -> None:
        """Looks for ever."""
        while True:
            await asyncio.sleep(HEAD_S / 4)
            now_s, connections = (
                time.monotonic(),
                runner.server.connections if runner.server else [],
            )
            self._asked.intersection_update(connections)
            self._came_s = {c: self._came_s.get(c, now_s) for c in connections}
            for connection in connections:
                idle_s = now_s - self._came_s[connection]
                if idle_s > HEAD_S and connection not in self._asked:
                    connection.force_close()


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Starts an application; `await runner.cleanup()` ends it. Raises OSError: port in use."""
    idlers = Idlers()
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=2, keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=LINGER_S,
    )  # fmt: skip

    async def watching(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(idlers.watch(runner), name=f"idlers of {port}")
        yield
        task.cancel()

    app.middlewares.append(idlers.mark)
    app.cleanup_ctx.append(watching)
    await runner.setup()
    await web.TCPSite(runner, host, port, reuse_address=True, backlog=BACKLOG).start()
    return runner


async def serve_health(health: Health, host: str, port: int) -> web.AppRunner:
    """An application with these routes alone, for a service without HTTP."""
    app = web.Application()
    add_routes(app, health)
    return await serve(app, host, port)


def serve_health_in_thread(health: Health, host: str, port: int) -> None:
    """Serves these routes for a service that has no event loop; ends with the process.

    Raises OSError when the port is in use.
    """
    started: list[BaseException | None] = []
    up = threading.Event()

    async def main() -> None:
        try:
            await serve_health(health, host, port)
            started.append(None)
        except OSError as error:
            started.append(error)
            return
        finally:
            up.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(main()), name="health", daemon=True).start()
    up.wait()
    if started[0] is not None:
        raise started[0]
