"""Sockets outlive the process that opened them, in another one that holds them too."""

import asyncio
import socket
from pathlib import Path

from ingest.failover.handover import HandoverReceiver, HandoverSender


def udp() -> tuple[int, socket.socket]:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made.getsockname()[1], made


def send(port: int, data: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, ("127.0.0.1", port))


async def test_what_comes_while_nobody_serves_waits(tmp_path: Path) -> None:
    path = tmp_path / ("deep" * 30) / "edge" / "handover"  # longer than a Unix socket's path may be
    sender = HandoverSender(path)
    (one, first), (two, second) = udp(), udp()
    sender.opened(one, first)
    sender.connect()  # nobody is there
    receiver = HandoverReceiver(path)
    sender.connect()
    sender.opened(two, second)
    await asyncio.sleep(0.05)
    sender.close()
    first.close()
    second.close()
    send(one, b"said meanwhile")
    handed_over = receiver.take_over()
    assert handed_over.keys() == {one, two}
    assert handed_over[one].recv(100) == b"said meanwhile"
    assert not handed_over[one].get_inheritable() and not path.exists()
    for held in handed_over.values():
        held.close()


async def test_a_call_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    receiver, sender = (
        HandoverReceiver(tmp_path / "handover"),
        HandoverSender(tmp_path / "handover"),
    )
    sender.connect()
    port, held = udp()
    sender.opened(port, held)
    held.close()
    sender.closed(port)
    sender.close()
    assert receiver.take_over() == {}
    again, made = udp()
    made.close()
    assert again


async def test_a_spare_that_came_anew_is_told_all(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    sender = HandoverSender(path)
    port, held = udp()
    sender.opened(port, held)
    dead = HandoverReceiver(path)
    sender.connect()
    await asyncio.sleep(0.05)
    dead.close()
    receiver = HandoverReceiver(path)
    sender.connect()
    await asyncio.sleep(0.05)
    assert receiver.take_over().keys() == {port}
    held.close()


async def test_another_edge_that_serves_replaces_what_the_last_had(tmp_path: Path) -> None:
    receiver = HandoverReceiver(tmp_path / "handover")
    first, second = HandoverSender(tmp_path / "handover"), HandoverSender(tmp_path / "handover")
    one, two = udp(), udp()
    first.opened(*one)
    second.opened(*two)
    first.connect()
    await asyncio.sleep(0.05)
    second.connect()
    await asyncio.sleep(0.05)
    assert receiver.take_over().keys() == {two[0]}
    one[1].close()
    two[1].close()


async def test_a_spare_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    receiver, sender = (
        HandoverReceiver(tmp_path / "handover"),
        HandoverSender(tmp_path / "handover"),
    )
    port, held = udp()
    sender.connect()
    for _ in range(10_000):  # no turn of the loop in between
        sender.opened(port, held)
    await asyncio.sleep(0.05)
    sender.connect()
    await asyncio.sleep(0.05)
    assert receiver.take_over().keys() == {port}
    held.close()
