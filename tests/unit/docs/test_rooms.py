"""Rooms import only what the table of docs/why/architecture.md lets them, and processors meet on
topics, not in code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringlog.settings import root

SHARED = {"schemas", "ringlog"}
MAY_IMPORT: dict[str, set[str]] = {
    "schemas": set(),
    "sql": set(),
    "ringlog": {"schemas"},
    "ingest": SHARED,
    "asr_worker": SHARED,
    "stack": SHARED,
    "streams": SHARED | {"sql"},
    "demo": SHARED | {"stack"},  # it starts the stack that it talks to from outside
    "verify": SHARED | {"sql", "streams", "stack", "ingest", "asr_worker"},
    "cli": SHARED | {"sql", "streams", "stack", "ingest", "asr_worker", "verify", "demo"},
}


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_it_may(room: str) -> None:
    rooms = MAY_IMPORT.keys() | {"bench", "tests"}
    wrong = [
        f"{path.relative_to(root())} imports {name}"
        for path in sorted((root() / room).rglob("*.py"))
        for name in imports(path)
        if (other := name.partition(".")[0]) in rooms and other not in MAY_IMPORT[room] | {room}
    ]
    assert wrong == []


def test_one_processor_imports_no_other() -> None:
    folders = {p.name for p in (root() / "streams").iterdir() if p.is_dir() and p.name[0] != "_"}
    wrong = [
        f"{path.relative_to(root())} imports {name}"
        for path in sorted((root() / "streams").glob("*/**/*.py"))
        for name in imports(path)
        if (parts := name.split("."))[0] == "streams"
        and len(parts) > 1
        and parts[1] in folders
        and parts[1] != path.relative_to(root() / "streams").parts[0]
    ]
    assert wrong == []
