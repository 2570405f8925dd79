"""The softphone page in Chromium: what its microphone plays is recognised, the robot is heard."""

import asyncio
import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sherpa_onnx
from aiohttp import web
from numpy.typing import NDArray

from demo.measure import characters, edit_distance
from ringlog.audio import wav
from ringlog.audio.g711 import Int16
from ringlog.settings import Settings
from schemas.events import CallEvent, MediaChunk
from stack import control, environment
from tests.integration.conftest import free_port_shift
from tests.integration.e2e.conftest import SITE_MODELS, SPEECH
from tests.integration.e2e.outside import events_of, finals_of, spoken, text_of
from tests.peers.browser import Browser, microphone

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("chromium")]

LINES = ["方便你说", "价格太高了", "可以介绍一下吗"]
HEARD_HZ = 16_000
STEP = HEARD_HZ // 50
WINDOW = 100
"""Frames of 20 ms."""

Levels = NDArray[np.float64]

WORDS_OF = """
[...document.querySelectorAll('#transcript .{who} .text')].map((e) => e.textContent).join('')
"""

LISTEN = """
(() => {
  const audio = new AudioContext({ sampleRate: 16000 });
  const source = audio.createMediaStreamSource(document.getElementById("robot").srcObject);
  const tap = audio.createScriptProcessor(4096, 1, 1);
  window.heard = [];
  tap.onaudioprocess = ({ inputBuffer }) => {
    window.heard.push(Int16Array.from(inputBuffer.getChannelData(0), (x) => x * 32767));
  };
  source.connect(tap).connect(audio.destination);
})()
"""
"""Taps the robot's track behind the page's own player."""

HEARD = """
(() => {
  const all = new Uint8Array(window.heard.reduce((n, part) => n + part.byteLength, 0));
  let at = 0;
  for (const part of window.heard) {
    all.set(new Uint8Array(part.buffer), at);
    at += part.byteLength;
  }
  let text = "";
  for (let n = 0; n < all.length; n += 8192)
    text += String.fromCharCode(...all.subarray(n, n + 8192));
  return btoa(text);
})()
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A complete stack without a configured key."""
    home = tmp_path_factory.mktemp("softphone")
    if SPEECH.is_dir():
        (home / "models").mkdir()
        (home / "models" / "fsmn").symlink_to(SPEECH / "fsmn-ctc-zh")
        (home / "asr-models.yaml").write_text(SITE_MODELS, encoding="utf-8")
    config = Settings(home=home, port_shift=free_port_shift())
    control.up(config, detach=True, tied=True)
    try:
        yield config
    finally:
        control.down(config)


