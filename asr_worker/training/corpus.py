"""Texts of the training and test sets, and what is given to the synthesiser.

A sentence is a list of words: a Chinese word ("价格"), an English word ("price"), or "," for a
pause. Tokens are Chinese characters and whole English words; the latter are written with a leading
"▁", which sherpa-onnx prints as a space.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from ringlog.audio.espeak import with_readings

DATA = Path(__file__).with_name("data")
PAUSE = ","
BLANK = "<blk>"

Words = list[str]
Random = np.random.Generator


def read_lines(name: str) -> list[Words]:
    """Sentences of a data file; lines that begin with # are comments."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


CUSTOMER, ROBOT = read_lines("customer_zh.txt"), read_lines("robot_zh.txt")
ENGLISH = read_lines("english.txt")
HELDOUT_ZH, HELDOUT_EN = read_lines("heldout_zh.txt"), read_lines("heldout_en.txt")
_EXTRA = [word for line in read_lines("words_zh.txt") for word in line]
_SCRIPTS = CUSTOMER + ROBOT
ZH_WORDS = sorted({w for line in _SCRIPTS for w in line if w != PAUSE} | set(_EXTRA))
LONG_WORDS = [word for word in ZH_WORDS if len(word) > 1]
EN_WORDS = sorted({word for line in ENGLISH + HELDOUT_EN for word in line})


def is_english(words: Words) -> bool:
    """Whether a sentence is English, by its first word."""
    return re.match(r"[a-z']", words[0]) is not None


def tokens_of(words: Words) -> list[str]:
    """The tokens that the model is to give."""
    tokens: list[str] = []
    for word in words:
        if word != PAUSE:
            tokens += ["▁" + word] if word[0].isascii() else list(word)
    return tokens


def text_of(words: Words) -> str:
    """The text as sherpa-onnx prints it, stripped."""
    return "".join(tokens_of(words)).replace("▁", " ").strip()


def vocabulary() -> list[str]:
    """All tokens; the position is the id, 0 the blank."""
    characters = {c for word in ZH_WORDS for c in word}
    return [BLANK, *sorted(characters), *("▁" + word for word in EN_WORDS)]


HELDOUT_TEXTS = frozenset(text_of(line) for line in HELDOUT_ZH + HELDOUT_EN)


def spoken(words: Words, fix_readings: bool) -> str:
    """The text for the synthesiser."""
    if is_english(words):
        return " ".join(words)
    text = "".join("，" if word == PAUSE else word for word in words)
    return with_readings(text) if fix_readings else text


# Numbers, dates and phone numbers

DIGITS = "零一二三四五六七八九"
_ONES = "一两三四五六七八九"


