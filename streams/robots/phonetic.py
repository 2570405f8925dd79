"""How alike two pieces of Mandarin sound: syllables without tones, weighted edit distance.

A recogniser's slips are mostly homophones or near ones (在 for 再, 打声 for 大声), so words are
compared by what they sound like as well as by their characters.
"""

import re
import unicodedata
from functools import lru_cache

from pypinyin import Style, lazy_pinyin

Syllables = tuple[str, ...]

_INITIAL = re.compile(r"^(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw]?)(.*)$")
_ALIKE_INITIALS = {"zh": "z", "ch": "c", "sh": "s", "n": "l", "h": "f", "r": "l"}


def normalise(text: str) -> str:
    """Letters and digits only, lower case, full-width forms made plain."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


@lru_cache(maxsize=8192)
def syllables(text: str) -> Syllables:
    """One entry per character: its syllable without tone, or the character itself."""
    # `list` keeps other characters one by one; the library's types know of text only.
    return tuple(lazy_pinyin(text, style=Style.NORMAL, errors=list))  # type: ignore[arg-type]


@lru_cache(maxsize=16_384)
def difference(a: str, b: str) -> float:
    """0 for the same syllable, 0.25 for a pair that dialects merge, 0.6 for half alike, else 1."""
    if a == b:
        return 0.0
    (initial_a, final_a), (initial_b, final_b) = _parts(a), _parts(b)
    if _merged(initial_a, final_a) == _merged(initial_b, final_b):
        return 0.25
    if final_a == final_b or (initial_a == initial_b and initial_a):
        return 0.6
    return 1.0


def _parts(syllable: str) -> tuple[str, str]:
    match = _INITIAL.match(syllable)
    return (match[1], match[2]) if match else ("", syllable)


def _merged(initial: str, final: str) -> tuple[str, str]:
    return _ALIKE_INITIALS.get(initial, initial), re.sub(r"^([aei])ng$", r"\1n", final)


def likeness(a: Syllables, b: Syllables) -> float:
    """1 for the same sound down to 0 for nothing in common, over whole utterances."""
    longest = max(len(a), len(b))
    if not longest:
        return 0.0
    return 1.0 - _distance(a, b, anywhere=False)[0] / longest


def found_in(word: Syllables, text: Syllables) -> tuple[float, int]:
    """(likeness of the word to the best piece of the text, index behind that piece)."""
    if not word or not text:
        return 0.0, 0
    cost, end = _distance(word, text, anywhere=True)
    return max(0.0, 1.0 - cost / len(word)), end


def _distance(a: Syllables, b: Syllables, *, anywhere: bool) -> tuple[float, int]:
    """Levenshtein distance with `difference` for substitutions; `anywhere`: a may lie anywhere
    in b (Sellers' algorithm)."""
    row = [0.0 if anywhere else float(j) for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        previous, row = row, [float(i)]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j - 1] + difference(x, y), previous[j] + 1.0, row[j - 1] + 1.0))
    if not anywhere:
        return row[-1], len(b)
    end = min(range(len(row)), key=row.__getitem__)
    return row[end], end
