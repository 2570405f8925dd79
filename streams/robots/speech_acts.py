"""Whether words are the speaker's own statement: no question, condition, negation or quote.

Rules over characters, for Mandarin. They apply however intents are ranked, because a ban, a
promise, or a debt told to a stranger cannot be undone.
"""

import re
import unicodedata
from dataclasses import dataclass

from streams.robots.phonetic import normalise, syllables

_CLAUSES = re.compile(r"(?<=[?!])|[,.;:，。；：、\n]")
_QUESTION = re.compile(
    r"吗|[呢么嘛]$|什么|怎么|怎样|为何|哪[里个位天些儿]|哪$|多少(?![次遍])|多久|几[点号天时]|谁|"
    r"(.)[不没](?=\1)|能否|是否|可否|(?:可以|能|行)[不没]$"
)
_REQUEST = re.compile(
    r"能不能|可不可以|(?:可以|能)(?=别|不要|不再)|麻烦|拜托|请|(?:可以|行|好|成)(?:吗|不|么|嘛)$|"
    r"(?:行不行|好不好|可不可以)$"
)
_CONDITION = re.compile(
    r"如果|要是|假如|假使|万一|除非|的话|等(?![会下]|一[会下])|即使|就算|有了?钱.{0,2}[再就]|"
    r"[发领]了?(?:工资|钱).{0,2}[再就]|你们?(?!好).{0,4}我就"
)
_SPEAKERS = (
    r"(?:[他她它你您谁妈爸哥姐弟妹]|老婆|老公|爱人|媳妇|儿子|女儿|"
    r"家人|朋友|同事|别人|人家|有人|客服|系统|短信)"
)
_REPORTED = re.compile(
    rf"{_SPEAKERS}们?(?:都|也|就|又|刚才|之前|昨天|[跟和对给]我)?"
    r"(?:说|讲|让|叫|要我|告诉|问|要求|觉得|以为|催|逼|劝|骗|求)"
)
_DENIED = re.compile(
    r"以为|做梦|休想|"
    r"(?:没有?|不|不是|并不|并没有?|别|可没|从没)(?:[在要想])?(?:说|讲|答应|同意|承认|让|叫)(?!话)|"
    r"(?:^|[我也并可])不是(?!我)"
)
_HEDGED = re.compile(
    r"可能|也许|大概|或许|估计|应该|说不定|差不多|看情况|看看|尽量|争取|试试|再说|想想|考虑|不一定|"
    r"打算|希望|好像|差一?点|快要|几乎|未必|想办法|困难|来不及|恐怕|难说|太[早急快多难]|"
    r"本来|原来|上次|那次|以前"
)
_OTHERS = re.compile(
    r"[他她]|老婆|老公|爱人|媳妇|丈夫|妻子|家人|别人|人家|公司|单位|担保人|保险|法院|"
    r"我(?:[爸妈哥姐弟妹]|儿子|女儿|家|朋友|同事|老板)"
)


@dataclass(frozen=True, slots=True)
class Act:
    """How a clause is meant. `text` has its letters and digits only."""

    text: str
    question: bool
    request: bool
    """It asks somebody to do something, perhaps in the form of a question: 能不能别再打了."""
    condition: bool
    reported: bool
    denied: bool
    hedged: bool
    others: bool

    @property
    def binds(self) -> bool:
        """Whether the speaker says it as their own, without a condition. It may be hedged."""
        return not (self.question or self.condition or self.reported or self.denied)

    @property
    def firm(self) -> bool:
        """Whether it binds, is certain, and is about the speaker."""
        return self.binds and not self.hedged and not self.others


def act_of(text: str) -> Act:
    """A text as one clause."""
    plain = repaired(normalise(text))
    return Act(
        text=plain,
        question=bool(_QUESTION.search(plain)) or text.rstrip().endswith(("?", "？")),
        request=bool(_REQUEST.search(plain)),
        condition=bool(_CONDITION.search(plain)),
        reported=bool(_REPORTED.search(plain)),
        denied=bool(_DENIED.search(plain)),
        hedged=bool(_HEDGED.search(plain)),
        others=bool(_OTHERS.search(plain)),
    )


def acts_of(text: str) -> list[Act]:
    """The clauses of an utterance; a recogniser without punctuation gives one, and marks between
    all characters divide nothing."""
    marked = unicodedata.normalize("NFKC", text)
    parts = [part for part in _CLAUSES.split(marked) if normalise(part)]
    if parts and max(len(normalise(part)) for part in parts) == 1:
        return [act_of("".join(parts))]
    return [act_of(part) for part in parts]


def repaired(text: str) -> str:
    """A text with the homophones of 还款 and 还清 that recognisers write (环款) corrected."""
    sounds = syllables(text)
    if len(sounds) != len(text):
        return text
    letters = list(text)
    for i in range(len(text) - 1):
        right = {("huan", "kuan"): "还款", ("huan", "qing"): "还清"}.get(sounds[i : i + 2])  # type: ignore[arg-type]
        if right:
            letters[i : i + 2] = right
    return "".join(letters)
