"""The scripted carrier: its parsers, and two of them that call each other."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.sip import scripts, sdp
from demo.sip.call import SipCall
from demo.sip.carrier import SipCarrier
from demo.sip.media import FRAME, RATE_HZ, Int16
from demo.sip.message import MAX_BYTES, SipMessage, SipRefused, address_of, parse, user_of

INVITE = (
    b"INVITE sip:+8613800000001@127.0.0.11:5171;transport=udp SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP 127.0.0.2\r\n"
    b'f: "A, B" <sip:%2B861095588@127.0.0.1>;tag=1\r\nt: <sip:x@y>\r\ni: abc@127.0.0.1\r\n'
    b"CSeq: 7 INVITE\r\nSubject: one\r\n two\r\nl: 3\r\n\r\nv=0"
)


def test_a_message_is_read_in_its_compact_form() -> None:
    message = parse(INVITE)
    assert (message.method, message.status, message.cseq) == ("INVITE", None, (7, "INVITE"))
    assert user_of(message.uri) == "+8613800000001"
    assert user_of(message.get("from")) == "+861095588"
    assert len(message.every("via")) == 2
    assert (message.get("subject"), message.body) == ("one two", b"v=0")
    assert address_of("<sip:a@b;x=1>;tag=2") == "sip:a@b;x=1"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n\r\n", b"INVITE sip:x SIP/3.0\r\n\r\n",
        INVITE.replace(b"CSeq: 7 INVITE\r\n", b""), INVITE + b"x" * MAX_BYTES,
        INVITE.replace(b"Subject: one", b"no colon"),
        b"SIP/2.0 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(SipRefused):
        parse(data)


@given(st.binary(max_size=400), st.integers(0, len(INVITE)), st.integers(0, 40))
def test_any_bytes_are_a_message_or_refused(junk: bytes, at: int, cut: int) -> None:
    for data in (junk, INVITE[:at] + junk + INVITE[at + cut :]):
        try:
            message = parse(data)
        except SipRefused:
            continue
        assert (message.method is None) != (message.status is None)
        assert parse(message.encode()).start == message.start
        sdp.read(message.body)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_description_or_none(junk: bytes) -> None:
    sdp.read(junk)
    sdp.read(sdp.write("127.0.0.1", 4000, ("pcma",), 101) + junk)


def test_a_description_says_what_was_written() -> None:
    read = sdp.read(sdp.write("127.0.0.11", 4000, ("pcma", "pcmu"), 101))
    assert read == sdp.Described("127.0.0.11", 4000, ("pcma", "pcmu"), 101)
    assert sdp.read(b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=video 4000 RTP/AVP 8\r\n") is None
    assert sdp.read(sdp.write("127.0.0.1", 70_000, ("pcma",), None)) is None


@pytest.fixture
async def pair() -> AsyncIterator[tuple[SipCarrier, SipCarrier]]:
    """Two carriers on free ports: the second is called by the first."""
    first, second = SipCarrier("first", "127.0.0.1", 0), SipCarrier("second", "127.0.0.1", 0)
    await first.start()
    await second.start()
    try:
        yield first, second
    finally:
        await first.stop()
        await second.stop()


async def ring_up(
    pair: tuple[SipCarrier, SipCarrier], number: str = "138"
) -> tuple[SipCall, SipCall]:
    caller, called = pair
    ours = await caller.dial((called.host, called.port), number)
    return ours, await called.next_call()


def tone(seconds: float) -> Int16:
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(8_000 * np.sin(2 * np.pi * 500 * t), np.int16)


async def test_they_talk_and_press_keys(pair: tuple[SipCarrier, SipCarrier]) -> None:
    pair[1].default = scripts.answer(rings_s=0.01, say=tone(0.2), after_s=0.05, keys="1#")
    ours, theirs = await ring_up(pair)
    await asyncio.wait_for(ours.answered.wait(), 2)
    playing = ours.media.play(tone(0.1))
    await asyncio.wait_for(playing.over.wait(), 2)
    async with asyncio.timeout(3):
        while len(ours.media.keys) < 2:
            await asyncio.sleep(0.02)
    assert [key.digit for key in ours.media.keys] == ["1", "#"]
    assert ours.media.keys[0].duration_ms == 160
    assert len(ours.media.voiced()) == 10
    heard = ours.media.heard(ours.media.voiced()[0])
    assert np.max(np.abs(heard[: 10 * FRAME] - tone(0.2))) < 400  # G.711's rounding
    assert playing.began_s is not None
    assert abs(theirs.media.voiced()[0] - playing.began_s) < 0.1
    ours.hang_up("Q.850;cause=16")
    await asyncio.wait_for(theirs.ended.wait(), 2)
    assert theirs.ending is not None
    assert (theirs.ending.by, theirs.ending.reason) == ("there", "Q.850;cause=16")


async def test_echo_and_mute(pair: tuple[SipCarrier, SipCarrier]) -> None:
    pair[1].when("echo", scripts.echo())
    pair[1].when("mute", scripts.mute(0.01))
    ours, _ = await ring_up(pair, "echo")
    mute, _ = await ring_up(pair, "mute")
    await asyncio.wait_for(asyncio.gather(ours.answered.wait(), mute.answered.wait()), 2)
    await asyncio.wait_for(ours.media.play(tone(0.1)).over.wait(), 2)
    await asyncio.sleep(0.1)
    assert len(ours.media.voiced()) == 5
    assert mute.media.arrivals == []


async def test_refusals_and_early_media(pair: tuple[SipCarrier, SipCarrier]) -> None:
    pair[1].when("486", scripts.refuse(486, rings_s=0.01, reason="Q.850;cause=17"))
    pair[1].when("183", scripts.announce(tone(0.1), then=480))
    busy, _ = await ring_up(pair, "486")
    await asyncio.wait_for(busy.ended.wait(), 2)
    assert busy.ending is not None
    assert (busy.ending.by, busy.ending.status) == ("refused", 486)
    assert busy.ending.reason == "Q.850;cause=17"
    early, _ = await ring_up(pair, "183")
    await asyncio.wait_for(early.ended.wait(), 2)
    assert early.answered_s is None
    assert early.progress_s is not None
    assert len(early.media.voiced()) == 5


async def test_a_deaf_carrier_hears_the_call_when_it_is_sent_again(
    pair: tuple[SipCarrier, SipCarrier],
) -> None:
    caller, called = pair
    called.deaf = True
    await caller.dial((called.host, called.port), "138")
    await asyncio.sleep(0.1)
    assert called.calls == []
    called.deaf = False
    assert (await called.next_call(2)).number == "138"


async def test_killed_it_is_silent_and_comes_back(pair: tuple[SipCarrier, SipCarrier]) -> None:
    pair[1].default = scripts.answer(rings_s=0.01)
    ours, theirs = await ring_up(pair)
    await asyncio.wait_for(ours.answered.wait(), 2)
    pair[1].kill()
    await asyncio.sleep(0.1)
    assert ours.ending is None
    assert theirs.ending is not None
    assert theirs.ending.by == "killed"
    await pair[1].start()
    assert (await ring_up(pair, "139"))[1].number == "139"


async def test_garbage_disturbs_no_call(pair: tuple[SipCarrier, SipCarrier]) -> None:
    ours, theirs = await ring_up(pair)
    loop = asyncio.get_running_loop()
    sender, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(pair[1].host, pair[1].port)
    )
    for data in (b"", b"\0" * 100, INVITE.replace(b"CSeq: 7 INVITE\r\n", b"")):
        sender.sendto(data)
    await asyncio.wait_for(ours.answered.wait(), 2)
    sender.close()
    assert theirs.ending is None


def test_a_message_without_its_parts_has_none() -> None:
    bare = SipMessage("SIP/2.0 200 OK", ())
    assert (bare.uri, bare.get("via"), bare.cseq, bare.method) == ("", "", (0, ""), None)