def envelope(sound: Int16) -> Levels:
    """Level of each 20 ms, RMS."""
    frames = sound[: len(sound) // STEP * STEP].reshape(-1, STEP).astype(np.float64)
    return np.asarray(np.sqrt((frames**2).mean(1)))


def likeness(heard: Int16, played: Int16) -> list[float]:
    """How like the levels over time are, 1 for the same, for every two seconds with a voice.

    Each stretch is looked for where the stretch before was found, give or take a second: a
    browser's jitter buffer stretches pauses.
    """
    a, b = envelope(heard), envelope(played)
    found, shift = [], 0
    for n in range(0, len(b) - WINDOW, WINDOW):
        part = b[n : n + WINDOW] - b[n : n + WINDOW].mean()
        if part.std() < 200:
            continue
        starts = range(max(0, n + shift - 50), min(len(a) - WINDOW, n + shift + 50))
        tried = []
        for start in starts:
            there = a[start : start + WINDOW] - a[start : start + WINDOW].mean()
            norm = float(np.linalg.norm(part) * np.linalg.norm(there))
            tried.append((float(part @ there) / (norm + 1e-9), start))
        if tried:
            best, start = max(tried)
            found.append(best)
            shift = start - n
    return found


async def dial(browser: Browser, config: Settings, playbook: str, query: str = "") -> str:
    """Calls from the page, with more in the query of its offer; returns the call's id."""
    await browser.open(f"{config.api_url}/softphone")
    await browser.run(
        "window.fetch = ((fetch) => (url, options) =>"
        f" fetch(url.startsWith('/whip/') && url.includes('?') ? url + '{query}' : url, options)"
        ")(window.fetch)"
    )
    await browser.until("!document.getElementById('call').disabled", "the page is ready")
    await browser.run(
        "(() => { const c = document.getElementById('choice');"
        f"c.selectedIndex = [...c.options].findIndex((o) => o.text.startsWith('{playbook} '));"
        "c.dispatchEvent(new Event('change')); })()"
    )
    await browser.click("#call")
    await browser.until("!!document.getElementById('robot').srcObject", "the robot's track")
    await browser.run(LISTEN)
    return str(await browser.until("document.getElementById('call-id').innerText", "the id"))


async def test_a_call_from_the_page(product: Settings, chromium: str, tmp_path: Path) -> None:
    sound = microphone(tmp_path / "microphone.wav", spoken(LINES, pause_s=6.0), 8_000)
    async with Browser(chromium, tmp_path, sound) as browser:
        call = await dial(browser, product, "promotion")
        assert "ringlog models get zh-14m" in await browser.text("#recogniser")
        for meter in ("robot-level", "my-level"):
            await browser.until(f"document.getElementById('{meter}').value > -50", meter)
        await browser.until(
            "document.querySelectorAll('#transcript .customer:not(.open)').length >= 3",
            "three turns of ours on the page", 120,
        )  # fmt: skip
        on_page = await browser.run(WORDS_OF.format(who="customer"))
        robot_on_page = await browser.run(WORDS_OF.format(who="robot"))
        heard = np.frombuffer(base64.b64decode(await browser.run(HEARD)), np.int16)
        await browser.click("#keypad button:nth-child(5)")
        await browser.until(
            "document.querySelector('#transcript .note')?.textContent.includes('5')", "the key"
        )
        await browser.click("#hang-up")
        await browser.until("!document.getElementById('call').disabled", "the end")
        assert await browser.text("#line") == "The call is over (completed)."
        assert [line for line in browser.console if "deprecated" not in line] == []

    # What Chromium played is what was recognised, on the log and on the page.
    finals = text_of(finals_of(product, call, lambda found: len(found) >= len(LINES)))
    said = "".join(LINES)
    assert edit_distance(characters(said), characters(finals)) <= 0.12 * len(said)
    assert on_page == finals
    assert "您好" in robot_on_page

    # What the robot said was heard: as loud, as long, and the same over time.
    played = robots_voice(product, call)[: len(heard)]
    loud = [np.sqrt((x.astype(np.float64) ** 2).mean()) for x in (heard, played)]
    assert loud[0] == pytest.approx(loud[1], rel=0.2)
    voiced = [(envelope(x) > 300).sum() / 50 for x in (heard, played)]
    assert voiced[0] == pytest.approx(voiced[1], rel=0.15)
    like = likeness(heard, played)
    assert len(like) >= 4 and np.median(like) > 0.85, like

    events = [e for e in events_of(product, "calls.events", call) if isinstance(e, CallEvent)]
    assert (events[0].kind, events[0].direction, events[0].pool) == ("answered", "foreign", "sales")
    assert [e.digits for e in events if e.kind == "dtmf"] == ["5"]
    assert [(e.disposition, e.cause_q850) for e in events if e.kind == "ended"] == [
        ("completed", 16)
    ]


@pytest.mark.skipif(not SPEECH.is_dir(), reason="recordings of people: not on this machine")
async def test_a_person_is_heard_by_a_model_that_knows_people(
    product: Settings, chromium: str, tmp_path: Path
) -> None:
    """A recording, through Chromium's noise suppression and gain control: at most 20 points above
    the model on the file itself."""
    said = "欢迎大家来体验达摩院推出的语音识别模型"
    person = wav.read(SPEECH / "wavs" / "funasr-asr_example.wav", HEARD_HZ)[0]
    recogniser = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
        tokens=str(SPEECH / "fsmn-ctc-zh" / "tokens.txt"),
        model=str(SPEECH / "fsmn-ctc-zh" / "model.onnx"), num_threads=1,
    )  # fmt: skip
    stream = recogniser.create_stream()
    stream.accept_waveform(HEARD_HZ, np.pad(person.astype(np.float32) / 32_768, (0, HEARD_HZ)))
    while recogniser.is_ready(stream):
        recogniser.decode_stream(stream)
    direct = recogniser.get_result(stream)
    quiet = np.zeros(6 * HEARD_HZ, np.int16)
    path = tmp_path / "microphone.wav"
    sound = microphone(path, np.concatenate([quiet, person, quiet]), HEARD_HZ)
    async with Browser(chromium, tmp_path, sound) as browser:
        call = await dial(browser, product, "promotion", "&asr_profile=fsmn")
        await browser.until(
            "!!document.querySelector('#transcript .customer:not(.open)')", "a turn on the page"
        )
        await browser.click("#hang-up")
        await browser.until("!document.getElementById('call').disabled", "the end")
    finals = finals_of(product, call)
    assert {f.model for f in finals} == {"fsmn"}
    heard = text_of(finals)
    wrong, best = (edit_distance(characters(said), characters(t)) for t in (heard, direct))
    print(f"\nsaid {said}\nfile {direct} {best}\ncall {heard} {wrong}")
    assert wrong <= best + 0.2 * len(said), (direct, heard)


