"""WHIP without a socket: offers, candidates, fragments, and what a session answers."""

from http import HTTPStatus

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from ingest.webrtc.candidate import MAX_CANDIDATES, Candidate, parse_candidate
from ingest.webrtc.offer import MAX_SDP_BYTES, Offer, parse_offer
from ingest.webrtc.refusal import WhipRefused
from ingest.webrtc.whip import FRAGMENT_TYPE, MAX_PATCHES, Generation, begun, patch

PRINT = "sha-256 " + ":".join(f"{n:02X}" for n in range(32))

CHROMIUM = "\r\n".join(
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS stream",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=candidate:1 1 udp 2122260223 192.0.2.7 56143 typ host generation 0 network-id 1",
        "a=candidate:2 1 udp 2122260223 f0f0.local 56143 typ host generation 0",
        "a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0",
        "a=ice-ufrag:Vq5A",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=ice-options:trickle",
        f"a=fingerprint:{PRINT}",
        "a=setup:actpass",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=sendrecv",
        "a=msid:stream track",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:13 CN/8000",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:126 telephone-event/8000",
        "a=ssrc:3184534672 cname:x",
        "",
    ]
)


def refused(body: str) -> HTTPStatus:
    with pytest.raises(WhipRefused) as caught:
        parse_offer(body.encode())
    return caught.value.status


def test_chromiums_offer() -> None:
    offer = parse_offer(CHROMIUM.encode())
    assert offer == Offer(
        "Vq5A", "abcdefghijklmnopqrstuvwx", PRINT, "actpass", "0", 111, 110, True, True,
        (Candidate("1", 2122260223, "192.0.2.7", 56143, "host"),),
    )  # fmt: skip
    (media,) = SessionDescription.parse(offer.sdp).media
    assert [(c.name, c.payloadType) for c in media.rtp.codecs] == [
        ("opus", 111), ("telephone-event", 110),
    ]  # fmt: skip
    assert media.ice is not None and media.ice.usernameFragment == "Vq5A" and media.dtls is not None
    assert media.direction == "sendrecv" and not media.ice_candidates
    one_way = parse_offer(CHROMIUM.replace("a=sendrecv", "a=sendonly").encode())
    assert not one_way.talk_back and "a=sendonly" in one_way.sdp


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("v=0", "v=1", 400),
        ("s=-", "s", 400),
        ("s=-", "s=" + "x" * 2_000, 400),
        ("s=-", "s=\x00", 400),
        ("a=ice-ufrag:Vq5A", "a=ice-ufrag:Vq5A\r\na=ice-ufrag:Vq5B", 400),
        ("1 1 udp 2122260223 192.0.2.7", "1 1 udp x 192.0.2.7", 400),
        ("m=audio 9 UDP", "m=video 9 UDP", 422),
        ("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP", 422),
        ("m=audio", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nm=audio", 422),
        ("opus/48000/2", "speex/48000", 422),
        ("SAVPF 111", "SAVPF 112", 422),
        ("a=sendrecv", "a=recvonly", 422),
        ("a=sendrecv", "a=inactive", 422),
        ("a=rtcp-mux\r\n", "", 422),
        ("a=setup:actpass", "a=setup:passive", 422),
        ("a=ice-ufrag:Vq5A\r\n", "", 422),
        ("a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=ice-pwd:short", 422),
        ("a=mid:0", "a=mid:a b", 422),
        ("sha-256", "sha-1", 422),
        ("sha-256", "sha-512", 422),
    ],
)
def test_what_is_no_offer_for_us(old: str, new: str, status: int) -> None:
    assert old in CHROMIUM
    assert refused(CHROMIUM.replace(old, new, 1)) == status


