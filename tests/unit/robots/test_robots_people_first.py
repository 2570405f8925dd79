"""Nobody is wronged by a word: what must not, and what must, opt out, promise, pay or disclose.

The sentences in `sentences_*.yaml` were written before the playbooks' words were read.
"""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.settings import root
from ringlog.yaml_source import InvalidFile
from schemas.events import Directive
from streams.robots.dialogue import decide
from streams.robots.evidence import confirms_identity, evidence_of, is_announcement
from streams.robots.inputs import Input, Scene
from streams.robots.library import Library
from streams.robots.loading import load
from streams.robots.playbook import Playbook
from streams.robots.state import CallFacts, Dialogue
from streams.robots.understanding import Understander
from tests.unit.robots.robot_talk import START_MS, Log, kinds, published, script_of, texts

PLAYBOOKS = root() / "playbooks"
HERE = root() / "tests" / "unit" / "robots"
SENTENCES = {
    name: yaml.safe_load((HERE / f"sentences_{name}.yaml").read_text(encoding="utf-8"))
    for name in ("collections", "promotion")
}
BINDING_OUTCOMES = {"opted_out", "promised", "says_paid", "interested"}
IRREVERSIBLE = {"opt_out", "promise_to_pay", "already_paid"}
OUTCOME = {"opt_out": "opted_out", "promise_to_pay": "promised", "already_paid": "says_paid"}
DEBT = re.compile(r"还款|还清|贷款|逾期|应还|征信|分期|还没有还")


@lru_cache
def library(name: str) -> Library:
    made = Library()
    made.evolve(published(load((PLAYBOOKS / f"{name}.yaml").read_text(encoding="utf-8"))))
    return made


def call(name: str, *said: str, profile: str = "{}") -> Log:
    """A call in which the customer has said all of it but hears the robot's last answer."""
    log = Log(library=library(name))
    log.dial(profile, playbook=name, robot_id="r1")
    log.play(log.answer())
    for text in said:
        log.play(log.say(text))
    return log


def spellings(text: str) -> list[str]:
    """As written, and as a recogniser writes it: without punctuation, with spaces."""
    plain = re.sub(r"[，。？！]", "", text)
    return [text, plain, " ".join(plain)]


@lru_cache
def disclosing(name: str) -> frozenset[str]:
    """The prompts of a playbook that tell of a debt."""
    book = load((PLAYBOOKS / f"{name}.yaml").read_text(encoding="utf-8")).playbook
    return frozenset(prompt_id for prompt_id, prompt in book.prompts.items() if prompt.discloses)


def disclosed(name: str, directives: list[Directive]) -> bool:
    return any(d.prompt_id in disclosing(name) for d in directives)


def wrongs(log: Log, answer: list[Directive]) -> list[str]:
    """What the last turn did to the customer that their words did not ask for."""
    turn, found = log.turns[-1], []
    if turn.outcome in BINDING_OUTCOMES:
        found.append(f"outcome {turn.outcome}")
    if turn.meaning in IRREVERSIBLE:
        found.append(f"meaning {turn.meaning}")
    found += [f"slot {s}" for s in turn.slots if s.startswith(("promise", "opt_out"))]
    found += [f"hangup {d.reason}" for d in answer if d.reason in BINDING_OUTCOMES]
    found += ["a message" for d in answer if d.kind == "message"]
    return found


def test_there_are_as_many_sentences_as_the_bar_asks_for() -> None:
    collections, promotion = SENTENCES["collections"], SENTENCES["promotion"]
    assert sum(len(v) for v in collections["must_not"].values()) >= 60
    assert sum(len(v) for v in collections["must"].values()) >= 20
    assert len(set(promotion["must_not"])) >= 60
    assert sum(len(v) for v in promotion["must"].values()) >= 20


@pytest.mark.parametrize("sentence", SENTENCES["collections"]["must_not"]["identity"])
def test_who_has_not_confirmed_hears_nothing_of_a_debt(sentence: str) -> None:
    for text in spellings(sentence):
        log = call("collections")
        answer = log.say(text)
        assert wrongs(log, answer) == []
        assert not disclosed("collections", answer), texts(answer)
        assert not any(DEBT.search(t) for t in texts(answer))
        assert "identity" not in log.turns[-1].slots


@pytest.mark.parametrize(
    "sentence",
    SENTENCES["collections"]["must_not"]["payment"]
    + SENTENCES["collections"]["must_not"]["identity"],
)
def test_nobody_promises_pays_or_opts_out_by_other_words(sentence: str) -> None:
    for before in (["是的"], ["是的", "没钱"]):
        for text in spellings(sentence):
            log = call("collections", *before)
            assert wrongs(log, log.say(text)) == []


