"""What no playbook may do to a person, checked when it is loaded.

A debt is told only behind a confirmed identity, on every way through the nodes. An opt-out, a
promise and "paid" are reached only by intents of that meaning, so that they need certain words.
"""

import re
from collections.abc import Iterator
from typing import Any

from ringlog.yaml_source import Path, Problem
from streams.robots.evidence import evidence_of
from streams.robots.meanings import IRREVERSIBLE, OUTCOME_MEANINGS
from streams.robots.playbook import Node, Playbook, Transition
from streams.robots.spoken import SPOKEN, has_values

_DEBT = re.compile(r"还款|还清|贷款|借款|欠|逾期|应还|征信|分期|账单|催收|债|滞纳金")
_DEBT_MEANINGS = frozenset({"promise_to_pay", "already_paid"})

_OTHER_BRACES = re.compile(r"\{[^}]*\}")

Way = tuple[str, ...]
"""Names of nodes, from the start to the fault."""


def problems(book: Playbook, problem: Any) -> Iterator[Problem]:
    """Everything that is unsafe; `problem(path, what, mend)` makes one with its line."""
    yield from _confirmations(book, problem)
    yield from _outcomes(book, problem)
    yield from _debts_named(book, problem)
    yield from _disclosures(book, problem)


def _confirmations(book: Playbook, problem: Any) -> Iterator[Problem]:
    meanings = {i.meaning for i in book.intents.values()}
    for meaning, prompt in book.confirm.items():
        if prompt not in book.prompts:
            what = f"there is no prompt {prompt!r}"
            yield problem(("confirm", meaning), what, "define it under `prompts`")
    for name, intent in book.intents.items():
        if intent.meaning in IRREVERSIBLE and intent.meaning not in book.confirm:
            what = f"{intent.meaning} cannot be undone, and nothing asks whether it was meant"
            yield problem(("intents", name), what, f"name a prompt under confirm.{intent.meaning}")
        for n, example in enumerate(intent.examples if intent.meaning in IRREVERSIBLE else []):
            if evidence_of(intent.meaning or "", example) != "clear":
                what = f"{example!r} does not say {intent.meaning} for certain"
                yield problem(("intents", name, "examples", n), what, "move it to `keywords`: "
                              "the robot then asks back")  # fmt: skip
    for path, t in transitions(book):
        if t.ask_back and (t.ask_back not in book.confirm or t.ask_back not in meanings):
            what = f"nothing asks back about {t.ask_back}"
            mend = f"name a prompt under confirm.{t.ask_back}, and give an intent that meaning"
            yield problem((*path, "ask_back"), what, mend)
        if t.confirms and (path[0] != "nodes" or t.to is None):
            what = "`confirms` answers the question of its own node and leads to another"
            yield problem((*path, "confirms"), what, "move it into the node, and add `to`")


def _outcomes(book: Playbook, problem: Any) -> Iterator[Problem]:
    meant = {name: m for name in book.nodes if (m := _outcome_meaning(book, name)) is not None}
    ways: list[tuple[Path, str]] = [
        (("start",), book.start),
        (("fallback", "silence", "then"), book.fallback.silence.then),
        (("fallback", "unclear", "then"), book.fallback.unclear.then),
    ]
    ways += [
        (("nodes", name, "keys", key), to)
        for name, node in book.nodes.items()
        for key in ("to", "then")
        if (to := getattr(node.keys, key, None)) is not None
    ]
    ways += [(path, t.to) for path, t in transitions(book) if t.to and not _means(book, t, meant)]
    for path, to in ways:
        if to in meant:
            what = f"a way leads to {to!r} ({meant[to]}) without words that mean it"
            mend = f"name intents of `meaning: {meant[to]}` only, or another node"
            yield problem(path, what, mend)


def _means(book: Playbook, t: Transition, meant: dict[str, str]) -> bool:
    found = {book.intents[i].meaning if i in book.intents else None for i in t.intent}
    return found == {meant.get(t.to or "")}


def _outcome_meaning(book: Playbook, name: str) -> str | None:
    """The meaning that entering a node needs, by its own outcome or by where `next` leads."""
    seen: set[str] = set()
    at: str | None = name
    while at is not None and at not in seen and at in book.nodes:
        seen.add(at)
        node = book.nodes[at]
        for outcome in (node.outcome, node.hangup):
            if outcome in OUTCOME_MEANINGS:
                return OUTCOME_MEANINGS[outcome]
        at = node.next
    return None