async def test_a_page_that_goes_away_ends_its_call(
    product: Settings, chromium: str, tmp_path: Path
) -> None:
    """In Chinese, too: the page speaks the browser's language."""
    sound = microphone(tmp_path / "microphone.wav", spoken(LINES[:1]), 8_000)
    async with Browser(chromium, tmp_path, sound, language="zh-CN") as browser:
        call = await dial(browser, product, "promotion")
        assert await browser.text("#hang-up") == "挂断"
        await browser.until("!!document.querySelector('#transcript .robot')", "the robot speaks")
        await browser.open("about:blank")
    deadline = time.monotonic() + 20
    while True:
        events = [e for e in events_of(product, "calls.events", call) if isinstance(e, CallEvent)]
        if ends := [e for e in events if e.kind == "ended"]:
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert ends[0].disposition in ("completed", "abandoned") and ends[0].cause_q850 == 16


async def test_another_sites_page_cannot_call(
    product: Settings, chromium: str, tmp_path: Path
) -> None:
    """It gets no token, reads nothing, and cannot show our page inside its own."""

    async def page(_: web.Request) -> web.Response:
        text = f"<iframe src='{product.api_url}/softphone'></iframe>"
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sound = microphone(tmp_path / "microphone.wav", spoken(LINES[:1]), 8_000)
    try:
        async with Browser(chromium, tmp_path, sound) as browser:
            await browser.open(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            for path in ("/softphone/token", "/whip/sales"):
                got = await browser.run(
                    f"fetch('{product.api_url}{path}', {{method: 'POST', mode: 'no-cors'}})"
                    ".then((a) => a.type + a.status, (e) => 'refused')"
                )
                assert got in ("opaque0", "refused"), got
                got = await browser.run(
                    f"fetch('{product.api_url}{path}', {{method: 'POST'}})"
                    ".then((a) => 'read', (e) => 'refused')"
                )
                assert got == "refused"
            assert any("frame-ancestors" in line for line in browser.console), browser.console
    finally:
        await runner.cleanup()


def test_the_calls_are_whole(product: Settings) -> None:
    """`ringlog verify` over the calls of this file."""
    run = subprocess.run(
        [sys.executable, "-m", "cli.main", "verify", "--idle", "--settle", "90"],
        env=environment.of_services(product), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def robots_voice(config: Settings, call: str) -> Int16:
    """What the robot said, by the log, from its first sample on."""
    chunks = [
        e for e in events_of(config, "media.audio", call)
        if isinstance(e, MediaChunk) and e.leg == "robot" and e.kind == "chunk"
    ]  # fmt: skip
    start = min(c.rtp_ts for c in chunks)
    end = max(c.rtp_ts + len(c.payload) // 2 for c in chunks)
    played = np.zeros(end - start, np.int16)
    for chunk in chunks:
        at = chunk.rtp_ts - start
        played[at : at + len(chunk.payload) // 2] = np.frombuffer(chunk.payload, ">i2")
    return played
