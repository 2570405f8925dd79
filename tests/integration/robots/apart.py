"""Robot workers that have a network of their own each, with ways to the stack that can be cut."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ringlog.settings import Settings
from schemas.ids import call_once_id
from tests.integration.robots.relay import Relay, receive_listeners, refusal, start_apart
from tests.integration.robots.scene import PATIENCE_S, Site
from tests.integration.robots.standby_run import Run, Workers


class WorkersApart(Workers):
    """Workers of which some are in a network namespace, each with its relay."""

    def __init__(self, config: Settings, logs: Path, death_ms: int) -> None:
        super().__init__(config, logs, death_ms)
        self._kafka_port = config.port(config.kafka_port)
        self._ports = [self._kafka_port, config.port(config.registry_port)]
        self.relays: dict[str, Relay] = {}

    async def start_apart(self, name: str) -> None:
        """Starts one in a namespace."""
        with self._log(name).open("ab") as out:
            process, control = start_apart(self._command(name), self._ports, out, self._env)
        self.processes[name] = process
        listeners = await asyncio.to_thread(receive_listeners, control, self._ports)
        self.relays[name] = Relay(listeners, self._kafka_port)
        await self.relays[name].start()

    async def until_ready(self, name: str) -> None:
        """Waits until one has read the log, by its own word: its health is not to be reached."""
        deadline = time.monotonic() + PATIENCE_S
        while b'"event": "ready"' not in self._log(name).read_bytes():
            assert self.processes[name].poll() is None, "the worker has failed"
            assert time.monotonic() < deadline, f"robots-{name} does not follow"
            await asyncio.sleep(0.05)

    async def stop_relays(self) -> None:
        for relay in self.relays.values():
            await relay.stop()


@asynccontextmanager
async def run_apart(
    site: Site, logs: Path, *, apart: str, calls: int = 8, death_ms: int = 500
) -> AsyncIterator[tuple[Run, dict[str, Relay]]]:
    """Calls served by `a`, which speaks at first, and `b`, which follows. `apart` names those with
    a network of their own. Skips where the machine allows none."""
    if (why := refusal()) is not None:
        pytest.skip(f"no network namespace of our own: {why}")
    workers = WorkersApart(site.config, logs, death_ms)
    run = Run(site, workers)
    following = asyncio.create_task(run.follow())
    try:
        for name in ("a", "b"):
            if name in apart:
                await workers.start_apart(name)
            else:
                workers.start(name)
            await workers.until_ready(name)
            await run.speaks()
        await run.begin(calls)
        yield run, workers.relays
        for call in run.calls:
            await call.event("ended", event_id=call_once_id(call.call_id, "ended"))
    finally:
        run.close()
        following.cancel()
        await _stop(workers)


async def _stop(workers: WorkersApart) -> None:
    """The relays last: a worker that is stopped has something to say."""
    try:
        await asyncio.to_thread(workers.stop_all)
    finally:
        await workers.stop_relays()