def test_limits_of_an_offer() -> None:
    assert refused(CHROMIUM + "a=x\r\n" * 500) == 400
    assert refused(CHROMIUM + "a=x\r\n" * (MAX_SDP_BYTES // 5)) == 413
    with pytest.raises(WhipRefused):
        parse_offer(b"\xff\xfe")
    many = "".join(
        f"a=candidate:1 1 udp 1 192.0.2.{n} 1 typ host\r\n" for n in range(1, 2 * MAX_CANDIDATES)
    )
    assert len(parse_offer((CHROMIUM + many).encode()).candidates) == MAX_CANDIDATES


@given(st.binary(max_size=600))
def test_any_bytes(body: bytes) -> None:
    with pytest.raises(WhipRefused):
        parse_offer(body)


@given(st.data())
def test_a_damaged_offer_is_an_offer_or_refused(data: st.DataObject) -> None:
    """And whatever passes is worded so that the library reads the same."""
    text = list(CHROMIUM)
    for _ in range(data.draw(st.integers(1, 6))):
        where = data.draw(st.integers(0, len(text) - 1))
        text[where] = data.draw(st.sampled_from(["", "\n", " ", ":", "=", "0", "é", "a=mid:1\n"]))
    try:
        offer = parse_offer("".join(text).encode())
    except WhipRefused as error:
        assert 400 <= error.status < 500
        return
    (media,) = SessionDescription.parse(offer.sdp).media
    assert (
        media.ice is not None
        and media.ice.usernameFragment == offer.ufrag
        and media.rtp.muxId == offer.mid
    )
    assert media.rtp.codecs[0].payloadType == offer.opus_type


@pytest.mark.parametrize(
    "value",
    [
        "1 2 udp 1 192.0.2.1 5 typ host",
        "1 1 tcp 1 192.0.2.1 5 typ host tcptype passive",
        "1 1 udp 1 some.local 5 typ host",
        "1 1 udp 1 224.0.0.251 5353 typ host",
        "1 1 udp 1 0.0.0.0 5 typ host",
        "1 1 udp 1 255.255.255.255 5 typ host",
        "1 1 udp 1 192.0.2.1 0 typ host",
        "1 1 udp 1 192.0.2.1 5 typ new",
    ],
)
def test_candidates_of_no_use_are_passed_over(value: str) -> None:
    assert parse_candidate(value) is None


@given(st.text(max_size=80))
def test_any_candidate(value: str) -> None:
    try:
        found = parse_candidate(value)
    except WhipRefused as error:
        assert error.status == 400
    else:
        assert found is None or 0 < found.port < 65_536


BEGUN = begun(parse_offer(CHROMIUM.encode()), "tag")


def fragment(*lines: str) -> bytes:
    head = ("a=ice-ufrag:Vq5A", "a=ice-pwd:abcdefghijklmnopqrstuvwx", "m=audio 9 x 0", "a=mid:0")
    return "\r\n".join([*head, *lines, ""]).encode()


def patched(state: Generation, body: bytes, tag: str | None = '"tag"') -> Generation | HTTPStatus:
    try:
        return patch(state, tag, FRAGMENT_TYPE, body)[0]
    except WhipRefused as error:
        return error.status


def test_trickled_candidates_are_added_once() -> None:
    body = fragment(
        "a=candidate:1 1 udp 1 192.0.2.7 56143 typ host",  # as in the offer
        "a=candidate:2 1 udp 1 192.0.2.8 7 typ srflx raddr 10.0.0.1 rport 7",
        "a=candidate:2 1 udp 1 192.0.2.8 7 typ host",
        "a=end-of-candidates",
    )
    state, fresh = patch(BEGUN, '"x", "tag"', FRAGMENT_TYPE, body)
    assert [(c.host, c.port, c.type) for c in fresh] == [("192.0.2.8", 7, "srflx")]
    state, fresh = patch(state, '"tag"', FRAGMENT_TYPE, body)
    assert not fresh and state.patches == 2


def test_patches_that_are_refused() -> None:
    assert patched(BEGUN, fragment(), None) == 428
    assert patched(BEGUN, fragment(), '"other"') == 412
    assert patched(BEGUN, fragment(), "*") == 412
    assert patched(BEGUN, fragment(), "tag") == 412
    assert patched(BEGUN, b"a=ice-ufrag:new1\r\na=ice-pwd:abcdefghijklmnopqrstuvwx", "*") == 422
    assert patched(BEGUN, b"v=0\r\n") == 400
    assert patched(BEGUN, b"a=candidate:1 1 udp\r\n") == 400
    assert patched(BEGUN, b"a=x\r\n" * 5_000) == 413
    with pytest.raises(WhipRefused) as caught:
        patch(BEGUN, '"tag"', "application/sdp", fragment())
    assert caught.value.status == 415


def test_a_session_takes_so_many_candidates_and_no_more() -> None:
    state = BEGUN
    for n in range(MAX_PATCHES):
        after = patched(state, fragment(f"a=candidate:1 1 udp 1 192.0.2.{n + 20} 7 typ host"))
        assert isinstance(after, Generation)
        state = after
    assert len(state.known) == MAX_CANDIDATES
    assert patched(state, fragment()) == 429


@given(st.binary(max_size=300), st.one_of(st.none(), st.text(max_size=20)))
def test_any_patch(body: bytes, tag: str | None) -> None:
    after = patched(BEGUN, body, tag)
    assert isinstance(after, Generation) or 400 <= after < 500
