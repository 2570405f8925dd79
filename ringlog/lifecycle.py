"""Start, readiness and clean shutdown of an asyncio service."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from ringlog import log
from ringlog.health import Health, serve_health
from ringlog.kafka.codec import learn
from ringlog.settings import Settings, settings
from ringlog.stopping import Stopped
from schemas.wire import Codec

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Lifecycle:
    """A running service: its settings, its health, and when it has to stop."""

    def __init__(self, service: str, config: Settings) -> None:
        self.service = service
        self.settings = config
        self.health = Health(service)
        self.stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Runs `work` in the background; if it fails, the whole service stops with its error."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self.stopping.set()

    async def learn(self, codec: Codec) -> None:
        """Waits until all schemas are read from the registry, and reports that in `/readyz`; raises
        Stopped. Later `/readyz` also reports a record that waits for the registry."""
        self.health.set_waiting("registry")
        self.health.blocked = lambda: codec.waiting_for
        if not await asyncio.to_thread(
            learn, codec, self.health.set_waiting, self.stopping.is_set
        ):  # the client blocks
            raise Stopped("while waiting for the registry")

    async def until_stopped(self) -> None:
        """Waits for a signal or for a failure of spawned work."""
        await self.stopping.wait()

    async def close(self) -> None:
        """Cancels spawned work and waits for it; raises its first failure."""
        self.stopping.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure


def run(
    service: str, main: Callable[[Lifecycle], Awaitable[None]], *, own_http: bool = False
) -> None:
    """Runs a service until it is told to stop; exits 1 when it failed, 0 otherwise.

    `main` starts its work, calls `life.health.set_ready()`, waits for `life.stopping` and cleans
    up. With `own_http` the service serves the health routes in its own application.
    """
    config = settings()
    log.configure(service, config.log_level)
    logger = log.logger("ringlog.lifecycle")

    async def outer() -> None:
        life = Lifecycle(service, config)
        loop = asyncio.get_running_loop()
        for sig in STOP_SIGNALS:
            loop.add_signal_handler(sig, life.stopping.set)
        runner = None
        if not own_http:
            port = config.metrics_port_of(service)
            runner = await serve_health(life.health, config.bind_host, port)
        logger.info("starting")
        try:
            await main(life)
        except Stopped as why:
            logger.info("told to stop", when=str(why))
        finally:
            life.health.set_waiting("stopping")
            try:
                await life.close()
            finally:
                if runner is not None:
                    with contextlib.suppress(Exception):
                        await runner.cleanup()
        logger.info("stopped")

    try:
        uvloop.run(outer())
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        logger.exception("failed", error=f"{type(error).__name__}: {error}")
        sys.exit(1)
