"""The far end of the edge benchmark, as a process: RTP at 50 packets a second and leg."""

import os
import socket
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

PACKETS_PER_S = 50
FRAME = 160
GROUPS = 10
"""Legs are sent in groups 2 ms apart, as they would arrive."""

_HEADER = struct.Struct("!BBHII")


@dataclass(frozen=True)
class Sent:
    """Packets sent, and how long that took."""

    packets: int
    wall_s: float


def send(ports: list[int], seconds: float) -> Sent:
    """Sends `seconds` of sound to every port, on time, or as fast as it can when late."""
    payload = bytes(n * 7 % 256 for n in range(FRAME))
    groups = [ports[n::GROUPS] for n in range(GROUPS)]
    rounds = int(seconds * PACKETS_PER_S)
    slot_s = 1 / PACKETS_PER_S / GROUPS
    packets = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("127.0.0.1", 0))
        began_s = time.monotonic()
        for n in range(rounds):
            for g, group in enumerate(groups):
                early_s = began_s + (n * GROUPS + g) * slot_s - time.monotonic()
                if early_s > 0:
                    time.sleep(early_s)
                for port in group:
                    # The leg's source is named by its port.
                    header = _HEADER.pack(0x80, 0, n, n * FRAME, port)
                    out.sendto(header + payload, ("127.0.0.1", port))
                packets += len(group)
        return Sent(packets, time.monotonic() - began_s)


def main(seconds: float, pipe: Connection, core: int | None = None) -> None:
    """Entry of the process: ports in, "begin" in, `Sent` out."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    ports = pipe.recv()
    pipe.recv()
    pipe.send(send(ports, seconds))
