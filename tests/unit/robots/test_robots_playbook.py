"""Faults of playbooks and of robots.yaml are told all at once, with file, line and mend."""

from pathlib import Path

import pytest

from ringlog.settings import root
from ringlog.yaml_source import InvalidFile
from streams.robots.check import check_files
from streams.robots.loading import load, load_file, reachable
from streams.robots.playbook import Condition
from streams.robots.pools import load_robots
from streams.robots.publish import ROBOTS_FILE, playbook_files
from streams.robots.wording import fits

GOOD = """\
playbook: small
version: "1"
start: hello
fallback:
  silence: {prompt: again, max: 1, then: end}
  unclear: {prompt: again, then: end}
intents:
  yes_please:
    examples: [好的]
prompts:
  hello: {text: 您好}
  again: {text: 请您再说一遍}
nodes:
  hello:
    prompt: hello
    transitions:
      - {intent: yes_please, to: end}
  end:
    hangup: completed
"""


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        load(text, "p.yaml")
    return [str(p) for p in caught.value.problems]


def test_the_small_one_is_good() -> None:
    script = load(GOOD)
    assert script.name == "small"
    assert script.version == f"1.{script.sha256[:8]}"
    assert reachable(script.playbook) == {"hello", "end"}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("start: hello", "start: helo", "3: there is no node 'helo'; did you mean 'hello'?"),
        ("yes_please, to: end", "yes_please, to: ends",
         "17: there is no node 'ends'; did you mean 'end'?"),
        ("intent: yes_please", "intent: maybe",
         "17: there is no intent 'maybe'; define it under `intents`"),
        ("    prompt: hello", "    prompt: helloo",
         "15: there is no prompt 'helloo'; did you mean 'hello'?"),
        ("silence: {prompt: again", "silence: {prompt: agian",
         "5: there is no prompt 'agian'; did you mean 'again'?"),
        ('version: "1"', "version: 1",
         '2: version: 1 is no text; write it in quotes, as in "1"'),
        ("hangup: completed", "hangup: done", "19: nodes.end.hangup: 'done' is unknown"),
        ("    hangup:", "    hangupp:",
         "19: nodes.end.hangupp: unknown key 'hangupp'; did you mean 'hangup'?"),
        ("start: hello\n", "", "1: start: missing; add the key 'start'"),
        ("  hello: {text: 您好}", "  hello: {}",
         "11: prompts.hello: a prompt has either `text` or"),
        ("  end:\n", "  end:\n    next: hello\n",
         "18: nodes.end: a node ends in exactly one way"),
        ("  hello: {text: 您好}", "  hello: {barge_in: loud, text: 您好}",
         "11: prompts.hello.barge_in: 'loud' is unknown; use one of 'never', 'speech' or 'words'"),
        ("hello: {text", "Hello: {text",
         "11: prompts.Hello: 'Hello' is refused; use a name that fits"),
    ],
)  # fmt: skip
def test_faults(old: str, new: str, fault: str) -> None:
    assert old in GOOD
    found = faults(GOOD.replace(old, new, 1))
    assert any(f.startswith(f"p.yaml:{fault}") for f in found), found


def test_all_faults_are_told_at_once() -> None:
    text = GOOD + (
        "  island:\n    prompt: nothing\n    hangup: completed\n"
        "  end:\n    hangup: completed\n"
        "  ring: {next: ring}\n"
    )
    found = faults(text)
    assert any("'end' is there twice, first in line 18; rename" in f for f in found), found
    assert any("no way leads to node 'island'" in f for f in found)
    assert any("there is no prompt 'nothing'" in f for f in found)
    assert any("`next` leads from 'ring' back to itself: ring > ring" in f for f in found)
    assert all(f.startswith("p.yaml:") for f in found)
    assert found == sorted(found, key=lambda f: int(f.split(":")[1]))