@pytest.mark.parametrize(
    ("meaning", "sentence"),
    [(m, s) for m, all_of in SENTENCES["collections"]["must"].items() for s in all_of],
)
def test_collections_acts_on_words_that_mean_it(meaning: str, sentence: str) -> None:
    for text in spellings(sentence):
        if meaning == "confirms_identity":
            log = call("collections")
            assert disclosed("collections", log.say(text)), text
            assert log.turns[-1].slots["identity"] == "confirmed"
        else:
            acts(call("collections", "是的"), text, meaning, OUTCOME[meaning])


def acts(log: Log, text: str, meaning: str, outcome: str) -> None:
    """The robot acts at once, or after it has asked back and heard 对."""
    log.play(log.say(text))
    if log.turns[-1].asked is not None:
        assert log.turns[-1].asked == meaning
        assert log.turns[-1].outcome is None
        log.say("对")
    assert (log.turns[-1].meaning, log.turns[-1].outcome) == (meaning, outcome), text


@pytest.mark.parametrize("sentence", SENTENCES["promotion"]["must_not"])
def test_promotion_binds_nobody_by_other_words(sentence: str) -> None:
    ways: tuple[list[str], ...] = (
        [],
        ["可以"],
        ["可以", "太贵了"],
        ["可以", "太贵了", "太贵了"],
        ["可以", "多少钱"],
    )
    for before in ways:
        for text in spellings(sentence):
            log = call("promotion", *before)
            assert wrongs(log, log.say(text)) == [], before


@pytest.mark.parametrize(
    ("meaning", "sentence"),
    [(m, s) for m, all_of in SENTENCES["promotion"]["must"].items() for s in all_of],
)
def test_promotion_acts_on_words_that_mean_it(meaning: str, sentence: str) -> None:
    for text in spellings(sentence):
        log = call("promotion", "可以", "多少钱")
        if meaning == "opt_out":
            acts(log, text, "opt_out", "opted_out")
            assert log.turns[-1].slots["opt_out_words"] == text
        else:
            log.say(text)
            assert log.turns[-1].outcome == "interested", text


@pytest.mark.parametrize("said", ["不要再打了", "别再打给我", "以后不要再打给我", "不要在打了"])
@pytest.mark.parametrize("name", ["collections", "promotion"])
def test_a_clear_opt_out_is_obeyed_at_once_anywhere(name: str, said: str) -> None:
    for before in ([], ["是的"]):
        log = call(name, *before)
        answer = log.say(said)
        assert log.turns[-1].outcome == "opted_out"
        assert kinds(answer) == ["say", "hangup"]
        assert answer[-1].reason == "opted_out"


@pytest.mark.parametrize(
    "said", ["骗子", "你们天天打", "别打扰我", "现在别打了", "你怎么有我的号码", "今天不要再打了"]
)
def test_a_vague_word_is_asked_back_and_a_yes_opts_out_with_the_first_words(said: str) -> None:
    log = call("promotion", "可以")
    answer = log.say(said)
    assert texts(answer) == ["请问您是说以后不要再联系您了，对吗"]
    turn = log.turns[-1]
    assert (turn.asked, turn.meaning, turn.outcome) == ("opt_out", None, None)
    log.play(answer)
    log.say("对的")
    turn = log.turns[-1]
    assert (turn.outcome, turn.meaning, turn.intent) == ("opted_out", "opt_out", "stop_calling")
    assert turn.slots["opt_out_words"] == said


@pytest.mark.parametrize("answer", ["不是", "没有", "嗯", "什么意思", "对吗", "谁说的"])
def test_anything_but_yes_to_what_was_asked_back_binds_nobody(answer: str) -> None:
    log = call("promotion", "可以", "骗子")
    assert log.turns[-1].asked == "opt_out"
    assert wrongs(log, log.say(answer)) == []


def test_a_yes_to_a_later_question_confirms_nothing_of_before() -> None:
    log = call("promotion", "可以", "骗子", "养老保险怎么交", "对")
    assert "opted_out" not in [t.outcome for t in log.turns]


def test_whoever_is_never_understood_is_not_asked_back_for_ever() -> None:
    log = call("promotion", "可以")
    for _ in range(8):
        if log.shard.calls["call-1"].state.finished:
            break
        log.play(log.say("骗子"))
    assert log.shard.calls["call-1"].state.finished
    assert "opted_out" not in [t.outcome for t in log.turns]