def number(n: int) -> str:
    """0..99999 in Chinese characters (二 throughout, no 两)."""
    if n < 10:
        return DIGITS[n]
    text, gap = "", False
    for unit, name in ((10_000, "万"), (1_000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, unit)
        if digit:
            text += "零" if gap and text else ""
            gap = False
            bare_ten = digit == 1 and name == "十" and not text
            text += ("" if bare_ten else DIGITS[digit]) + name
        elif text:
            if n == 0:
                break
            gap = True
    return text


def _amount(random: Random) -> str:
    sizes = (
        random.integers(1, 100),
        random.integers(1, 100) * 10,
        random.integers(1, 100) * 100,
        random.integers(1, 10_000),
    )
    return number(int(random.choice(sizes)))


def _day(random: Random) -> str:
    date = f"{number(int(random.integers(1, 13)))}月{number(int(random.integers(1, 32)))}号"
    weekday = "星期" + str(random.choice(list("一二三四五六天")))
    return str(
        random.choice(["今天", "明天", "后天", "昨天", "周末", "下个月", weekday, date])
    )  # fmt: skip


def _hour(random: Random) -> str:
    part = str(random.choice(["上午", "下午", "晚上", "早上", "中午", ""]))
    hour = str(random.choice([*_ONES, "十", "十一", "十二"]))
    return part + hour + "点" + str(random.choice(["", "", "半"]))


def _digits(random: Random, count: int) -> str:
    return "".join(random.choice(list(DIGITS + "幺"), count))


_TEMPLATES = (
    "{day}{hour}可以吗", "{day}{hour}", "{hour}", "{day}还款", "{day}再还", "我{day}还",
    "预约{day}{hour}", "{day}不行", "{amount}元", "{amount}块钱", "{amount}", "一共{amount}元",
    "应还{amount}元", "我还{amount}", "价格是{amount}元", "首单立减{amount}元", "会员{digit}折",
    "{digit}折优惠", "手机号码是{phone}", "号码{d4}", "{d4}", "{d6}", "{phone}",
    "身份证号码是{d6}", "逾期{digit}天", "逾期{digit}个月", "分{digit}期", "利息百分之{digit}",
    "请按{digit}", "{digit}个月", "{digit}年", "{digit}次", "余额是{amount}元", "贷款{amount}万",
    "{amount}元太贵了", "{amount}太高了",
)  # fmt: skip
_TOPICS = (
    "优惠", "折扣", "会员", "贷款", "社保", "公积金", "养老保险", "医疗保险", "身份证", "居住证",
    "订单", "退款", "分期", "利息", "活动", "预约", "短信", "微信", "地址", "发票", "价格", "费用",
    "证件", "业务", "银行", "产品", "质量", "材料",
)  # fmt: skip
_TOPIC_FRAMES = (
    "我要{t}", "我想查询{t}", "我要办理{t}", "请问{t}怎么办理", "有没有{t}", "我没有{t}",
    "{t}是多少", "{t}太高了", "什么{t}", "你们的{t}", "我不需要{t}", "介绍一下{t}", "我想了解{t}",
    "取消{t}", "{t}在哪里", "为什么没有{t}", "{t}什么时候到", "请您核对{t}", "我的{t}", "这个{t}",
    "那个{t}不行", "{t}可以吗", "{t}和{u}", "{t}还是{u}", "我已经有{t}了", "不是{t}是{u}",
)  # fmt: skip

_SLOTS: Mapping[str, Callable[[Random], str]] = {
    "day": _day,
    "hour": _hour,
    "amount": _amount,
    "digit": lambda random: str(random.choice(list(_ONES))),
    "phone": lambda random: "幺" + _digits(random, 10),
    "d4": lambda random: _digits(random, 4),
    "d6": lambda random: _digits(random, 6),
    "t": lambda random: str(random.choice(_TOPICS)),
    "u": lambda random: str(random.choice(_TOPICS)),
}


def _fill(random: Random, template: str) -> Words:
    return [re.sub(r"\{(\w+)\}", lambda found: _SLOTS[found[1]](random), template)]


@lru_cache(maxsize=2)
def _followers(english: bool) -> dict[str, list[str]]:
    """What follows each word in the scripts; "" is the begin and the end of a line."""
    table: dict[str, list[str]] = {}
    for line in ENGLISH if english else _SCRIPTS:
        words = [word for word in line if word != PAUSE]
        for a, b in zip(["", *words], [*words, ""], strict=True):
            table.setdefault(a, []).append(b)
    return table


def _walk(random: Random, english: bool, jump: float) -> Words:
    """A random walk over the word pairs of the scripts, which at times jumps to any word."""
    table = _followers(english)
    words = sorted(word for word in table if len(word) > 1 or word == "i")
    sentence: Words = []
    word = ""
    for _ in range(8):
        follows = table[word]
        jumps = random.random() < jump
        word = str(random.choice(words)) if jumps else follows[random.integers(len(follows))]
        if word:
            sentence.append(word)
        elif len(sentence) > 1 or random.random() < 0.3:
            break
    return sentence or [words[0]]


def _splice(random: Random) -> Words:
    """Pieces of real lines, one after the other."""
    sentence: Words = []
    for _ in range(random.integers(1, 4)):
        line = _SCRIPTS[random.integers(len(_SCRIPTS))]
        at = 0 if random.random() < 0.5 else int(random.integers(len(line)))
        sentence += line[at : at + int(random.integers(1, 6))]
    last = len(sentence) - 1
    return [w for i, w in enumerate(sentence) if w != PAUSE or 0 < i < last] or ["好"]


def _english(random: Random) -> Words:
    if random.random() < 0.2:
        return [str(word) for word in random.choice(EN_WORDS, random.integers(1, 6))]
    return _walk(random, english=True, jump=0.15)


GENERATORS: Mapping[str, Callable[[Random], Words]] = {
    "template": lambda random: _fill(random, str(random.choice(_TEMPLATES))),
    "topic": lambda random: _fill(random, str(random.choice(_TOPIC_FRAMES))),
    # Long words only: short ones have homophones that no order of words tells apart.
    "salad": lambda random: [str(w) for w in random.choice(LONG_WORDS, random.integers(1, 5))],
    "splice": _splice,
    "walk": lambda random: _walk(random, english=False, jump=0.12),
    "english": _english,
}


def training_texts(random: Random, counts: Mapping[str, int]) -> list[Words]:
    """Sentences to train on, none of them held out.

    `counts` has repetitions per line for customer, robot and english_line, and totals for the
    `GENERATORS`.
    """
    texts: list[Words] = []
    for kind, lines in (("customer", CUSTOMER), ("robot", ROBOT), ("english_line", ENGLISH)):
        texts += [line for line in lines for _ in range(counts.get(kind, 0))]
    for kind, generate in GENERATORS.items():
        made = 0
        while made < counts.get(kind, 0):
            sentence = generate(random)
            if text_of(sentence) not in HELDOUT_TEXTS:
                texts.append(sentence)
                made += 1
    return texts
