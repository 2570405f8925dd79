"""A call in G.722 or Opus whose edge is replaced: the journal gives back its wire and clocks."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ingest.call.actor import CallActor, Surroundings
from ingest.failover.journal import Journal
from ingest.rtp.packet import RtpPacket, serialise
from ingest.rtp.socket import PortPool
from ingest.rtp.wire import SOUND, FrameEncoder, Wire, wire_of
from ingest.sound.chunker import Logged
from ingest.sound.clock import monotonic_us
from ingest.sound.pacer import Pacer
from ingest.sound.types import Chunk
from ringlog.settings import Settings
from tests.integration.ingest.test_transports import free_udp_ports
from tests.unit.ingest.test_edge_calls import new_call

FAR = ("127.0.0.1", 9)
FIRST_SEQ, FIRST_TS, SSRC = 65_530, 2**32 - 5_000, 77
"""Numbers that run over amid the call."""


class Kept:
    """A media log that keeps the customer's chunks."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def add(self, stamp: object, logged: list[Logged]) -> None:
        self.chunks += [c for c in logged if isinstance(c, Chunk) and c.leg.name == "customer"]


class Far:
    """A telephone that sends 20 ms a packet, each of another loudness."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._encoder, self._n = wire, FrameEncoder(wire), 0

    def packets(self, count: int) -> list[bytes]:
        out = []
        for n in range(self._n, self._n + count):
            ts = FIRST_TS + n * self._wire.clock_hz // 50 & 2**32 - 1
            payload = self._encoder.encode(bytes([n, n]) * SOUND.frame_samples)
            out.append(serialise(RtpPacket(self._wire.payload_type, FIRST_SEQ + n & 0xFFFF, ts,
                                           SSRC, payload)))  # fmt: skip
        self._n += count
        return out


def edge(folder: Path, ports: PortPool, log: Kept) -> Surroundings:
    made = SimpleNamespace(
        config=Settings(home=folder), stream_secret=b"secret", journal=Journal(folder / "calls"),
        ports=ports, media_log=log, pacer=Pacer(monotonic_us()), sessions={},
        rtp_host="127.0.0.1", clean_line=lambda *_: None,
        switchboard=SimpleNamespace(of=lambda _: SimpleNamespace(sends_keys=False)),
    )  # fmt: skip
    return cast(Surroundings, made)


def hear(actor: CallActor, packets: list[bytes]) -> None:
    assert actor.rtp is not None
    for packet in packets:
        actor.rtp.datagram_received(packet, FAR)


@pytest.mark.parametrize(("codec", "payload_type"), [("g722", None), ("opus", 111)])
async def test_the_call_goes_on_as_one_leg(
    tmp_path: Path, codec: str, payload_type: int | None
) -> None:
    (port,) = free_udp_ports(1)
    wire, log = wire_of(codec, payload_type), Kept()
    assert wire is not None
    far = Far(wire)
    before = edge(tmp_path, PortPool([port]), log)
    actor = CallActor(before, new_call(), SOUND)
    await actor.open_media(FAR, wire=wire)
    hear(actor, far.packets(25))
    assert actor.entry is not None
    await before.journal.write(actor.entry)
    actor.leave()
    await asyncio.sleep(0.1)

    after = edge(tmp_path, PortPool([port]), log)
    (entry,) = after.journal.entries()
    assert entry.wire == (codec, wire.payload_type) and entry.port == port
    actor = CallActor(after, new_call(), entry.sound)
    await actor.open_media(entry.remote, entry)
    hear(actor, far.packets(25))
    actor.leave()

    legs = {chunk.leg for chunk in log.chunks}
    assert len(legs) == 1 and next(iter(legs)).rate_hz == 16_000
    for one, two in zip(log.chunks, log.chunks[1:], strict=False):
        assert two.ts == one.ts + len(one.payload) // 2, "no hole, and nothing twice"
    samples = sum(len(chunk.payload) // 2 for chunk in log.chunks)
    assert samples == pytest.approx(50 * SOUND.frame_samples, abs=SOUND.frame_samples)
    assert not any(chunk.lost for chunk in log.chunks)