def test_a_promise_keeps_the_certain_day_only() -> None:
    log = call("collections", "是的", "我明天下午三点还款")
    assert log.turns[-1].slots["promise_to_pay"] == "2025-06-16 15:00"
    log = call("collections", "是的", "我会按时还款的")
    assert log.turns[-1].outcome == "promised"
    assert "promise_to_pay" not in log.turns[-1].slots
    log = call("collections", "是的", "后天可以吗")
    assert log.turns[-1].asked == "promise_to_pay"
    log.say("是的")
    assert log.turns[-1].slots["promise_to_pay"] == "2025-06-17"
    assert log.turns[-1].outcome == "promised"


def test_a_day_that_was_named_for_something_else_is_not_promised() -> None:
    log = call("collections", "是的", "我明天要出差你说慢一点", "好的")
    assert "promised" not in [t.outcome for t in log.turns]


@pytest.mark.parametrize("text", ["是的", "是我", "对"])
def test_a_yes_before_the_question_was_heard_confirms_nothing(text: str) -> None:
    log = Log(library=library("collections"))
    log.dial(playbook="collections", robot_id="r1")
    (greeting,) = log.answer()
    assert not disclosed("collections", log.say(text))
    log.start(greeting)
    assert not disclosed("collections", log.say(text))
    log.end(greeting, 0)
    assert not disclosed("collections", log.say(text))


# -- amounts


def test_no_amount_is_spoken_and_the_message_takes_it_from_the_profile() -> None:
    book = load((PLAYBOOKS / "collections.yaml").read_text(encoding="utf-8")).playbook
    for prompt in book.prompts.values():
        assert not re.search(r"[一二三四五六七八九十百千万\d]+元", " ".join(prompt.all_texts))
    sent = message_for('{"attributes": {"amount_due": "1234.50"}}')
    assert sent == "您本期应还金额是1234.50元，请您尽快还款"


@pytest.mark.parametrize(
    "profile",
    ["{}", '{"attributes": {}}', '{"attributes": {"amount_due": " "}}', '{"attributes": "5000"}',
     '{"attributes": {"amount_due": {"x": 1}}}', '{"attributes": {"amount_due": true}}',
     '{"attributes": {"amount_due": "\\u0000"}}',
     f'{{"attributes": {{"amount_due": "{"9" * 99}"}}}}'],
)  # fmt: skip
def test_a_profile_without_an_amount_gets_a_message_without_one(profile: str) -> None:
    assert message_for(profile) == "请您按约定的时间还款，金额以您的账单为准"


def message_for(profile: str) -> str | None:
    log = call("collections", "是的", profile=profile)
    (message,) = [d for d in log.say("我明天还款") if d.kind == "message"]
    return message.text


def test_braces_in_an_attribute_are_no_placeholders() -> None:
    assert "{name}" in (message_for('{"attributes": {"amount_due": "{name}"}}') or "")


# -- no way tells a debt to somebody unknown

