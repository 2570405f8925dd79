"""What a service that has learned all schemas asks, and what it does while nobody answers."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ringlog.health import add_routes
from ringlog.kafka import codec as waiting
from ringlog.kafka.codec import decode, learn
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from schemas.catalogue import TOPICS
from schemas.events import OptOut
from schemas.registry import MemoryRegistry, RegistryError
from schemas.wire import HEADER, Codec, Poison

OPTOUTS = "compliance.optouts"
EVENT = OptOut.model_validate({
    "event_id": "00000000-0000-4000-8000-000000000001", "kind": "opted_out", "occurred_at": 1,
    "producer": "test", "phone_hash": "h", "reason": "r",
})  # fmt: skip


class Away:
    """A registry that is away for some questions; `asked` counts all."""

    def __init__(self, known: MemoryRegistry, away_for: int = 0) -> None:
        self._known = known
        self.away_for = away_for
        self.asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.away_for > 0:
            self.away_for -= 1
            raise RegistryError("no answer")

    def id_of(self, subject: str, schema: str) -> int:
        self._ask()
        return self._known.id_of(subject, schema)

    def schema_of(self, schema_id: int) -> str:
        self._ask()
        return self._known.schema_of(schema_id)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_PAUSE_S", 0.0)


def test_whoever_has_learned_asks_nothing_more() -> None:
    registry = Away(MemoryRegistry(), away_for=3)
    codec = Codec(registry)
    told: list[str] = []
    assert learn(codec, told.append, lambda: False)
    assert told == ["registry: no answer"]
    asked = registry.asked
    assert asked == 3 + len(TOPICS)
    value = codec.encode(OPTOUTS, EVENT)
    assert not codec.must_ask(value)
    assert codec.decode(OPTOUTS, value) == EVENT
    assert registry.asked == asked


def test_learning_ends_when_the_service_is_to_stop() -> None:
    told: list[str] = []
    codec = Codec(Away(MemoryRegistry(), away_for=1_000_000))
    assert not learn(codec, told.append, lambda: bool(told))


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"\x01" + bytes(9), bytes(2_000_000)])
def test_what_cannot_be_a_record_asks_nothing(value: bytes | None) -> None:
    registry = Away(MemoryRegistry())
    codec = Codec(registry)
    assert not codec.must_ask(value)
    with pytest.raises(Poison):
        asyncio.run(decode(codec, OPTOUTS, value))
    assert registry.asked == 0


async def test_a_record_of_an_unmet_schema_waits_and_the_loop_goes_on() -> None:
    known = MemoryRegistry()
    value = Codec(known).encode(OPTOUTS, EVENT)
    registry = Away(known, away_for=1_000_000)
    codec = Codec(registry)
    waits = asyncio.create_task(decode(codec, OPTOUTS, value))
    while registry.asked < 3:
        await asyncio.sleep(0)
    assert not waits.done()
    registry.away_for = 0
    assert await waits == EVENT
    assert not codec.must_ask(value)


async def test_an_id_that_nobody_knows_is_poison() -> None:
    value = HEADER.pack(0, 99) + b"x"
    with pytest.raises(Poison, match="not in the registry"):
        await decode(Codec(Away(MemoryRegistry(), away_for=2)), OPTOUTS, value)


async def test_k2_health_says_why_a_record_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    known = MemoryRegistry()
    value = Codec(known).encode(OPTOUTS, EVENT)
    registry = Away(known, away_for=1_000_000)
    codec = Codec(registry)
    life = Lifecycle("edge", Settings())
    monkeypatch.setattr("ringlog.lifecycle.learn", lambda *_: True)
    await life.learn(codec)
    life.health.set_ready()
    app = web.Application()
    add_routes(app, life.health)
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/readyz")).status == 200
        waits = asyncio.create_task(decode(codec, OPTOUTS, value))
        while registry.asked < 2:
            await asyncio.sleep(0)
        answer = await client.get("/readyz")
        assert answer.status == 503
        assert (await answer.json())["waiting_for"] == "registry: no answer"
        registry.away_for = 0
        assert await waits == EVENT
        assert (await client.get("/readyz")).status == 200
