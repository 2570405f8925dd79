"""`/docs`: for anybody, with nothing from elsewhere."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from ringlog.jvm import Pin
from streams.api import docs_page
from streams.api.docs_page import OPEN_PATHS, PAGE_PATH
from tests.unit.api.test_doors import World

OUTSIDE = {"Host": "api.example", "Sec-Fetch-Site": "none"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path, api_key=cast(Any, "k" * 20)) as world:
        yield world


async def test_anybody_may_read_the_page_and_its_files(api: World) -> None:
    api.health.ready = False
    for path in sorted(OPEN_PATHS):
        async with api.session.get(path, headers=OUTSIDE) as answer:
            content = await answer.read()
            assert answer.status == 200 and content, path
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["connect-src"] == "'self'"
        assert not re.search(r"https?:|\*", policy)


async def test_the_page_loads_its_own_files_alone(api: World) -> None:
    async with api.session.get(PAGE_PATH, headers=OUTSIDE) as answer:
        text = await answer.text()
    loaded = set(re.findall(r'(?:src|href)="([^"]*)"', text))
    assert loaded == OPEN_PATHS - {PAGE_PATH} | {"data:,"}
    assert "<script>" not in text and "style=" not in text


async def test_a_page_whose_files_are_absent_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(pin: Pin) -> Path:
        return tmp_path / pin.file_name

    monkeypatch.setattr(docs_page, "path_of", nowhere)
    async with World(tmp_path) as api:
        status, told = await api.ask("GET", f"{PAGE_PATH}/swagger-ui.css")
    assert (status, told["type"]) == (503, "/problems/not-ready")
    assert "make install" in told["detail"]
