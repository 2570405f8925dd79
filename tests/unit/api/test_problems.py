"""Kinds of problems: each has a stable name, a page, and a place where it comes up."""

import ast
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ringlog.problems import BY_KIND, KINDS, KINDS_PATH, kind_of, type_of
from ringlog.settings import root
from tests.unit.api.test_doors import World

TITLED = {"Problem": 1, "problem": 1, "later": 0}
"""What makes a problem -> where its title stands among the arguments."""


def titles() -> Iterator[str]:
    """The titles that are written in the code of the HTTP ports."""
    for room in ("streams/api", "ingest"):
        for path in sorted((root() / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                place = TITLED.get(node.func.id)
                if place is None or len(node.args) <= place:
                    continue
                title = node.args[place]
                if isinstance(title, ast.Constant) and isinstance(title.value, str):
                    yield title.value


def test_every_title_has_a_kind_and_every_kind_comes_up() -> None:
    assert set(titles()) == set(KINDS)


def test_kinds_have_different_names() -> None:
    assert len(BY_KIND) == len(KINDS)
    assert type_of("No such task") == "/problems/no-such-task"
    assert type_of("Not Found") == "about:blank"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path) as world:
        yield world


async def test_every_kind_has_its_page_for_anybody(api: World) -> None:
    for title in KINDS:
        headers = {"Host": "api.example", "Sec-Fetch-Site": "cross-site"}
        async with api.session.get(KINDS_PATH + kind_of(title), headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert f"<h1>{title}</h1>" in await answer.text()
    for unknown in ("", "no-such-kind", "..%2f..%2fetc%2fpasswd", "<script>"):
        assert (await api.ask("GET", KINDS_PATH + unknown))[0] == 404


async def test_an_api_that_is_not_ready_says_so_and_what_it_means(api: World) -> None:
    api.health.ready = False
    status, told = await api.ask("GET", "/api/edges")
    assert (status, told["type"]) == (503, "/problems/not-ready")
    async with api.session.get(told["type"]) as answer:
        assert answer.status == 200
