"""One name, one thing: no two rooms have a public class of the same name, or a reason says why."""

import ast
import re
from collections import defaultdict

from ringlog.settings import root
from tests.suite import CHECKED

OWN_PROTOCOL = "a part of ClickHouse's protocol or of its server, named as ClickHouse names it"
CHECK = "a check of verify bears the name of what it checks"
MODEL = "the room's form of what the event of that name tells"
BENCH = "a benchmark's stand-in, of no use outside its file"
SAME_STEP = "the same step of the same host, once for each of the two services"

ALLOWED = {
    "Bare": BENCH,
    "Batch": "training data of a recogniser's model",
    "Call": "the edge's and the robots' state of a call: neither sees the other's",
    "Chunk": OWN_PROTOCOL,
    "Column": OWN_PROTOCOL,
    "Condition": "a line condition in training, and a playbook's",
    "DeadLetters": CHECK,
    "Heard": "what a recogniser gives, and what the demo's people heard",
    "Leg": "the edge's and the recogniser's state of one side of a call",
    "OptOuts": CHECK,
    "Output": OWN_PROTOCOL,
    "Owner": BENCH,
    "Playbook": MODEL,
    "Playout": MODEL,
    "Policy": "dispatch's settings, and the rules of the SQL server",
    "Pools": "dispatch's pools with their state, and the robots' as configured",
    "Problem": "an answer of the REST API (RFC 9457), and a fault of a YAML file",
    "Profiles": CHECK,
    "Prompt": "a sentence of a playbook, and its sound",
    "Refold": SAME_STEP,
    "Result": OWN_PROTOCOL,
    "Robot": "dispatch's and the configuration's",
    "Said": "what a robot said, and what a simulated person says",
    "Source": "whose sound it is, and where a YAML value stands",
    "Step": BENCH,
    "Surroundings": SAME_STEP,
    "Task": BENCH,
    "Tick": MODEL,
    "Token": "a word of a transcript, and of an SQL statement",
    "Turns": CHECK,
    "Work": "what a robot shard has to do, and what an HTTP request asks of the server",
    "Worker": BENCH,
}
"""Names that several rooms define, with the reason. Take one out when it is gone."""


def classes() -> dict[str, set[str]]:
    """Rooms by the names of their public classes. Each processor in `streams/` is a room."""
    found: dict[str, set[str]] = defaultdict(set)
    for top in CHECKED:
        if top in ("tests", "docs"):
            continue
        for path in (root() / top).rglob("*.py"):
            parts = path.relative_to(root()).parts
            room = "/".join(parts[:2]) if top == "streams" and len(parts) > 2 else top
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].add(room)
    return found


def test_no_two_rooms_call_two_things_by_one_name() -> None:
    twice = {name: sorted(rooms) for name, rooms in classes().items() if len(rooms) > 1}
    unexplained = {name: rooms for name, rooms in twice.items() if name not in ALLOWED}
    assert unexplained == {}, "give one of them another name, or say here why both are right"


def test_every_row_of_the_glossary_has_both_languages() -> None:
    text = (root() / "docs/reference/glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!word|---)([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) >= 60
    words = [word for row in rows for word in row[0].split(", ")]
    assert len(words) - len(set(words)) <= 1, "`key` is a digit and a record's"
    for word, chinese, meaning in rows:
        assert re.search(r"[\u4e00-\u9fff]", chinese), word
        assert re.fullmatch(r"[A-Za-z ,-]+", word) and len(meaning) > 10
