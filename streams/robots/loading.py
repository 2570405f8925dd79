"""Reads a playbook from YAML and reports all of its faults at once."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ringlog.yaml_source import InvalidFile, Path, Problem, Source, parse
from streams.robots import playbook as shapes
from streams.robots import safety
from streams.robots.playbook import Node, Playbook

_Model = TypeVar("_Model", bound=BaseModel)

BUILT_IN_INTENTS = frozenset({"unclear"})
"""Intents that are built in."""

_KEYS = sorted(
    {
        key
        for shape in vars(shapes).values()
        if isinstance(shape, type) and issubclass(shape, shapes.Model)
        for key in shape.model_fields
    }
)


@dataclass(frozen=True)
class Script:
    """A valid playbook with its text. `version` names this very text: declared version + hash."""

    playbook: Playbook
    text: str
    sha256: str

    @property
    def name(self) -> str:
        """The playbook's name."""
        return self.playbook.playbook

    @property
    def version(self) -> str:
        """The declared version and 8 digits of the text's hash: a version never changes."""
        return f"{self.playbook.version}.{self.sha256[:8]}"


def load_file(path: FilePath) -> Script:
    """A playbook file; raises InvalidFile with all its faults."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        mend = "name a readable UTF-8 file"
        raise InvalidFile([Problem(str(path), 1, f"cannot be read: {error}", mend)]) from None
    return load(text, str(path))


def load(text: str, file: str = "playbook") -> Script:
    """A playbook's text; raises InvalidFile with all its faults."""
    source = parse(text, file)
    playbook = validated(Playbook, source)
    problems = [*source.duplicates, *_semantic(playbook, source)]
    if problems:
        raise InvalidFile(problems)
    return Script(playbook, text, hashlib.sha256(text.encode()).hexdigest())


def validated(model: type[_Model], source: Source) -> _Model:
    """The document as a model; raises InvalidFile with every fault of its shape."""
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        problems = [_shape_problem(dict(e), source) for e in error.errors(include_url=False)]
        raise InvalidFile([*source.duplicates, *dict.fromkeys(problems)]) from None


def _shape_problem(error: dict[str, Any], source: Source) -> Problem:
    path = _clean(error["loc"], source)
    where = ".".join(str(p) for p in path) or "the document"
    line = source.line(path)
    key = str(path[-1]) if path else ""
    match error["type"]:
        case "extra_forbidden":
            near = get_close_matches(key, [k for k in _KEYS if k != key], 1)
            mend = f"did you mean {near[0]!r}?" if near else "remove it"
            return Problem(source.file, line, f"{where}: unknown key {key!r}", mend)
        case "missing":
            return Problem(source.file, line, f"{where}: missing", f"add the key {key!r}")
        case "string_type":
            mend = 'write it in quotes, as in "1"'
            return Problem(source.file, line, f"{where}: {error['input']!r} is no text", mend)
        case "string_pattern_mismatch":
            mend = f"use a name that fits {error['ctx']['pattern']}"
            return Problem(source.file, line, f"{where}: {error['input']!r} is refused", mend)
        case "literal_error":
            mend = f"use one of {error['ctx']['expected']}"
            return Problem(source.file, line, f"{where}: {error['input']!r} is unknown", mend)
        case "value_error":
            return Problem(source.file, line, f"{where}: {error['ctx']['error']}", "mend the entry")
        case _:
            return Problem(source.file, line, f"{where}: {error['msg']}", "mend the value")


def _clean(loc: tuple[str | int, ...], source: Source) -> Path:
    """The error's path without pydantic's additions for dictionary keys and unions."""
    path: Path = ()
    for part in loc:
        if part == "[key]" or (
            isinstance(part, str) and part.startswith(("constrained-", "list["))
        ):
            continue
        longer = (*path, part)
        # A single value that stands for a list of one has no index in the file.
        if isinstance(part, int) and longer not in source.lines:
            continue
        path = longer
    return path


def _semantic(book: Playbook, source: Source) -> Iterator[Problem]:
    """Faults between the parts: unknown names, unreachable nodes, endless chains."""

    def problem(path: Path, what: str, mend: str) -> Problem:
        return Problem(source.file, source.line(path), what, mend)

    def known(path: Path, kind: str, name: str, there: Any) -> Iterator[Problem]:
        if name not in there:
            near = get_close_matches(name, list(there), 1)
            mend = f"did you mean {near[0]!r}?" if near else f"define it under `{kind}s`"
            yield problem(path, f"there is no {kind} {name!r}", mend)

    yield from known(("start",), "node", book.start, book.nodes)
    for way in ("silence", "unclear"):
        fallback = getattr(book.fallback, way)
        yield from known(("fallback", way, "prompt"), "prompt", fallback.prompt, book.prompts)
        yield from known(("fallback", way, "then"), "node", fallback.then, book.nodes)
    yield from _answerer_problems(book, problem, known)
    intents = {*book.intents, *BUILT_IN_INTENTS}
    for intent_name, intent in book.intents.items():
        if intent_name in BUILT_IN_INTENTS:
            what = f"the intent {intent_name!r} is built in"
            yield problem(("intents", intent_name), what, "rename it")
        if intent.negated is not None:
            path: Path = ("intents", intent_name, "negated")
            yield from known(path, "intent", intent.negated, intents)
    for intent_name in book.ignore:
        yield from known(("ignore",), "intent", intent_name, intents)
    for path, transition in safety.transitions(book):
        for intent_name in transition.intent:
            yield from known((*path, "intent"), "intent", intent_name, intents)
        if transition.to is not None:
            yield from known((*path, "to"), "node", transition.to, book.nodes)
        if transition.say is not None:
            yield from known((*path, "say"), "prompt", transition.say, book.prompts)
    for node_name, node in book.nodes.items():
        if node.prompt is not None:
            yield from known(("nodes", node_name, "prompt"), "prompt", node.prompt, book.prompts)
        if node.next is not None:
            yield from known(("nodes", node_name, "next"), "node", node.next, book.nodes)
        yield from _keys_problems(node_name, node, book, problem, known)
    yield from _farewell_problems(book, problem, known)
    yield from _wording_problems(book, problem)
    yield from _reach_problems(book, problem)
    yield from safety.problems(book, problem)


