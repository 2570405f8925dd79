"""The harness itself: a real Asterisk under the printed configuration, and far ends that hear."""

import asyncio
import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from demo.asterisk.instance import Asterisk
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from demo.sip.media import RATE_HZ, Int16
from tests.peers.conftest import made
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.needs("asterisk")


def ari(asterisk: Asterisk, method: str, path: str, **query: str) -> Any:
    """An ARI request, synchronously; raises HTTPError."""
    url = f"{asterisk.ari_url}{path}?{urllib.parse.urlencode(query)}"
    key = base64.b64encode(f"{asterisk.ari_user}:{asterisk.password}".encode()).decode()
    asked = urllib.request.Request(url, method=method, headers={"Authorization": f"Basic {key}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


async def place(asterisk: Asterisk, trunk: str, number: str, extension: str = "echo") -> Any:
    """A call over a trunk, then to an extension of the harness's dialplan."""
    return await asyncio.to_thread(
        ari, asterisk, "POST", "/channels", endpoint=f"PJSIP/{number}@{trunk}",
        extension=extension, context="peers-test", priority="1", formats="alaw",
    )  # fmt: skip


def tone(hz: float, seconds: float) -> Int16:
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(8_000 * np.sin(2 * np.pi * hz * t), np.int16)


def strongest_hz(sound: Int16) -> float:
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64)))
    return float(np.argmax(spectrum) * RATE_HZ / len(sound))


