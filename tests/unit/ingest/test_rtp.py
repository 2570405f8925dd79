"""RTP and telephone-event packets: what is taken, what is refused, and that nothing crashes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtp.packet import (
    MAX_PACKET_BYTES,
    RtpError,
    RtpPacket,
    TelephoneEvent,
    header,
    is_rtcp,
    parse,
    parse_event,
    sequence_delta,
    serialise,
    serialise_event,
    timestamp_delta,
)

U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=U16,
    timestamp=U32,
    ssrc=U32,
    payload=st.binary(max_size=400),
    marker=st.booleans(),
    csrcs=st.lists(U32, max_size=15).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(packets, st.one_of(st.none(), U16), st.integers(0, 20), st.integers(0, 255))
def test_round_trip(packet: RtpPacket, profile: int | None, words: int, padding: int) -> None:
    extension = b"" if profile is None else bytes(range(4 * words))
    packet = packet._replace(extension_profile=profile, extension=extension)
    assert parse(serialise(packet, padding)) == packet


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        packet = parse(data)
    except RtpError:
        return
    assert len(packet.payload) + len(packet.extension) + 4 * len(packet.csrcs) <= len(data) - 12


@settings(max_examples=200, deadline=None)
@given(packets, st.integers(0, 200))
def test_truncation_never_reads_past_the_end(packet: RtpPacket, cut: int) -> None:
    data = serialise(packet._replace(extension_profile=1, extension=bytes(8)))[:cut]
    try:
        assert parse(data).ssrc == packet.ssrc
    except RtpError:
        pass


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "shorter"),
        (bytes(11), "shorter"),
        (bytes(12), "version"),
        (b"\x80" + bytes(MAX_PACKET_BYTES), "longer"),
        (b"\x8f" + bytes(11), "contributing"),
        (b"\x90" + bytes(11), "extension header"),
        (b"\x90" + bytes(11) + b"\x00\x00\xff\xff", "extension is"),
        (b"\xa0" + bytes(12), "padding"),
        (b"\xa0" + bytes(11) + b"\x05abc\xff", "padding"),
    ],
)
def test_malformed_packets_say_why(data: bytes, why: str) -> None:
    with pytest.raises(RtpError, match=why):
        parse(data)


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(0, 2**16, 0, 0, b""),
        RtpPacket(0, 0, 2**32, 0, b""),
        RtpPacket(0, 0, 0, -1, b""),
        RtpPacket(0, 0, 0, 0, b"", csrcs=(0,) * 16),
        RtpPacket(0, 0, 0, 0, b"", extension_profile=0, extension=b"abc"),
    ],
)
def test_what_does_not_fit_is_not_sent(packet: RtpPacket) -> None:
    with pytest.raises(RtpError):
        serialise(packet)


def test_plain_header_wraps_its_counters() -> None:
    data = header(8, 65536 + 7, 2**32 + 5, 0xDEADBEEF, True) + b"x"
    assert parse(data) == RtpPacket(8, 7, 5, 0xDEADBEEF, b"x", marker=True)


def test_rtcp_is_told_apart() -> None:
    assert is_rtcp(b"\x80\xc8" + bytes(26))
    assert not is_rtcp(header(0, 1, 1, 1, True))
    assert not is_rtcp(b"\x80")


def test_serial_arithmetic_over_the_wrap() -> None:
    assert sequence_delta(1, 65535) == 2
    assert sequence_delta(65535, 1) == -2
    assert timestamp_delta(10, 2**32 - 10) == 20
    assert timestamp_delta(2**32 - 10, 10) == -20


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 255), st.booleans(), st.integers(0, 63), U16)
def test_event_round_trip(event: int, end: bool, volume: int, duration: int) -> None:
    told = TelephoneEvent(event, end, volume, duration)
    assert parse_event(serialise_event(told)) == told


def test_short_event_is_refused() -> None:
    with pytest.raises(RtpError):
        parse_event(b"\x01\x80\x00")
