"""Sockets outlive the process that opened them, in another one that holds them too."""

import asyncio
import socket
from pathlib import Path

from ingest.failover.handover import Bequest, Heir


def udp() -> tuple[int, socket.socket]:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made.getsockname()[1], made


def send(port: int, data: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, ("127.0.0.1", port))


async def test_what_comes_while_nobody_serves_waits(tmp_path: Path) -> None:
    path = tmp_path / ("deep" * 30) / "edge" / "heir"  # longer than a Unix socket's path may be
    bequest = Bequest(path)
    (one, first), (two, second) = udp(), udp()
    bequest.opened(one, first)
    bequest.connect()  # nobody is there
    heir = Heir(path)
    bequest.connect()
    bequest.opened(two, second)
    await asyncio.sleep(0.05)
    bequest.close()
    first.close()
    second.close()
    send(one, b"said meanwhile")
    inherited = heir.inherit()
    assert inherited.keys() == {one, two}
    assert inherited[one].recv(100) == b"said meanwhile"
    assert not inherited[one].get_inheritable() and not path.exists()
    for held in inherited.values():
        held.close()


async def test_a_call_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    heir, bequest = Heir(tmp_path / "heir"), Bequest(tmp_path / "heir")
    bequest.connect()
    port, held = udp()
    bequest.opened(port, held)
    held.close()
    bequest.closed(port)
    bequest.close()
    assert heir.inherit() == {}
    again, made = udp()
    made.close()
    assert again


async def test_a_spare_that_came_anew_is_told_all(tmp_path: Path) -> None:
    path = tmp_path / "heir"
    bequest = Bequest(path)
    port, held = udp()
    bequest.opened(port, held)
    dead = Heir(path)
    bequest.connect()
    await asyncio.sleep(0.05)
    dead.close()
    heir = Heir(path)
    bequest.connect()
    await asyncio.sleep(0.05)
    assert heir.inherit().keys() == {port}
    held.close()


async def test_another_edge_that_serves_replaces_what_the_last_had(tmp_path: Path) -> None:
    heir = Heir(tmp_path / "heir")
    first, second = Bequest(tmp_path / "heir"), Bequest(tmp_path / "heir")
    one, two = udp(), udp()
    first.opened(*one)
    second.opened(*two)
    first.connect()
    await asyncio.sleep(0.05)
    second.connect()
    await asyncio.sleep(0.05)
    assert heir.inherit().keys() == {two[0]}
    one[1].close()
    two[1].close()


async def test_a_spare_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    heir, bequest = Heir(tmp_path / "heir"), Bequest(tmp_path / "heir")
    port, held = udp()
    bequest.connect()
    for _ in range(10_000):  # no turn of the loop in between
        bequest.opened(port, held)
    await asyncio.sleep(0.05)
    bequest.connect()
    await asyncio.sleep(0.05)
    assert heir.inherit().keys() == {port}
    held.close()
