"""Chromium for tests, driven by the DevTools protocol: a fake microphone plays a file."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import wave
from pathlib import Path
from typing import Any, Self

import aiohttp
import numpy as np
import soxr
from websockets.asyncio.client import ClientConnection, connect

from ringlog.audio.g711 import Int16

MICROPHONE_HZ = 48_000
TIMEOUT_S = 60.0

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--remote-debugging-port=0",
)  # fmt: skip


def microphone(path: Path, samples: Int16, rate_hz: int) -> Path:
    """Writes what a fake microphone is to play."""
    wide = np.asarray(soxr.resample(samples, rate_hz, MICROPHONE_HZ), np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_HZ)
        file.writeframes(wide.tobytes())
    return path


class PageError(AssertionError):
    """A script in the page failed, or what was waited for never came."""


class Browser:
    """One Chromium with a profile of its own and one page. `sound` is played once, from the moment
    at which the page opens the microphone."""

    def __init__(self, chromium: str, folder: Path, sound: Path, language: str = "en-US") -> None:
        self._profile = folder / "profile"
        self._command = [
            chromium, *_FLAGS, f"--user-data-dir={self._profile}",
            f"--use-file-for-fake-audio-capture={sound}%noloop", f"--accept-lang={language}",
            "about:blank",
        ]  # fmt: skip
        self._log = folder / "chromium.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: ClientConnection | None = None
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self.console: list[str] = []

    async def __aenter__(self) -> Self:
        self._profile.mkdir(parents=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        port = await self._port()
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{port}/json/list") as answer,
        ):
            (page, *_) = [t for t in await answer.json() if t["type"] == "page"]
        self._socket = await connect(page["webSocketDebuggerUrl"], max_size=2**26)
        self._reading = asyncio.create_task(self._read(self._socket))
        for domain in ("Runtime", "Page", "Log"):
            await self.tell(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._socket is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.tell("Browser.close"), 5)
            await self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    async def _port(self) -> int:
        file = self._profile / "DevToolsActivePort"
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                assert self._process is not None
                assert self._process.poll() is None, self._log.read_text()[-2_000:]
                with contextlib.suppress(OSError, ValueError, IndexError):
                    return int(file.read_text().splitlines()[0])
                await asyncio.sleep(0.05)

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            data = json.loads(message)
            waiting = self._answers.pop(data.get("id", 0), None)
            if waiting is not None:
                waiting.set_result(data)
            elif data.get("method") == "Runtime.exceptionThrown":
                self.console.append(json.dumps(data["params"])[:500])
            elif data.get("method") == "Runtime.consoleAPICalled":
                if data["params"]["type"] in ("error", "assert"):
                    self.console.append(json.dumps(data["params"]["args"])[:500])
            elif data.get("method") == "Log.entryAdded":
                self.console.append(data["params"]["entry"]["text"])

    async def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; raises PageError."""
        assert self._socket is not None
        number = next(self._ids)
        self._answers[number] = waiting = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        answer = await asyncio.wait_for(waiting, TIMEOUT_S)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Goes to a page and waits until it is there."""
        await self.tell("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'", "the page")

    async def run(self, script: str) -> Any:
        """The value of an expression in the page, as if a person had caused it."""
        answer = await self.tell(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True,
            userGesture=True,
        )  # fmt: skip
        if "exceptionDetails" in answer:
            raise PageError(str(answer["exceptionDetails"])[:1_000])
        return answer["result"].get("value")

    async def until(self, script: str, what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """Waits for an expression to be true; raises PageError."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := await self.run(script)):
                    await asyncio.sleep(0.1)
                return found
        except TimeoutError:
            body = await self.run("document.body.innerText")
            raise PageError(f"never came: {what}\n{body}\n{self.console}") from None

    async def text(self, selector: str) -> str:
        """What a part of the page says."""
        return str(await self.run(f"document.querySelector({selector!r}).innerText"))

    async def click(self, selector: str) -> None:
        """Presses a button with the mouse, where it is."""
        found = f"document.querySelector({selector!r})"
        await self.until(f"{found} && !{found}.disabled", f"{selector} can be pressed")
        box = await self.run(
            f"{found}.scrollIntoView(), (({{x, y, width, height}}) => "
            f"[x + width / 2, y + height / 2])({found}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.tell(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left",
                clickCount=1,
            )  # fmt: skip
