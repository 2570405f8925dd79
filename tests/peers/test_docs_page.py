"""`/docs` in Chromium: it draws every operation from what we serve, and its policy holds."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from streams.api.openapi import document
from tests.peers.browser import Browser, microphone
from tests.unit.api.test_doors import World

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("chromium")]

DRAWN = "document.querySelectorAll('.opblock').length"

LOADED = "performance.getEntriesByType('resource').map((e) => e.name)"


async def test_every_operation_is_drawn(chromium: str, tmp_path: Path) -> None:
    silence = microphone(tmp_path / "silence.wav", np.zeros(800, np.int16), 8_000)
    operations = sum(len(methods) for methods in document()["paths"].values())
    async with (
        World(tmp_path / "home", api_key=cast(Any, "k" * 20)) as api,
        Browser(chromium, tmp_path, silence) as browser,
    ):
        ours = f"http://127.0.0.1:{api.port}/"
        await browser.open(f"{ours}docs")
        await browser.until(f"{DRAWN} >= {operations}", "all operations")
        assert await browser.run(DRAWN) == operations
        await browser.click(".opblock-summary-control")
        await browser.until("!!document.querySelector('.opblock-body')", "an operation's details")
        loaded = await browser.run(LOADED)
        assert loaded and all(name.startswith((ours, "data:")) for name in loaded)
        assert browser.console == []