@pytest.mark.parametrize(
    ("wordings", "fault"),
    [
        ("[{name: a, text: 甲, when: {level: vip}}]", "says nothing to customers that fit no"),
        ("[{name: a, text: 甲}, {name: b, text: 乙}]", "after 'a' are never said"),
        ("[{name: a, text: 甲, when: {level: vip}}, {name: a, text: 乙}]", "two wordings named"),
        ("[{name: a, text: 甲, variants: {x: 乙}}]", "either `text` or `variants`"),
        ("[{name: a, text: 甲, when: {}}]", "a condition without keys"),
    ],
)
def test_faults_of_wordings(wordings: str, fault: str) -> None:
    found = faults(GOOD.replace("hello: {text: 您好}", f"hello: {{wordings: {wordings}}}"))
    assert any(fault in f and f.startswith("p.yaml:11:") for f in found), found


def test_an_unsaid_prompt_is_a_fault() -> None:
    found = faults(GOOD.replace("prompts:\n", "prompts:\n  spare: {text: 谢谢}\n"))
    assert found == ["p.yaml:11: no node says the prompt 'spare'; use it or remove it"]


@pytest.mark.parametrize(
    "text", ["", "- a", "a: [", "\t", "text", "? [1]: 2", "a: !!python/name:os.system"]
)
def test_what_is_no_playbook_is_told_and_never_crashes(text: str) -> None:
    assert faults(text)


def test_words_that_old_yaml_takes_for_booleans_are_words() -> None:
    text = GOOD.replace("yes_please", "no").replace("examples: [好的]", "examples: [好的, no, on]")
    assert load(text).playbook.intents["no"].examples == ["好的", "no", "on"]


def test_published_files_are_good_and_a_missing_one_is_told(tmp_path: Path) -> None:
    good, bad = check_files(playbook_files())
    assert len(good) == len(playbook_files()) >= 1
    assert bad == []
    _, bad = check_files([tmp_path / "none.yaml"])
    assert "cannot be read" in bad[0]


def test_robots_of_the_demo() -> None:
    pools = load_robots(ROBOTS_FILE)
    sales = pools["sales"]
    assert sum(r.slots for r in sales) >= 8
    assert {r.skills["sales"] for r in sales} == {1, 2, 3}
    assert len({r.voice for r in sales}) == len(sales)
    names = {load_file(f).name for f in playbook_files()}
    assert {p for robots in pools.values() for r in robots for p in r.playbooks} <= names


def test_a_robot_in_two_pools_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "robots.yaml"
    file.write_text(
        "pools:\n  a:\n    - {robot: r1, playbooks: [x]}\n  b:\n    - {robot: r1, playbooks: [x]}\n"
        "    - {robot: r2, slots: 2, playbooks: [x]}\n",
        encoding="utf-8",
    )
    with pytest.raises(InvalidFile, match=r"robots.yaml:5: robot 'r1' is in pool 'a' already"):
        load_robots(file)
    file.write_text("pools: {a: [{robot: r1, slots: 0, playbooks: [x]}]}", encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"robots.yaml:1: pools.a.0.slots"):
        load_robots(file)


@pytest.mark.parametrize(
    ("condition", "profile", "holds"),
    [
        ({"level": ["vip"]}, {"level": "vip"}, True),
        ({"level": ["vip"]}, {}, False),
        ({"tags": ["a", "b"]}, {"tags": ["b"]}, True),
        ({"tags": ["a"]}, {"tags": "a"}, False),
        ({"purchases_at_least": 2}, {"purchases": 2}, True),
        ({"purchases_at_least": 2}, {"purchases": None}, False),
        ({"answered_calls_at_least": 1, "level": ["vip"]}, {"answered_calls": 3}, False),
        ({"last_emotion": ["angry"]}, {"last_emotion": "angry"}, True),
    ],
)  # fmt: skip
def test_conditions(condition: dict[str, object], profile: dict[str, object], holds: bool) -> None:
    assert fits(Condition.model_validate(condition), profile) is holds


def test_prompts_use_words_that_the_demo_recogniser_knows() -> None:
    known = set((root() / "tests/unit/robots/prompt_characters.txt").read_text(encoding="utf-8"))
    book = load_file(root() / "playbooks" / "promotion.yaml").playbook
    for prompt in book.prompts.values():
        for text in prompt.all_texts:
            assert set(text) <= known, set(text) - known
