"""A browser's packets become sound and keys on the session's clock; strangers harm nobody."""

import asyncio
from unittest.mock import Mock

import numpy as np
import pytest
from aioice.candidate import Candidate as HostCandidate
from aioice.ice import Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtp.packet import TelephoneEvent, serialise_event
from ingest.rtp.wire import FrameEncoder
from ingest.sound.playout import KeyTick
from ingest.sound.types import Digit, Frame
from ingest.webrtc.offer import parse_offer
from ingest.webrtc.peer import MAX_WAITING, GuardedStun, Peer
from ingest.webrtc.receiver import BrowserReceiver, wire_of_offer
from ingest.webrtc.transport import BrowserTransport
from tests.unit.ingest.test_edge_session import Call
from tests.unit.ingest.test_whip import CHROMIUM

OFFER = parse_offer(CHROMIUM.encode())


def tone(rate_hz: int, seconds: float = 1.0) -> bytes:
    wave = 8_000 * np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz)
    return np.asarray(wave, ">i2").tobytes()


def frames(sound: bytes, rate_hz: int) -> list[bytes]:
    size = rate_hz // 50 * 2
    return [sound[n : n + size] for n in range(0, len(sound), size)]


def receiver() -> BrowserReceiver:
    return BrowserReceiver(OFFER, lambda us: us // 1000)


BROWSER, STRANGER = ("192.0.2.1", 5), ("192.0.2.1", 6)


def stun_socket() -> GuardedStun:
    """A socket that knows one address of its browser."""
    connection = Connection(ice_controlling=False)
    connection._remote_candidates.append(HostCandidate("f", 1, "udp", 1, *BROWSER, "host"))
    socket = GuardedStun(connection)
    socket.transport = Mock()
    socket.local_candidate = HostCandidate("f", 1, "udp", 1, "127.0.0.1", 9, "host")
    return socket


@given(st.lists(st.binary(max_size=200), max_size=20))
@settings(max_examples=40, deadline=None)
def test_nothing_of_a_stranger_reaches_the_connection(datagrams: list[bytes]) -> None:
    async def work() -> int:
        socket = stun_socket()
        for datagram in [*datagrams, b""]:
            for head in (b"", b"\x00\x01\x00\x08\x21\x12\xa4\x42", b"\x16\xfe\xfd", b"\x80"):
                socket.datagram_received(head + datagram, STRANGER)
        return socket.receiver._queue.qsize()

    assert asyncio.run(work()) == 0


def test_what_a_browser_sends_waits_within_limits() -> None:
    async def work() -> int:
        socket = stun_socket()
        socket.datagram_received(b"", BROWSER)  # would close the connection
        assert socket.receiver._queue.empty()
        for _ in range(2 * MAX_WAITING):
            socket.datagram_received(b"\x80", BROWSER)
        return socket.receiver._queue.qsize()

    assert asyncio.run(work()) == MAX_WAITING


def test_order_loss_and_clock_past_the_wrap_of_32_bits() -> None:
    encoder, under_test = FrameEncoder(wire_of_offer(OFFER)), receiver()
    packets = [encoder.encode(frame) for frame in frames(tone(16_000), 16_000)]
    first = 2**32 - 10 * 960
    out: list[Frame] = []
    for n, packet in enumerate(packets):
        if n == 20:
            continue  # lost
        items = under_test.receive(111, 65_530 + n & 0xFFFF, first + 960 * n & 2**32 - 1, 7,
                                   packet, n * 20_000)  # fmt: skip
        out += [item for item in items if isinstance(item, Frame)]
    out += [item for item in under_test.poll(2_000_000) if isinstance(item, Frame)]
    assert len(out) == 49 and {frame.codec for frame in out} == {"l16"}
    steps = np.diff([frame.ts for frame in out])
    assert list(steps[:19]) == [320] * 19 and steps[19] == 640 and set(steps[20:]) == {320}
    assert [frame.lost for frame in out if frame.lost] == [1]


def test_keys_at_opus_clock() -> None:
    """Also on an SSRC and a clock of their own, which leave the sound's clock alone."""
    encoder, under_test = FrameEncoder(wire_of_offer(OFFER)), receiver()
    digits, stamps = "", []
    for n in range(40):
        items = list(under_test.receive(111, n, 960 * n, 7, encoder.encode(bytes(640)), n * 20_000))
        if n % 10 > 4:
            event = TelephoneEvent(n // 10, n % 10 > 7, 10, 960 * (n % 10 - 4))
            items += under_test.receive(110, n, 5_000_000 * (n // 10), 8, serialise_event(event),
                                        n * 20_000)  # fmt: skip
        digits += "".join(item.digit for item in items if isinstance(item, Digit))
        stamps += [item.ts for item in items if isinstance(item, Frame)]
    assert digits == "0123"
    assert set(np.diff(stamps)) == {320}


def test_what_is_neither_sound_nor_key_is_counted() -> None:
    under_test = receiver()
    assert not under_test.receive(96, 0, 0, 7, b"x", 0)
    assert not under_test.receive(111, 0, 0, 7, b"", 0)
    assert not under_test.receive(110, 0, 0, 7, b"\x01", 0)
    stats = under_test.rtp.stats
    assert stats.payload_type == 1 and stats.malformed >= 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from([110, 111, 0, 127]), st.integers(0, 2**16 - 1),
            st.integers(0, 2**32 - 1), st.integers(1, 40), st.binary(max_size=40),
        ),
        max_size=60,
    )
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_no_packet_harms(packets: list[tuple[int, int, int, int, bytes]]) -> None:
    under_test = receiver()
    for n, (kind, seq, timestamp, ssrc, payload) in enumerate(packets):
        under_test.receive(kind, seq, timestamp, ssrc, payload, n * 20_000)
    under_test.flush()


async def test_a_key_for_a_browser_is_lost_and_that_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call, peer = Call(), Peer()
    transport = BrowserTransport(call.session, OFFER, peer)
    for digit in "12":
        assert transport.send_key(KeyTick(digit, 0, end=False), 0, 0) == 0, "no packet"
    assert capsys.readouterr().out.count("a browser takes no keys") == 1
    await peer.close()
