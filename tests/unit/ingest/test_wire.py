"""G.722 and Opus over RTP: sound, clocks, holes, keys, and octets that are neither."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtp.opus import opus_samples
from ingest.rtp.packet import RtpPacket, serialise
from ingest.rtp.receiver import Known, Receiver
from ingest.rtp.wire import SOUND, FrameDecoder, FrameEncoder, Wire, wire_of
from ingest.sound.types import Digit, Frame, Leg
from ringlog.audio import g711

FAR = ("10.0.0.1", 4000)
TONES = (440.0, 1800.0, 5000.0)  # the last one no narrow-band codec carries


def made(codec: str) -> Wire:
    wire = wire_of(codec)
    assert wire is not None
    return wire


def speech(seconds: float) -> g711.Int16:
    t = np.arange(int(16_000 * seconds)) / 16_000
    tones = [np.sin(2 * np.pi * hz * t) for hz in TONES]
    return np.asarray(np.sum(tones, axis=0) * 3000, np.int16)


def packets(wire: Wire, samples: g711.Int16) -> list[bytes]:
    encoder = FrameEncoder(wire)
    return [
        encoder.encode(g711.encode_l16(samples[n : n + 320])) for n in range(0, len(samples), 320)
    ]


def received(wire: Wire, payloads: list[bytes | None], first: int = 2**32 - 9600) -> list[Frame]:
    """Through receiver and decoder; None is a packet that is lost."""
    receiver = Receiver(lambda us: us // 1000, FAR, {wire.payload_type: wire.received})
    decoder, ticks, out = FrameDecoder(wire), wire.clock_hz // 50, list[Frame]()
    for n, payload in enumerate(payloads):
        items = list(receiver.poll(n * 20_000))
        if payload is not None:
            packet = RtpPacket(
                wire.payload_type, n & 0xFFFF, first + n * ticks & 2**32 - 1, 7, payload
            )
            items += receiver.receive(serialise(packet), FAR, n * 20_000)
        for item in items:
            assert not isinstance(item, Digit)
            if (frame := decoder.decode(item)) is not None:
                out.append(frame)
    return out


@pytest.mark.parametrize("codec", ["g722", "opus"])
def test_wide_band_sound_comes_through(codec: str) -> None:
    wire, sent = made(codec), speech(2)
    payloads = packets(wire, sent)
    if codec == "g722":
        assert {len(p) for p in payloads} == {160}
    frames = received(wire, list(payloads))
    assert [f.ts - frames[0].ts for f in frames] == [320 * n for n in range(len(frames))]
    assert {(f.codec, len(f.payload), f.leg.rate_hz) for f in frames} == {("l16", 640, 16_000)}
    heard = np.concatenate([g711.decode_l16(f.payload) for f in frames])[8000:24_000]
    spectrum = np.abs(np.fft.rfft(heard.astype(float)))
    for hz in TONES:
        assert spectrum[int(hz) - 3 : int(hz) + 4].max() > 100 * np.median(spectrum), hz


@pytest.mark.parametrize("codec", ["g722", "opus"])
def test_a_lost_packet_is_a_hole_of_its_length(codec: str) -> None:
    wire = made(codec)
    payloads: list[bytes | None] = [*packets(wire, speech(1))]
    payloads[10] = payloads[11] = None
    frames = received(wire, payloads)
    gap = next(n for n, f in enumerate(frames) if f.lost)
    assert (gap, frames[gap].lost) == (10, 2)
    assert frames[gap].ts - frames[gap - 1].ts == 3 * 320 and len(frames) == 48


@pytest.mark.parametrize("codec", ["g722", "opus"])
def test_clocks_of_wire_and_sound(codec: str) -> None:
    wire = made(codec)
    leg = Leg("customer", 7, 48_000, 20, SOUND.rate_hz)
    assert wire.leg_of_sound(wire.leg_on_wire(leg)) == leg
    known = Known(wire.leg_on_wire(leg), wire.to_wire(64_000), 5)
    receiver = Receiver(lambda us: 0, FAR, {wire.payload_type: wire.received}, known=[known])
    payload = packets(wire, speech(0.04))[-1]
    packet = RtpPacket(wire.payload_type, 5, wire.to_wire(64_000), 7, payload)
    (item,) = receiver.receive(serialise(packet), FAR, 0)
    assert isinstance(item, Frame)
    frame = FrameDecoder(wire).decode(item)
    assert frame is not None and frame.leg == leg and frame.ts == 64_000


@pytest.mark.parametrize(
    ("payload", "samples"),
    [(b"", 0), (b"\x00", 480), (b"\x18", 2880), (b"\x61", 960), (b"\x6a", 1920), (b"\x80", 120),
     (b"\xf8", 960), (b"\xfb\x06", 5760), (b"\xfb\x07", 0), (b"\xfb", 0), (b"\xfb\x00", 0)],
)  # fmt: skip
def test_an_opus_packet_tells_its_length(payload: bytes, samples: int) -> None:
    assert opus_samples(payload) == samples


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["g722", "opus"]), st.lists(st.binary(max_size=200), max_size=6))
def test_any_octets_are_sound_or_dropped(codec: str, payloads: list[bytes]) -> None:
    wire = made(codec)
    for frame in received(wire, [*payloads]):
        assert frame.codec == "l16" and 0 < len(frame.payload) <= 4000
