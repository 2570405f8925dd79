"""Understands a customer's words: intent, meaning, confidence, emotion, slots. Pure, without a
network.

Every intent is scored by its keywords (found anywhere, by characters or by sound) and by its
example utterances (compared as wholes); the best score over `THRESHOLD` wins. An intent that
cannot be undone is certain only on `clear` evidence (`streams.robots.evidence`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from streams.robots.emotions import NEUTRAL, emotion_of
from streams.robots.evidence import evidence_of
from streams.robots.meanings import BINDING, IRREVERSIBLE
from streams.robots.phonetic import Syllables, found_in, likeness, normalise, syllables
from streams.robots.playbook import Intent, Playbook
from streams.robots.slots import CHINA, slots_of
from streams.robots.speech_acts import Act, act_of, acts_of, repaired

UNCLEAR = "unclear"
THRESHOLD = 0.55
"""A lower score is `unclear`."""

MARGIN = 0.1
"""Least lead over the next intent for certainty about what cannot be undone."""

_VAGUE = 0.6
"""Score of an intent that the robot asks back about."""

_YES_ASIDE = 0.1
"""How much less than other keywords a yes counts for."""

_SOUND_ALIKE = 0.75
"""Least likeness of a whole utterance to an example of another sound."""

_KEYWORD_ALIKE = 0.85
"""The same for a keyword within an utterance: stricter, since it is found anywhere."""

_BACKCHANNELS = frozenset("嗯哦啊唔呃额噢喔哎诶欸呀")
_NEGATIONS = frozenset("不没别未无甭")
_HARMLESS = re.compile(r"没问题|没事|没错|不错|不好意思|没关系")
_A_NOT_A = re.compile(r"(.)[不没](?=\1)")


@dataclass(frozen=True, slots=True)
class Understanding:
    """`intent` is "" for nothing said and `unclear` for words that mean nothing known.

    `margin` is the lead over the next intent; `alternatives` are the next ones with their scores.
    What is not `certain` must be asked back before anything is done about it.
    """

    intent: str
    confidence: float
    emotion: str = NEUTRAL
    slots: dict[str, str] = field(default_factory=dict)
    meaning: str | None = None
    margin: float = 0.0
    certain: bool = True
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class _Phrase:
    text: str
    sound: Syllables


@dataclass(frozen=True, slots=True, order=True)
class _Score:
    """Compared in this order: the score, then how many characters it explains."""

    value: float
    explained: int
    clear: bool = True


@dataclass(frozen=True)
class Understander:
    """A playbook's intents, prepared for matching."""

    intents: Mapping[str, Intent]
    emotions: Mapping[str, list[str]]
    _keywords: dict[str, list[_Phrase]] = field(default_factory=dict)
    _examples: dict[str, list[_Phrase]] = field(default_factory=dict)

    @classmethod
    def of(cls, book: Playbook) -> "Understander":
        """Prepares a playbook's intents."""
        made = cls(book.intents, book.emotions)
        for name, intent in book.intents.items():
            made._keywords[name] = [_phrase(k) for k in intent.keywords]
            made._examples[name] = [_phrase(e) for e in intent.examples]
        return made

    def understand(self, text: str, at_ms: int = 0, zone: tzinfo = CHINA) -> Understanding:
        """What the text means; `at_ms` is when it was said, for days such as 明天."""
        said = _phrase(text)
        if not said.text:
            return Understanding("", 0.0)
        best: dict[str, _Score] = {}
        for name, score in self._scores(said, text):
            best[name] = max(score, best.get(name, score))
        ranked = sorted(best.items(), key=lambda item: item[1], reverse=True)
        intent, top = ranked[0] if ranked else (UNCLEAR, _Score(0.0, 0))
        margin = top.value - (ranked[1][1].value if len(ranked) > 1 else 0.0)
        if top.value < THRESHOLD:
            intent = UNCLEAR
        meaning = self._meaning(intent)
        return Understanding(
            intent,
            round(top.value, 3),
            emotion_of(said.text, self.emotions),
            slots_of(text, at_ms, zone),
            meaning,
            round(margin, 3),
            # A clear opt-out is never asked back, whatever else was said.
            top.clear and (margin >= MARGIN or meaning == "opt_out"),
            tuple((n, round(v.value, 3)) for n, v in ranked if n != intent and v.value)[:3],
        )

    def intent_of(self, meaning: str) -> str | None:
        """The first intent with a meaning."""
        return next((n for n, i in self.intents.items() if i.meaning == meaning), None)

    def _meaning(self, intent: str) -> str | None:
        found = self.intents.get(intent)
        return UNCLEAR if intent == UNCLEAR else None if found is None else found.meaning

    def _scores(self, said: _Phrase, text: str) -> list[tuple[str, _Score]]:
        scores = []
        negations = _negations(said.text)
        whole, clauses = act_of(text), acts_of(text)
        for name, intent in self.intents.items():
            if intent.meaning in IRREVERSIBLE:
                scores.append((name, self._irreversible(name, intent, said, whole, text)))
                continue
            binding = intent.meaning in BINDING
            for example in self._examples[name]:
                value = _example_score(said, example, negations)
                if binding and value < 1.0 and not whole.binds:
                    continue
                scores.append((name, _Score(value, round(value * len(said.text)))))
            for keyword in self._keywords[name]:
                value, negated = _keyword_score(said, keyword)
                if not negated:
                    if binding and not _bound(keyword.text, whole, clauses):
                        continue
                    # 好的，再见 is a goodbye: of a yes and of something else, the else counts.
                    value -= _YES_ASIDE if binding else 0.0
                    scores.append((name, _Score(value, len(keyword.text))))
                elif intent.negated is not None:
                    scores.append((intent.negated, _Score(value, len(keyword.text) + 1)))
        return scores

    def _irreversible(
        self, name: str, intent: Intent, said: _Phrase, whole: Act, text: str
    ) -> _Score:
        """The evidence decides; the playbook's own keywords can only make the robot ask back."""
        evidence = evidence_of(intent.meaning or "", text)
        if evidence == "clear":
            return _Score(1.0, len(said.text))
        if evidence is None:
            hints = [_keyword_score(said, keyword) for keyword in self._keywords[name]]
            hinted = any(value > 0 for value, _ in hints)
            if not (hinted and whole.firm) or any(negated for _, negated in hints):
                return _Score(0.0, 0)
        return _Score(_VAGUE, len(said.text), clear=False)


