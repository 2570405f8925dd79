"""Emotion from words: small lists, which a playbook may add to."""

from collections.abc import Mapping, Sequence

NEUTRAL = "neutral"

WORDS: dict[str, tuple[str, ...]] = {
    "angry": (
        "投诉", "骗子", "举报", "不要再打", "别再打", "烦死", "很烦", "太过分", "有完没完", "滚",
        "不满意",
    ),
    "anxious": ("着急", "很急", "快一点", "担心", "害怕"),
    "sad": ("没钱", "没有钱", "失业", "困难", "难过"),
    "happy": ("非常满意", "太好了", "谢谢", "很好", "不错", "开心"),
}  # fmt: skip
"""Checked in this order: the first emotion with a word in the text wins."""

_NEGATIONS = "不没别"


def emotion_of(text: str, more: Mapping[str, Sequence[str]] = WORDS) -> str:
    """Emotion of a text without spaces or punctuation; a negated word does not count."""
    for emotion in dict.fromkeys([*WORDS, *more]):
        for word in (*more.get(emotion, ()), *WORDS.get(emotion, ())):
            at = text.find(word)
            if at >= 0 and not (at > 0 and text[at - 1] in _NEGATIONS):
                return emotion
    return NEUTRAL