def _answerer_problems(book: Playbook, problem: Any, known: Any) -> Iterator[Problem]:
    """A machine's owner is not known, and whoever lives there hears what is left on it."""
    for key in ("voicemail", "screening"):
        name = getattr(book.answerer, key, None)
        if name is None:
            continue
        path: Path = ("answerer", key)
        yield from known(path, "prompt", name, book.prompts)
        if name in book.prompts and book.prompts[name].discloses:
            what = f"prompt {name!r} tells of a debt to whoever hears a {key} message"
            yield problem(path, what, "name another prompt")


def _farewell_problems(book: Playbook, problem: Any, known: Any) -> Iterator[Problem]:
    """It may be said before the customer has confirmed who they are."""
    if book.farewell is None:
        return
    yield from known(("farewell",), "prompt", book.farewell, book.prompts)
    if book.farewell in book.prompts and book.prompts[book.farewell].discloses:
        what = f"prompt {book.farewell!r} tells of a debt to whoever is on the phone"
        yield problem(("farewell",), what, "name another prompt")


def _keys_problems(
    name: str, node: Node, book: Playbook, problem: Any, known: Any
) -> Iterator[Problem]:
    """Entries that nobody can type, and unknown names."""
    keys, path = node.keys, ("nodes", name, "keys")
    for index, transition in enumerate(node.transitions if keys is not None else ()):
        entry = transition.dtmf
        if keys is None or entry is None:
            continue
        if len(entry) > keys.max or (keys.until is not None and keys.until in entry):
            what = f"the entry {entry!r} cannot be typed in node {name!r}"
            mend = "keep it within `max`, and without the key `until`"
            yield problem(("nodes", name, "transitions", index), what, mend)
    if keys is None:
        return
    if keys.to is None and not any(t.dtmf for t in node.transitions):
        what = f"node {name!r} asks for digits, and no entry leads anywhere"
        yield problem(path, what, "add `to`, or transitions with `dtmf`")
    for key in ("to", "then"):
        if (target := getattr(keys, key)) is not None:
            yield from known((*path, key), "node", target, book.nodes)
    if keys.invalid is not None:
        yield from known((*path, "invalid"), "prompt", keys.invalid, book.prompts)


def _wording_problems(book: Playbook, problem: Any) -> Iterator[Problem]:
    for name, prompt in book.prompts.items():
        names = [w.name for w in prompt.wordings]
        for index, wording in enumerate(prompt.wordings):
            path: Path = ("prompts", name, "wordings", index)
            if names.index(wording.name) < index:
                what = f"prompt {name!r} has two wordings named {wording.name!r}"
                yield problem(path, what, "rename one of the two")
            last = index == len(prompt.wordings) - 1
            if last and wording.when:
                what = f"prompt {name!r} says nothing to customers that fit no `when`"
                yield problem(path, what, "end with a wording that has no `when`")
            if not last and not wording.when:
                what = f"wordings of {name!r} after {wording.name!r} are never said"
                yield problem(path, what, "move the wording without `when` to the end")


def _reach_problems(book: Playbook, problem: Any) -> Iterator[Problem]:
    reached = reachable(book)
    for name in book.nodes:
        if name not in reached:
            what = f"no way leads to node {name!r}"
            yield problem(("nodes", name), what, "add a transition to it or remove it")
    said = {n.prompt for n in book.nodes.values()} | {t.say for _, t in safety.transitions(book)}
    said |= {book.fallback.silence.prompt, book.fallback.unclear.prompt, *book.confirm.values()}
    said |= {n.keys.invalid for n in book.nodes.values() if n.keys is not None}
    said |= {book.farewell}
    if book.answerer is not None:
        said |= {book.answerer.voicemail, book.answerer.screening}
    for name in book.prompts:
        if name not in said:
            what = f"no node says the prompt {name!r}"
            yield problem(("prompts", name), what, "use it or remove it")
    for name in book.nodes:
        chain, at = [name], book.nodes[name].next
        while at is not None and at in book.nodes and at not in chain:
            chain.append(at)
            at = book.nodes[at].next
        if at == name:
            what = f"`next` leads from {name!r} back to itself: {' > '.join([*chain, name])}"
            yield problem(("nodes", name, "next"), what, "end the chain with `transitions`")


def reachable(book: Playbook) -> set[str]:
    """Names of the nodes that a call can reach."""
    todo = [book.start, book.fallback.silence.then, book.fallback.unclear.then]
    todo += [t.to for t in book.always if t.to is not None]
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        node = book.nodes.get(name)
        if name in reached or node is None:
            continue
        reached.add(name)
        todo += _targets(node)
    return reached


def _targets(node: Node) -> list[str]:
    found = [t.to for t in node.transitions if t.to is not None]
    if node.keys is not None:
        found += [to for to in (node.keys.to, node.keys.then) if to is not None]
    return found if node.next is None else [*found, node.next]