_SAID = st.one_of(
    st.sampled_from(
        [s for group in SENTENCES["collections"]["must_not"].values() for s in group]
        + [s for group in SENTENCES["collections"]["must"].values() for s in group]
        + ["转人工", "我在开车", "利息是多少", "我欠多少", "投诉", "有病", "", "好的", "我没欠钱"]
    ),
    st.text(alphabet="是我对不你他吗还款了明天嗯好，", max_size=8),
)
_INPUTS = st.lists(
    st.one_of(
        _SAID.map(lambda text: ("final", text)),
        st.sampled_from(["0", "5"]).map(lambda digits: ("dtmf", digits)),
        st.just(("silence", "")),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(_INPUTS, st.booleans())
def test_no_way_through_collections_tells_a_debt_before_the_identity_is_confirmed(
    inputs: list[tuple[str, str]], heard: bool
) -> None:
    log = Log(library=library("collections"))
    log.dial(playbook="collections", robot_id="r1")
    answer = log.answer()
    confirmed = False
    for kind, value in inputs:
        log.play(answer, heard_ms=2_000 if heard else 0)
        if kind == "silence":
            answer = log.wait(7_000)
        elif kind == "dtmf":
            log.write("calls.events", log.event("dtmf", digits=value))
            answer = log.speak()
        else:
            answer = log.say(value)
            confirmed = confirmed or (heard and confirms_identity(value))
        if not confirmed:
            assert not any(DEBT.search(d.text or "") for d in answer), (inputs, texts(answer))
            assert log.turns[-1].outcome not in {"promised", "says_paid"}


def test_the_last_door_is_shut_even_in_a_playbook_that_nobody_checked() -> None:
    """A book made past the loader whose first prompt discloses says nothing."""
    book = load((PLAYBOOKS / "collections.yaml").read_text(encoding="utf-8"))
    wrong = book.playbook.model_copy(update={"start": "remind"})
    scene = Scene(
        replace(book, playbook=wrong), Understander.of(wrong), "cmn-latn-pinyin", {}, "test", 1
    )
    given = Input("answered", "a" * 32, START_MS)
    decision = decide(Dialogue(), CallFacts("c", answered=True), given, scene, START_MS)
    assert decision.directives == ()


COLLECTIONS = (PLAYBOOKS / "collections.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("{confirms: identity, to: remind}", "{intent: hello, to: remind}",
         "on the way greeting > remind; lead there behind a transition with `confirms: identity`"),
        ("start: greeting", "start: instalments", "prompt 'instalments' tells of a debt"),
        ("unclear: {prompt: reprompt, max: 2, then: transfer}",
         "unclear: {prompt: reprompt, max: 2, then: remind}", "greeting > remind"),
        ("unclear: {prompt: reprompt", "unclear: {prompt: credit", "prompt 'credit' tells of"),
        ("{intent: ask_interest, requires: identity,", "{intent: ask_interest,",
         "prompt 'credit' tells of a debt"),
        ("{intent: busy, to: callback}", "{slot: date, ask_back: promise_to_pay}",
         "prompt 'confirm_promise' tells of a debt"),
        ("  credit:\n    discloses: true\n", "  credit:\n", "'credit' speaks of a debt (还款)"),
        ("      discloses: true\n", "", "the message of 'promised' speaks of a debt (应还)"),
        ("{intent: promise, to: promised}", "{intent: affirm, to: promised}",
         "a way leads to 'promised' (promise_to_pay) without words that mean it"),
        ("{intent: [deny, third_party], to: wrong_person}", "{intent: deny, to: opted_out}",
         "a way leads to 'opted_out' (opt_out) without words that mean it"),
        ("silence: {prompt: reprompt, max: 1, then: no_response}",
         "silence: {prompt: reprompt, max: 1, then: opted_out}", "leads to 'opted_out' (opt_out)"),
        ("  already_paid: confirm_paid\n", "", "already_paid cannot be undone, and nothing asks"),
        ("examples: [不要再打了, 别再打了]", "examples: [不要再打了, 我的电话]",
         "'我的电话' does not say opt_out for certain"),
        ("meaning: opt_out", "meaning: optout", "intents.stop_calling.meaning"),
        ("text: 请稍等，正在为您转接", 'text: "请稍等，{name}"',
         "prompt 'transferring' has a {value}"),
        ("{dtmf: \"0\", to: transfer}", "{confirms: identity, to: remind}",
         "`confirms` answers the question of its own node"),
    ],
)  # fmt: skip
def test_an_unsafe_playbook_is_refused(old: str, new: str, fault: str) -> None:
    assert old in COLLECTIONS
    with pytest.raises(InvalidFile) as caught:
        load(COLLECTIONS.replace(old, new, 1), "p.yaml")
    found = [str(p) for p in caught.value.problems]
    assert any(fault in f and f.startswith("p.yaml:") for f in found), found


def test_a_next_chain_to_an_opt_out_is_refused() -> None:
    old = "    outcome: wrong_person\n    hangup: completed\n"
    text = COLLECTIONS.replace(old, "    next: opted_out\n")
    assert text != COLLECTIONS
    with pytest.raises(InvalidFile, match="a way leads to 'wrong_person'"):
        load(text)


# -- the rules


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.sampled_from(sorted(IRREVERSIBLE)))
def test_any_text_can_be_judged(text: str, meaning: str) -> None:
    assert evidence_of(meaning, text) in {None, "vague", "clear"}
    assert confirms_identity(text) in {True, False}
    assert is_announcement(text) in {True, False}


def book_of(name: str) -> Playbook:
    return script_of(PLAYBOOKS / f"{name}.yaml").playbook


def test_every_irreversible_meaning_is_declared_where_the_outcome_is() -> None:
    declared: dict[str, Any] = {
        name: {i.meaning for i in book_of(name).intents.values()} for name in SENTENCES
    }
    assert declared["collections"] >= IRREVERSIBLE
    assert "opt_out" in declared["promotion"]