async def until(condition: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


@pytest.mark.needs("asterisk")
def test_the_printed_configuration_starts_without_an_error(asterisk_media_url: str) -> None:
    """In an instance of its own: other tests break things on purpose."""
    fresh = made(asterisk_media_url)
    try:
        fresh.start()
        assert ari(fresh, "GET", "/asterisk/info")["system"]["version"].startswith("2")
        assert fresh.errors() == []
        assert "carrier-b/sip:127.0.0.12" in fresh.command("pjsip show aors")
    finally:
        fresh.close()


def test_a_wrong_password_is_refused(asterisk: Asterisk) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{asterisk.ari_url}/asterisk/info?api_key=ringlog:guess")
    assert caught.value.code == 401


async def test_what_the_far_end_says_comes_back_from_asterisk(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    carriers["carrier-a"].default = scripts.answer(say=tone(700, 1.0))
    await place(asterisk, "carrier-a", "13800000001")
    call = await carriers["carrier-a"].next_call()
    await asyncio.wait_for(call.answered.wait(), 5)
    await asyncio.sleep(1.8)
    assert (call.number, carriers["carrier-b"].calls) == ("13800000001", [])
    voiced = call.media.voiced()
    assert 0.9 < voiced[-1] - voiced[0] < 1.2
    heard = call.media.heard(voiced[0])[: RATE_HZ // 2]
    assert abs(strongest_hz(heard) - 700) < 10
    call.hang_up("Q.850;cause=16")
    await until(lambda: ari(asterisk, "GET", "/channels") == [])


async def test_keys_go_both_ways(asterisk: Asterisk, carriers: dict[str, SipCarrier]) -> None:
    carriers["carrier-a"].default = scripts.answer(keys="15*")
    await place(asterisk, "carrier-a", "13800000002")
    call = await carriers["carrier-a"].next_call()
    await until(lambda: len(call.media.keys) == 3)  # Echo() sends them back; # would end it
    assert [k.digit for k in call.media.keys] == list("15*")
    call.hang_up()
    carriers["carrier-a"].default = scripts.answer()
    await place(asterisk, "carrier-a", "13800000002", "keys")
    call = await carriers["carrier-a"].next_call()
    await asyncio.wait_for(call.ended.wait(), 5)
    assert [k.digit for k in call.media.keys] == list("9#A")
    assert call.ending is not None
    assert call.ending.by == "there"


@pytest.mark.parametrize("status", [486, 480, 404, 503, 603])
async def test_a_far_end_refuses(
    asterisk: Asterisk, carriers: dict[str, SipCarrier], status: int
) -> None:
    carriers["carrier-b"].when("*3", scripts.refuse(status))
    await place(asterisk, "carrier-b", "13800000003")
    call = await carriers["carrier-b"].next_call()
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.ending is not None
    assert (call.ending.by, call.ending.status) == ("here", status)
    await until(lambda: ari(asterisk, "GET", "/channels") == [])


async def test_a_call_that_is_not_answered_is_cancelled(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    carriers["carrier-a"].default = scripts.ring_for_ever()
    channel = await place(asterisk, "carrier-a", "13800000004")
    call = await carriers["carrier-a"].next_call()
    await asyncio.sleep(0.3)
    ari(asterisk, "DELETE", f"/channels/{channel['id']}")
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.ending is not None
    assert call.ending.by == "cancelled"


async def test_early_media_is_heard_before_the_answer(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    carriers["carrier-a"].default = scripts.announce(tone(440, 0.5), then=480)
    await place(asterisk, "carrier-a", "13800000005")
    call = await carriers["carrier-a"].next_call()
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.answered_s is None
    assert call.ending is not None
    assert call.ending.status == 480


async def test_the_far_end_places_a_call(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    """It reaches the application, which nobody runs here: Asterisk ends it in the dialplan."""
    switch = (asterisk.host, asterisk.sip_port)
    call = await carriers["carrier-b"].dial(switch, "95588", "13900000001")
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.ending is not None
    assert call.ending.by == "refused"
    await until(lambda: "Stasis app 'ringlog-edge' doesn't exist" in asterisk.log_tail(200))


async def test_a_killed_carrier_says_no_word_and_comes_back(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    carrier = carriers["carrier-c"]
    await place(asterisk, "carrier-c", "13800000006")
    call = await carrier.next_call()
    await asyncio.wait_for(call.answered.wait(), 5)
    carrier.kill()
    await asyncio.sleep(0.3)
    left = ari(asterisk, "GET", "/channels")
    assert len(left) == 1, "Asterisk knows nothing of it"
    ari(asterisk, "DELETE", f"/channels/{left[0]['id']}")
    await carrier.start()
    await place(asterisk, "carrier-c", "13800000007")
    assert (await carrier.next_call()).number == "13800000007"


async def test_fifty_calls_of_two_carriers_at_once(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    pair = [carriers["carrier-a"], carriers["carrier-b"]]
    for n in range(50):
        await place(asterisk, pair[n % 2].name, f"138{n:08d}")
    await until(lambda: sum(c.answered_s is not None for p in pair for c in p.live) == 50, 20)
    await asyncio.sleep(1)
    assert all(len(call.media.arrivals) > 20 for p in pair for call in p.live)
    for carrier in pair:
        for call in carrier.live:
            call.hang_up()
    await until(lambda: ari(asterisk, "GET", "/channels") == [], 10)


@pytest.mark.needs("sipp")
async def test_sipp_answers(asterisk: Asterisk, sipp: Sipp) -> None:
    channel = await place(asterisk, "sipp", "13800000008")
    await until(lambda: ari(asterisk, "GET", f"/channels/{channel['id']}")["state"] == "Up")
    ari(asterisk, "DELETE", f"/channels/{channel['id']}")


def test_it_is_killed_and_started_again(asterisk: Asterisk) -> None:
    asterisk.kill()
    with pytest.raises(OSError, match=r"refused|reset|closed"):
        ari(asterisk, "GET", "/asterisk/info")
    asterisk.start()
    assert ari(asterisk, "GET", "/channels") == []


def test_it_ends_with_who_started_it(tmp_path: Path) -> None:
    """Several instances stand side by side; one whose owner is killed does not outlive it."""
    program = tmp_path / "owner.py"
    program.write_text(
        "import time\nfrom demo.asterisk.instance import Asterisk\n"
        "a = Asterisk([]).start()\nprint(a.pid, flush=True)\ntime.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": ".", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    process = psutil.Process(pid)
    owner.kill()
    owner.wait()
    gone, alive = psutil.wait_procs([process], timeout=5)
    assert (len(gone), alive) == (1, [])
