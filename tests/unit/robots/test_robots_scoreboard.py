"""The scoreboard: sentences that nothing was tuned on, and what it counts."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from ringlog.settings import root
from ringlog.yaml_source import InvalidFile
from streams.robots.heldout import Sentence, file_of, load_heldout
from streams.robots.loading import load_file
from streams.robots.phonetic import normalise
from streams.robots.publish import playbook_files
from streams.robots.scoreboard import evaluate, interval
from streams.robots.understanding import Understanding

FILES = sorted((root() / "playbooks").glob("*/heldout.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.parent.name)
def test_at_least_200_sentences_and_a_third_of_them_hard(path: Path) -> None:
    sentences = load_heldout(path)
    assert len(sentences) >= 200
    assert sum(s.kind != "plain" for s in sentences) * 3 >= len(sentences)
    kinds = {"plain", "negation", "question", "filler", "homophone", "off_topic"}
    assert {s.kind for s in sentences} == kinds


def test_no_held_out_sentence_stands_in_any_example() -> None:
    held_out = {normalise(s.text) for path in FILES for s in load_heldout(path) if len(s.text) > 2}
    for path in playbook_files():
        for name, intent in load_file(path).playbook.intents.items():
            known = {normalise(e) for e in (*intent.examples, *intent.keywords)}
            assert not known & held_out, f"{path.name}: {name}"


@pytest.mark.parametrize("path", [p for p in playbook_files() if file_of(p).exists()],
                         ids=lambda p: p.stem)  # fmt: skip
def test_the_nodes_are_the_playbooks(path: Path) -> None:
    nodes = load_file(path).playbook.nodes
    assert {s.node for s in load_heldout(file_of(path))} <= nodes.keys()


def test_what_is_right_what_is_asked_again_and_what_does_harm() -> None:
    taken = {
        "a": Understanding("yes", 0.9, meaning="affirm"),
        "b": Understanding("unclear", 0.2, meaning="unclear"),
        "c": Understanding("stop", 1.0, meaning="opt_out"),
        "d": Understanding("stop", 0.6, meaning="opt_out", certain=False),
        "e": Understanding("no", 0.7, meaning="reject"),
    }
    sentences = [
        Sentence("a", "n", "plain", ("affirm",)),
        Sentence("b", "n", "plain", ("affirm",)),
        Sentence("c", "n", "negation", ("busy_callback", "affirm")),
        Sentence("d", "n", "negation", ("busy_callback",)),
        Sentence("e", "n", "plain", ("opt_out",)),
    ]
    found = evaluate(lambda s: taken[s.text], sentences)
    assert (found.accuracy, found.coverage) == (0.2, 0.8)
    assert [v.cost for v in found.judged] == [0, 1, 20, 1, 20]
    assert [v.sentence.text for v in found.judged if v.harms] == ["c"]
    assert found.by_kind() == {"plain": (1, 3), "negation": (0, 2)}
    assert found.confused()["busy_callback", "opt_out"] == 2
    assert sum(n for _, _, n in found.calibration()) == 4


def test_the_interval_of_a_share() -> None:
    low, high = interval(0.5, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
    assert interval(0.0, 0) == (0.0, 1.0)


def test_a_sentence_that_is_there_twice_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "heldout.yaml"
    path.write_text("sentences:\n- {node: a, meaning: affirm, texts: [x, x]}\n", encoding="utf-8")
    with pytest.raises(InvalidFile, match="there twice"):
        load_heldout(path)


def test_the_command_prints_a_scoreboard_of_each_playbook() -> None:
    result = CliRunner().invoke(cli, ["playbook", "evaluate"])
    assert result.exit_code == 0
    assert {line.partition(":")[0] for line in result.output.splitlines() if line[0] != " "} == {
        p.stem for p in playbook_files() if file_of(p).exists()
    }
