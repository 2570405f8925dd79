"""Connections to browsers that never come: what they take is given back."""

import asyncio
import os
import threading

import pytest

from ingest.rtp.socket import NoPort
from ingest.webrtc.offer import parse_offer
from ingest.webrtc.peer import Peer
from tests.integration.conftest import free_port_shift
from tests.unit.ingest.test_whip import CHROMIUM

HERE = "127.0.0.1"


def ports(count: int) -> range:
    first = 21_001 + free_port_shift()
    return range(first, first + 2 * count, 2)


def taken() -> tuple[int, int, int]:
    """Open files, tasks, threads."""
    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), threading.active_count()


async def test_two_hundred_that_never_connect_leave_nothing() -> None:
    offer, free = parse_offer(CHROMIUM.encode()), ports(64)

    async def one() -> None:
        peer = Peer()
        answer = await peer.answer(offer, HERE, "192.0.2.5", free)
        (line,) = [x for x in answer.splitlines() if x.startswith("a=candidate")]
        told = line.split()
        assert told[4] == "192.0.2.5" and int(told[5]) in free, "the advertised address"
        await asyncio.sleep(0.01)
        await peer.close()
        assert peer.over

    await one()
    await asyncio.sleep(0.2)
    before = taken()
    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(10)))
    for _ in range(100):
        if all(now <= then for now, then in zip(taken(), before, strict=True)):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{before} before, {taken()} after")


async def test_a_range_without_a_free_port() -> None:
    offer, free = parse_offer(CHROMIUM.encode()), ports(1)
    first, second = Peer(), Peer()
    await first.answer(offer, HERE, HERE, free)
    with pytest.raises(NoPort):
        await second.answer(offer, HERE, HERE, free)
    await second.close()
    await first.close()
