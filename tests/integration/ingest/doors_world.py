"""The media server with doors and no Kafka, for far ends that name their call in a message."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ingest.sound.clock import monotonic_us
from ingest.sound.session import Clock, Session
from ingest.sound.types import format_of, stream_ids
from ingest.ws.doors import doors_of
from ingest.ws.line import WsLine
from ingest.ws.server import MediaServer, NoSession
from ringlog.media_session import MediaSessionRequest
from ringlog.settings import Settings
from tests.integration.ingest.test_transports import Owner, Ticking


class World:
    """Sessions that a first message opens; `over` and `refuse` say which not."""

    def __init__(self, config: Settings, port: int) -> None:
        self.port = port
        self.owner = Owner()
        self.ticking = Ticking()
        self.lines: dict[str, WsLine] = {}
        self.wanted: list[MediaSessionRequest] = []
        self.over: set[str] = set()
        self.refuse: NoSession | None = None
        self.server = MediaServer(
            self.lines.get, lambda call_id: f"secret-{call_id}", self.open,
            doors_of(
                config, f"ws://127.0.0.1:{port}/media", self.over.__contains__,
                lambda phone: f"caller-{phone[-4:]}",
            ),
        )  # fmt: skip

    def make(self, call_id: str, codec: str = "pcmu") -> WsLine:
        """A session that exists already."""
        clock = Clock(monotonic_us(), self.ticking.pacer.tick)
        ids = stream_ids(b"secret", call_id, "robot")
        session = Session(call_id, format_of(codec), clock, ids, self.owner)
        self.ticking.sessions[call_id] = session
        self.lines[call_id] = WsLine(session)
        return self.lines[call_id]

    async def open(self, wanted: MediaSessionRequest) -> WsLine:
        """Opens what a message wants."""
        if self.refuse is not None:
            raise self.refuse
        self.wanted.append(wanted)
        return self.make(wanted.call_id, wanted.codec)

    def session(self, call_id: str) -> Session:
        return self.lines[call_id].session


@asynccontextmanager
async def world_of(make: Callable[[int], Settings]) -> AsyncIterator[World]:
    """A started world; `make` gives its settings for a port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = World(make(port), port)
    await world.server.start("127.0.0.1", port)
    ticker = asyncio.create_task(world.ticking.run())
    try:
        yield world
        assert not ticker.done(), "the ticker died"
    finally:
        ticker.cancel()
        await world.server.stop()
