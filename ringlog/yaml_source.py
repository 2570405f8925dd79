"""YAML text with the line of every value, so that an error can say where it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and indices from the document's root to a value."""


@dataclass(frozen=True, order=True)
class Problem:
    """One fault of a file: where, what, and how to mend it."""

    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.mend}"


class InvalidFile(Exception):
    """A file with faults; the text lists all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


@dataclass(frozen=True)
class Source:
    """A parsed document: its data, and the line of each value by path."""

    file: str
    data: Any
    lines: dict[Path, int]
    duplicates: list[Problem]

    def line(self, path: Path) -> int:
        """Line of a value, or of its nearest ancestor that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """Booleans are `true` and `false` only (YAML 1.2): `no` and `on` are words."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if not tag.endswith((":bool", ":timestamp"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|false)$"),
    list("tf"),
)


def parse(text: str, file: str) -> Source:
    """Parses one document; raises InvalidFile if it is not valid YAML."""
    lines: dict[Path, int] = {}
    duplicates: list[Problem] = []
    try:
        node, data = _read(text)
        for path, line, first in _walk(node, ()) if node is not None else ():
            if first is not None:
                what = f"{path[-1]!r} is there twice, first in line {first}"
                duplicates.append(Problem(file, line, what, "rename or remove one of the two"))
            lines[path] = line
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"character U+{error.character:04X} is not allowed"
        raise InvalidFile([Problem(file, line, what, "remove it")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        what = getattr(error, "problem", None) or "not YAML"
        raise InvalidFile([Problem(file, line, str(what), "mend the YAML syntax")]) from None
    except ValueError as error:  # a number or key that YAML's own types cannot hold
        raise InvalidFile([Problem(file, 1, str(error), "put the value in quotes")]) from None
    except RecursionError:
        raise InvalidFile([Problem(file, 1, "nested too deeply", "flatten it")]) from None
    return Source(file, data, lines, duplicates)


def _read(text: str) -> tuple[yaml.Node | None, Any]:
    """The document's tree, and its data."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _walk(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int, int | None]]:
    """(path, line, line of an earlier value with the same key) of every value."""
    if not path:
        yield path, node.start_mark.line + 1, None
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            yield (*path, name), line, seen.get(name)
            seen.setdefault(name, line)
            yield from _walk(value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1, None
            yield from _walk(value, (*path, index))
