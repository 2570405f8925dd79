"""A call from a browser: WHIP over the edge's control port, sound and keys over WebRTC."""

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from aiortc import RTCSessionDescription

from ingest.webrtc.calls import MAX_BROWSERS
from ingest.webrtc.whip import FRAGMENT_TYPE
from ringlog.audio.g711 import Int16
from ringlog.settings import Settings
from ringlog.site_key import edge_control_key
from schemas.events import CallEvent
from tests.integration.ingest.browser_end import RATE_HZ, BrowserEnd
from tests.integration.ingest.edge_world import World

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
async def world(stack: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with World(stack, tmp_path) as world:
        yield world


def tone(hz: float, seconds: float, rate_hz: int = RATE_HZ) -> Int16:
    angle = 2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz
    return np.asarray(8_000 * np.sin(angle), np.int16)


def loudest_hz(samples: Int16, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate_hz / len(samples))


def flood(port: int) -> None:
    """Datagrams of a stranger, some of which begin like STUN, DTLS and SRTP."""
    heads = (b"\x00\x01\x00\x08\x21\x12\xa4\x42", b"\x16\xfe\xfd", b"\x80\x6f", b"\xff", b"")
    chance = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for n in range(2_000):
            tail = chance.randbytes(chance.randrange(300))
            stranger.sendto(heads[n % len(heads)] + tail, ("127.0.0.1", port))


def browser(world: World, microphone: Int16) -> BrowserEnd:
    key = {"Authorization": f"Bearer {edge_control_key(world.config)}"}
    return BrowserEnd(world.config.edge_control_url, key, microphone)


def ended(world: World, call: str) -> CallEvent:
    (event,) = [e for e in world.log.call(call) if e.kind == "ended"]
    return event


async def test_a_call_from_a_browser(world: World) -> None:
    """Its sound is logged as L16, the robot is heard, keys come, DELETE ends it."""
    log, sha = world.log, world.prompt(1_000)
    quiet = np.zeros(RATE_HZ, np.int16)
    end = browser(world, np.concatenate([quiet, tone(700, 60)]))
    assert await end.call("sales") == 201
    call = end.call_id
    assert "a=sendrecv" in end.answer
    (candidate,) = [line for line in end.answer.splitlines() if "a=candidate" in line]
    assert "127.0.0.1" in candidate
    assert int(candidate.split()[5]) in world.config.browser_ports
    await end.connected()
    flood(int(candidate.split()[5]))
    await log.until(lambda: "answered" in log.kinds(call), "answered")
    first = log.call(call)[0]
    assert (first.direction, first.pool, first.playbook, first.robot_id, first.asr_profile) == (
        "foreign", "sales", "loan", "r1", "demo",
    )  # fmt: skip

    # What it says is on the log, on the clock, with nothing lost.
    chunks = await log.until(
        lambda: (c := log.chunks(call, "customer")) and len(c) > 40 and c, "sound"
    )
    assert {(c.codec, c.rate_hz) for c in chunks} == {("l16", 16_000)}
    sound = np.frombuffer(b"".join(c.payload for c in chunks), ">i2").astype(np.int16)
    assert loudest_hz(sound[-16_000:], 16_000) == pytest.approx(700, abs=2)
    # The library's encoder makes two channels of one, 3 dB less each.
    assert np.abs(sound[-16_000:]).max() == pytest.approx(8_000 / 2**0.5, rel=0.1)
    assert sum(c.lost_packets for c in chunks) == 0
    assert np.median(np.diff([c.rtp_ts for c in chunks])) == 1_600

    # What the robot says is heard, whole.
    await log.barrier(call, 5)
    await log.direct(call, "say", 5, prompt_sha256=sha, prompt_id="hello", barge_in="never")
    await log.until(lambda: "playout_ended" in log.kinds(call), "prompt played")
    heard = end.sound()
    loud = np.flatnonzero(np.abs(heard) > 1_000)
    assert len(loud)
    length_s = (loud[-1] - loud[0]) / RATE_HZ
    assert length_s == pytest.approx(1.0, abs=0.15)
    assert loudest_hz(heard[loud[0] : loud[-1]], RATE_HZ) == pytest.approx(300, abs=3)

    # Its keys come as telephone events at Opus' clock (RFC 4733).
    assert "a=rtpmap:110 telephone-event/48000" in end.answer
    for event in (4, 2, 11):
        await end.press(event)
        await asyncio.sleep(0.3)

    def keys() -> str:
        return "".join(e.digits or "" for e in log.call(call) if e.kind == "dtmf")

    await log.until(lambda: len(keys()) == 3, "three keys")
    assert keys() == "42#"

    status, _, _ = await end.ask("DELETE", end.url + end.location)
    assert status == 200
    await log.until(lambda: "ended" in log.kinds(call), "ended")
    assert (ended(world, call).disposition, ended(world, call).cause_q850) == ("completed", 16)
    status, _, _ = await end.ask("DELETE", end.url + end.location)
    assert status == 404
    await end.close()


async def test_what_whip_refuses_and_takes(world: World) -> None:
    log, end = world.log, browser(world, tone(500, 60))
    absent, status = browser(world, tone(500, 1)), 0
    status, headers, _ = await end.ask("POST", f"{end.url}/whip/sales", await absent.offer())
    absent.location = headers["Location"]
    assert status == 201
    sdp = await end.offer(talk_back=False)
    whip = f"{end.url}/whip"

    async def post(body: str, path: str = "/sales", **more: str) -> int:
        return (await end.ask("POST", whip + path, body, **more))[0]

    assert await post(sdp, kind="text/plain") == 415
    assert await post("hello") == 400
    assert await post(sdp + "a=x:" + "y" * 40_000) == 413
    assert await post(sdp.replace("opus", "speex")) == 422
    assert await post(sdp, "/nobody") == 404
    assert await post(sdp, "/sales?playbook=other") == 422
    assert await post(sdp, "/sales?asr_profile=none") == 422
    assert await post(sdp, Authorization="Bearer wrong") == 401
    assert await post(sdp, Origin="https://example.com") == 403

    # Without candidates in the offer they come by PATCH.
    lines = sdp.split("\r\n")
    late = [line for line in lines if line.startswith("a=candidate")]
    assert late
    status, headers, answer = await end.ask(
        "POST", whip + "/sales", "\r\n".join(line for line in lines if line not in late)
    )
    assert status == 201 and headers["Content-Type"].startswith("application/sdp")
    assert "a=recvonly" in answer
    end.location, etag = headers["Location"], headers["ETag"]

    async def patch(body: str, kind: str = FRAGMENT_TYPE, **more: str) -> int:
        return (await end.ask("PATCH", end.url + end.location, body, kind, **more))[0]

    fragment = "\r\n".join(["m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *late]) + "\r\n"
    assert await patch(fragment) == 428
    assert await patch(fragment, **{"If-Match": '"other"'}) == 412
    assert await patch(fragment, "text/plain", **{"If-Match": etag}) == 415
    assert await patch("x", **{"If-Match": etag}) == 400
    restart = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
    assert await patch(restart, **{"If-Match": "*"}) == 422
    assert await patch(fragment, **{"If-Match": etag}) == 204
    await end.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await end.connected()
    call = end.call_id
    await log.until(lambda: log.chunks(call, "customer"), "sound without talk-back")

    # One edge serves so many; a place that becomes free is given again.
    places = []
    for _ in range(MAX_BROWSERS - 2):
        status, headers, _ = await end.ask("POST", whip + "/sales", sdp)
        assert status == 201
        places.append(headers["Location"])
    status, headers, _ = await end.ask("POST", whip + "/sales", sdp)
    assert (status, headers["Retry-After"]) == (503, "10")
    assert (await end.ask("DELETE", end.url + places[0]))[0] == 200
    assert (await end.ask("POST", whip + "/sales", sdp))[0] == 201

    await end.close()
    await log.until(lambda: "ended" in log.kinds(call), "the closed tab ends the call")
    assert (ended(world, call).disposition, ended(world, call).cause_q850) == ("abandoned", 16)
    call = absent.call_id
    await log.until(lambda: "ended" in log.kinds(call), "the end of who never connected")
    assert (ended(world, call).disposition, ended(world, call).cause_q850) == ("failed", 41)
    await absent.close()


@pytest.mark.heavy
async def test_a_dead_edges_browser_calls_end(world: World) -> None:
    """The keys for its sound died with it; the successor ends the call."""
    end = browser(world, tone(500, 60))
    assert await end.call("sales") == 201
    await end.connected()
    log, call = world.log, end.call_id
    await log.until(lambda: log.chunks(call, "customer"), "sound")
    await world.edge.end(signal.SIGKILL)
    await world.edge.start()
    await log.until(lambda: "ended" in log.kinds(call), "ended")
    assert (ended(world, call).disposition, ended(world, call).cause_q850) == ("failed", 41)
    await end.close()