def _debts_named(book: Playbook, problem: Any) -> Iterator[Problem]:
    collects = any(i.meaning in _DEBT_MEANINGS for i in book.intents.values())
    for name, prompt in book.prompts.items():
        for text in prompt.all_texts:
            if _OTHER_BRACES.search(SPOKEN.sub("", text)):
                what = f"prompt {name!r} has a {{value}} that does not say how it is read out"
                mend = "write {value:amount}, {value:date} or {value:digits}"
                yield problem(("prompts", name), what, mend)
            if has_values(text):
                yield from _spoken_values(book, problem, name)
            if collects and not prompt.discloses and (word := _DEBT.search(text)):
                what = f"prompt {name!r} speaks of a debt ({word[0]})"
                yield problem(("prompts", name), what, "declare `discloses: true`")
                break
    for name, node in book.nodes.items():
        message = node.message
        if collects and message and not message.discloses:
            word = _DEBT.search(message.text + (message.otherwise or ""))
            if word:
                what = f"the message of {name!r} speaks of a debt ({word[0]})"
                yield problem(("nodes", name, "message"), what, "declare `discloses: true`")


def _spoken_values(book: Playbook, problem: Any, name: str) -> Iterator[Problem]:
    """A value is the customer's own: told behind their identity, and not by everybody's profile."""
    prompt, path = book.prompts[name], ("prompts", name)
    if not prompt.discloses:
        what = f"prompt {name!r} speaks a value of the customer's profile"
        yield problem(path, what, "declare `discloses: true`")
    if prompt.otherwise is None or has_values(prompt.otherwise):
        what = f"prompt {name!r} has nothing to say to a customer without the value"
        yield problem(path, what, "add `otherwise`, a text without values")
    if not book.language.lower().startswith("zh"):
        what = f"values are read out in Mandarin only, and the language is {book.language}"
        yield problem(path, what, "put the value into a message instead")


def _disclosures(book: Playbook, problem: Any) -> Iterator[Problem]:
    """Walks all paths without a confirmed identity."""
    told: set[Path] = set()
    for name, way in _unidentified(book).items():
        for path, prompt in _told_at(book, name):
            if path in told:
                continue
            told.add(path)
            what = (
                f"{prompt} tells of a debt, and nobody has confirmed who they are on the way "
                f"{' > '.join(way)}"
            )
            mend = "lead there behind a transition with `confirms: identity`, or add `requires`"
            yield problem(path, what, mend)


def _unidentified(book: Playbook) -> dict[str, Way]:
    """Nodes in which somebody unknown may be on the line, each with a way to it."""
    found: dict[str, Way] = {}
    todo: list[Way] = [(book.start,)]
    while todo:
        way = todo.pop()
        name = way[-1]
        node = book.nodes.get(name)
        if node is None or name in found:
            continue
        found[name] = way
        if node.ends:
            continue
        targets = [t.to for t in (*node.transitions, *book.always) if not _needs_identity(t)]
        if node.keys is not None:
            targets += [node.keys.to, node.keys.then]
        targets += [node.next, book.fallback.silence.then, book.fallback.unclear.then]
        todo += [(*way, to) for to in targets if to is not None]
    return found


def _told_at(book: Playbook, name: str) -> Iterator[tuple[Path, str]]:
    """What a node would tell somebody unknown: its place in the file, and the text."""
    node: Node = book.nodes[name]
    here: Path = ("nodes", name)
    if _discloses(book, node.prompt):
        yield here, f"prompt {node.prompt!r}"
    if node.message is not None and node.message.discloses:
        yield (*here, "message"), f"the message of {name!r}"
    if node.ends:
        return
    if node.keys is not None and _discloses(book, node.keys.invalid):
        yield (*here, "keys", "invalid"), f"prompt {node.keys.invalid!r}"
    for path, t in transitions(book):
        if path[0] != "always" and path[1] != name:
            continue
        asks = book.confirm.get(t.ask_back) if t.ask_back else None
        for prompt in (t.say, asks):
            if _discloses(book, prompt) and (t.confirms or not _needs_identity(t)):
                yield path, f"prompt {prompt!r}"
    for way in ("silence", "unclear"):
        prompt = getattr(book.fallback, way).prompt
        if _discloses(book, prompt):
            yield ("fallback", way), f"prompt {prompt!r}"


def _needs_identity(t: Transition) -> bool:
    return t.requires is not None or t.confirms is not None


def _discloses(book: Playbook, prompt: str | None) -> bool:
    return prompt is not None and prompt in book.prompts and book.prompts[prompt].discloses


def transitions(book: Playbook) -> Iterator[tuple[Path, Transition]]:
    """Every transition with its place in the file."""
    for index, transition in enumerate(book.always):
        yield ("always", index), transition
    for name, node in book.nodes.items():
        for index, transition in enumerate(node.transitions):
            yield ("nodes", name, "transitions", index), transition
