"""Sentences that nothing was tuned on, and what they mean: `playbooks/<name>/heldout.yaml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Literal

from pydantic import Field

from ringlog.yaml_source import InvalidFile, Problem, parse
from streams.robots.loading import validated
from streams.robots.meanings import Meaning
from streams.robots.playbook import Model, Name, Words

FILE = "heldout.yaml"

Kind = Literal["plain", "negation", "question", "filler", "homophone", "off_topic"]
"""What makes a sentence hard; `off_topic` is about nothing that the playbook knows."""


class Group(Model):
    """Sentences of one meaning, said at one node."""

    node: Name
    meaning: Meaning
    kind: Kind = "plain"
    also: list[Meaning] = Field(
        default_factory=list, alias="or", description="Other meanings that are as right"
    )
    texts: Words


class HeldOut(Model):
    """The file."""

    sentences: list[Group]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence; `right` has every meaning that is right, the wanted one first."""

    text: str
    node: str
    kind: Kind
    right: tuple[str, ...]


def file_of(playbook: FilePath) -> FilePath:
    """Where the sentences of a playbook file are."""
    return playbook.parent / playbook.stem / FILE


def load_heldout(path: FilePath) -> list[Sentence]:
    """Raises InvalidFile with all faults."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        mend = "write the sentences there, as docs/how-to/write-a-playbook.md says"
        raise InvalidFile([Problem(str(path), 1, f"cannot be read: {error}", mend)]) from None
    source = parse(text, str(path))
    problems = list(source.duplicates)
    found: dict[str, int] = {}
    sentences = []
    for index, n, sentence in _sentences(validated(HeldOut, source)):
        line = source.line(("sentences", index, "texts", n))
        # One sentence may mean different things at different nodes.
        key = f"{sentence.node}/{sentence.text}"
        if key in found:
            what = f"{sentence.text!r} is there twice, first in line {found[key]}"
            problems.append(Problem(str(path), line, what, "remove one of the two"))
        found.setdefault(key, line)
        sentences.append(sentence)
    if problems:
        raise InvalidFile(problems)
    return sentences


def _sentences(file: HeldOut) -> Iterator[tuple[int, int, Sentence]]:
    for index, group in enumerate(file.sentences):
        for n, text in enumerate(group.texts):
            right = (group.meaning, *group.also)
            yield index, n, Sentence(text, group.node, group.kind, right)
