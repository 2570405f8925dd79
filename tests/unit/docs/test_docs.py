"""What the documentation names has to be there."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic_settings import BaseSettings

from cli.main import cli
from docs.reference.generate import OUTSIDE, PAGES
from ringlog.settings import Settings, root
from streams.api.openapi import document
from streams.dispatch.policy import SitePolicy
from streams.faust_host import FaustSettings

PAGE_FILES = sorted(
    [*root().glob("README*.md"), *(root() / "docs").rglob("*.md"), root() / "playbooks/README.md"]
)
_IDS = [str(p.relative_to(root())) for p in PAGE_FILES]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)", re.S)
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.S | re.M)
_COMMAND = re.compile(r"(?:^|[|;(&]|\$\()\s*(?:[A-Z_]+=\S+ +)*ringlog +([a-z][^|;)\n]*)", re.M)
_MAKE = re.compile(r"^\s*make +([a-z-]+)", re.M)
_VARIABLE = re.compile(r"\bRINGLOG_[A-Z_0-9]*[A-Z0-9]\b(?!_?\*)")


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def _shell(text: str) -> Iterator[str]:
    return (body for _, language, body in _FENCE.findall(text) if language == "sh")


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def _known_variables() -> set[str]:
    models: dict[str, type[BaseSettings]] = {
        "RINGLOG_": Settings,
        "RINGLOG_DISPATCH_": SitePolicy,
        "RINGLOG_FAUST_": FaustSettings,
    }
    named = {p + name.upper() for p, model in models.items() for name in model.model_fields}
    return named | OUTSIDE.keys()


def _fault(words: list[str]) -> str | None:
    """What is wrong with the words after `ringlog`, as far as its commands can tell."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return None
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]!r}"
        command, words = found, words[1:]
    known = {"-h", "--help"} | {o for p in command.params for o in p.opts if o.startswith("-")}
    wrong = [w for w in words if re.match(r"--?[a-z]", w) and w.split("=")[0] not in known]
    return f"{command.name} has no option {wrong[0]}" if wrong else None


@pytest.mark.parametrize("page", PAGE_FILES, ids=_IDS)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in _LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif anchor and anchor not in _anchors(target):
            wrong.append(f"{link}: no such heading")
    assert not wrong


@pytest.mark.parametrize("page", PAGE_FILES, ids=_IDS)
def test_every_command_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root() / "Makefile").read_text(), re.M))
    wrong = []
    for block in _shell(page.read_text(encoding="utf-8")):
        plain = re.sub(r"#.*$", "", block, flags=re.M)
        named = _COMMAND.findall(re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", plain))
        wrong += [f"ringlog {c.strip()}: {fault}" for c in named if (fault := _fault(c.split()))]
        wrong += [f"make {name}" for name in _MAKE.findall(plain) if name not in targets]
    assert not wrong


def test_commands_are_found_in_all_places_of_a_line() -> None:
    block = "id=$(ringlog sql TEXT -f TSV)\nRINGLOG_HOME=a ringlog up -d\nx | ringlog produce T\n"
    assert [c.split()[0] for c in _COMMAND.findall(block)] == ["sql", "up", "produce"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("nothing", "no command 'nothing'"),
        ("call hide", "no command 'hide'"),
        ("up --fast", "up has no option --fast"),
        ("sql TEXT -f TSV", None),
    ],
)
def test_a_wrong_command_is_noticed(words: str, fault: str | None) -> None:
    assert _fault(words.split()) == fault


@pytest.mark.parametrize("page", PAGE_FILES, ids=_IDS)
def test_every_variable_is_a_setting(page: Path) -> None:
    named = set(_VARIABLE.findall(page.read_text(encoding="utf-8")))
    assert named - _known_variables() == set()


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_say_what_the_code_says(name: str) -> None:
    committed = (root() / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert committed == PAGES[name](), "run `python -m docs.reference.generate`"


def test_the_rest_page_has_every_route() -> None:
    page = (root() / "docs" / "reference" / "rest-api.md").read_text(encoding="utf-8")
    routes = {f"{m.upper()} {path}" for path, ms in document()["paths"].items() for m in ms}
    assert routes
    assert {r for r in routes if f"## `{r}`" not in page} == set()


def test_the_index_leads_to_every_page() -> None:
    index = root() / "docs" / "index.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in _LINK.findall(index.read_text(encoding="utf-8"))
    }
    pages = {p.resolve() for p in (root() / "docs").rglob("*.md")} - {index.resolve()}
    assert pages - linked == set()
