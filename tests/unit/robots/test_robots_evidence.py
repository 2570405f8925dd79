"""The rules of `streams.robots.evidence`, with neighbours that look like what they are not."""

import pytest
import yaml

from ringlog.settings import root
from streams.robots.evidence import agrees, confirms_identity, evidence_of

_FILE = root() / "tests" / "unit" / "robots" / "evidence.yaml"
SAYINGS: dict[str, dict[str, list[str]]] = {
    rule: {verdict: " ".join(lines).split() for verdict, lines in by_verdict.items()}
    for rule, by_verdict in yaml.safe_load(_FILE.read_text(encoding="utf-8")).items()
}


def sayings(*rules: str) -> list[tuple[str, str, str]]:
    """(rule, saying, verdict)"""
    return [
        (rule, text, verdict)
        for rule in rules
        for verdict, texts in SAYINGS[rule].items()
        for text in texts
    ]


@pytest.mark.parametrize(
    ("meaning", "text", "verdict"), sayings("opt_out", "promise_to_pay", "already_paid")
)
def test_what_words_prove(meaning: str, text: str, verdict: str) -> None:
    assert (evidence_of(meaning, text) or "nothing") == verdict


@pytest.mark.parametrize(("rule", "text", "verdict"), sayings("confirms_identity", "agrees"))
def test_what_is_a_yes(rule: str, text: str, verdict: str) -> None:
    says_yes = {"confirms_identity": confirms_identity, "agrees": agrees}[rule]
    assert says_yes(text) is (verdict == "yes")
    assert not says_yes("") and not says_yes("，")
