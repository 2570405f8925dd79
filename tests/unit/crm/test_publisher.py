"""The capture's publisher says when its broker takes nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.crm import capture, rabbit
from streams.crm.capture import Publisher
from streams.crm.engine import Captured


@contextlib.asynccontextmanager
async def _connected(config: object) -> AsyncIterator[object]:
    yield None


async def test_a_broker_that_takes_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    free = asyncio.Event()

    async def publish(*_: object, **__: object) -> None:
        await free.wait()

    exchange = SimpleNamespace(publish=publish)

    async def get_exchange(*_: object, **__: object) -> object:
        return exchange

    async def declare(*_: object) -> object:
        channel = SimpleNamespace(get_exchange=get_exchange)
        return SimpleNamespace(queue=SimpleNamespace(channel=channel), dead=exchange)

    monkeypatch.setattr(rabbit, "connected", _connected)
    monkeypatch.setattr(rabbit, "declare", declare)
    monkeypatch.setattr(capture, "_LONG_S", 0.0)
    health = SimpleNamespace(blocked=str)
    life = cast(Any, SimpleNamespace(health=health, settings=SimpleNamespace(crm_exchange="crm")))
    publisher = Publisher(life)
    running = asyncio.create_task(publisher.run())
    put = asyncio.create_task(publisher.put([Captured("crm.public.customers", "1", "{}")]))
    await asyncio.sleep(0.05)
    assert "takes nothing" in health.blocked()
    free.set()
    await asyncio.wait_for(put, 5)
    assert health.blocked() == ""
    running.cancel()
