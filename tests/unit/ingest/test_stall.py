"""A process that stood still reads what came meanwhile before it calls anything silence."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

import ingest.ticker
from ingest.edge import Edge
from ingest.sound.clock import monotonic_us
from ingest.sound.pacer import Pacer
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from schemas.registry import MemoryRegistry
from schemas.wire import Codec

PACKETS = 60


class Heard(asyncio.DatagramProtocol):
    def __init__(self, order: list[str]) -> None:
        self.order = order

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.order.append("packet")


class Session:
    def __init__(self, order: list[str]) -> None:
        self.order = order

    def tick(self, tick: int, at_us: int) -> None:
        self.order.append("tick")


async def stalled(home: Path) -> list[str]:
    order: list[str] = []
    edge = Edge(Lifecycle("edge", Settings(home=home)), Codec(MemoryRegistry()))
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    near, _ = await loop.create_datagram_endpoint(lambda: Heard(order), local_addr=("127.0.0.1", 0))
    edge.sessions["c"] = cast(Any, Session(order))
    edge.pacer = Pacer(monotonic_us())
    ticker = asyncio.create_task(
        ingest.ticker.tick(edge.pacer, edge.sessions, edge.actors, lambda: False)
    )
    await asyncio.sleep(0.1)
    order.clear()
    for _ in range(PACKETS):
        far.sendto(b"x", near.get_extra_info("sockname"))
    time.sleep(0.25)  # noqa: ASYNC251 # the process stands still
    await asyncio.sleep(0.1)
    ticker.cancel()
    near.close()
    far.close()
    await edge.disconnect()
    return order


@pytest.mark.parametrize("reads", [0, ingest.ticker.STALL_READS])
def test_what_came_during_a_stall_is_read_before_the_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    monkeypatch.setattr(ingest.ticker, "STALL_READS", reads)
    order = uvloop.run(stalled(tmp_path))
    before = order[: order.index("tick")]
    assert (before.count("packet") == PACKETS) == (reads > 0), order