def backchannel_only(text: str) -> bool:
    """Whether there are no words, only «嗯», «哦» and the like (or nothing)."""
    return all(c in _BACKCHANNELS for c in normalise(text))


def _bound(keyword: str, whole: Act, clauses: list[Act]) -> bool:
    """Whether the keyword is in the speaker's own statement and nothing else in the utterance is
    negated: 好的，我不要 is no yes."""
    if _negations(_HARMLESS.sub("", whole.text.replace(keyword, ""))):
        return False
    if whole.binds and not whole.hedged:
        return True
    return any(c.binds and not c.hedged and keyword in c.text for c in clauses)


def _phrase(text: str) -> _Phrase:
    plain = repaired(normalise(text))
    return _Phrase(plain, syllables(plain))


def _negations(text: str) -> int:
    """How often the text negates; a question such as 能不能 does not."""
    return sum(c in _NEGATIONS for c in _A_NOT_A.sub(r"\1", text))


def _example_score(said: _Phrase, example: _Phrase, negations: int) -> float:
    if said.text == example.text:
        return 1.0
    longest = max(len(said.text), len(example.text))
    if abs(len(said.text) - len(example.text)) > (1 - _SOUND_ALIKE) * longest:
        return 0.0
    sound = likeness(said.sound, example.sound)
    if sound == 1.0:
        return 0.98
    # 我需要 is close to 我不需要 and means the contrary.
    if sound < _SOUND_ALIKE or negations != _negations(example.text):
        return 0.0
    return 0.95 * sound


def _keyword_score(said: _Phrase, keyword: _Phrase) -> tuple[float, bool]:
    """(score, whether the match is negated)."""
    length, total = len(keyword.text), len(said.text)
    if not length or length > total + 1:
        return 0.0, False
    covered = 0.7 + 0.28 * min(1.0, length / total)
    negated_score = 0.0
    at = said.text.find(keyword.text)
    while at >= 0:
        question = _in_question(said.text, at, length)
        if not question and not _negated(said.text, at):
            return covered, False
        if not question:
            negated_score = covered
        at = said.text.find(keyword.text, at + 1)
    if negated_score:
        return negated_score, True
    if length < 2 or keyword.text in said.text or not _worth_a_look(said, keyword):
        return 0.0, False
    sound, end = found_in(keyword.sound, said.sound)
    if sound < _KEYWORD_ALIKE or (sound < 1.0 and length < 3):
        return 0.0, False
    start = max(0, end - length)
    piece = said.text[start:end]
    if _negations(piece) != _negations(keyword.text) and sound < 1.0:
        return 0.0, False
    return covered * (0.97 if sound == 1.0 else 0.92 * sound), _negated(said.text, start)


def _worth_a_look(said: _Phrase, keyword: _Phrase) -> bool:
    """Whether enough syllables match at all: each difference costs at least 0.25."""
    most_different = int((1 - _KEYWORD_ALIKE) * len(keyword.sound) / 0.25)
    there = set(said.sound)
    return sum(s in there for s in keyword.sound) >= len(keyword.sound) - most_different


def _negated(text: str, at: int) -> bool:
    """Whether what begins at `at` is negated by the character before it, or by 不太, 不是."""
    before = text[max(0, at - 2) : at]
    if before[-1:] and before[-1] in _NEGATIONS:
        return True
    return len(before) == 2 and before[0] in _NEGATIONS and before[1] in "太是想很用有"


def _in_question(text: str, at: int, length: int) -> bool:
    """Whether the piece is only part of a question such as 要不要, 是不是, 可不可以."""
    for match in _A_NOT_A.finditer(text):
        start, end = match.start(), match.end() + 1
        overlaps = at < end and at + length > start
        contains = at <= start and at + length >= end
        if overlaps and not contains:
            return True
    return False
