"""Edit distance, the measure of all error rates here."""

import re
from collections.abc import Sequence


def units(text: str) -> list[str]:
    """Characters of Chinese, words of English."""
    return re.findall(r"[a-z']+|[^\sa-z']", text.lower())


def edits(heard: Sequence[object], wanted: Sequence[object]) -> int:
    """Levenshtein distance."""
    row = list(range(len(wanted) + 1))
    for i, x in enumerate(heard, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(wanted, 1):
            substituted = diagonal + (x != y)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, substituted)
    return row[-1]
