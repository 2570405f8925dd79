"""How well a playbook understands sentences that nothing was tuned on.

A sentence is right when the meaning of the top intent is one of its own. A meaning that cannot be
undone and was not certain is asked back by the robot, so it does no harm where it is wrong.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from streams.robots.heldout import Sentence
from streams.robots.meanings import IRREVERSIBLE
from streams.robots.understanding import UNCLEAR, Understanding

COSTS = {"opt_out": 20, "promise_to_pay": 10, "already_paid": 10}
"""What it costs to act wrongly on a meaning, and to miss one that was meant: a person who asks not
to be called is called again. Another wrong meaning costs 2; being asked again costs 1."""

_WRONG, _ASKED_AGAIN = 2, 1
_BINS = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """A sentence, and what was taken from it."""

    sentence: Sentence
    taken: str
    confidence: float
    certain: bool

    @property
    def right(self) -> bool:
        """Whether it was taken as one of its meanings."""
        return self.taken in self.sentence.right

    @property
    def harms(self) -> bool:
        """Whether the robot would do at once what was not meant and cannot be undone."""
        return self.certain and self.taken in IRREVERSIBLE and not self.right

    @property
    def cost(self) -> int:
        """0 where it is right."""
        if self.right:
            return 0
        if self.harms:
            return COSTS[self.taken]
        if self.taken == UNCLEAR or self.taken in IRREVERSIBLE:
            return _ASKED_AGAIN
        return max(_WRONG, COSTS.get(self.sentence.right[0], 0))


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """All that was judged of one playbook."""

    judged: tuple[Judged, ...]

    @property
    def accuracy(self) -> float:
        """Share of right ones; «not understood» is wrong where something was meant."""
        return _share(v.right for v in self.judged)

    @property
    def coverage(self) -> float:
        """Share that was taken as something, of those that mean something."""
        return _share(v.taken != UNCLEAR for v in self.judged if UNCLEAR not in v.sentence.right)

    @property
    def cost(self) -> float:
        """Mean cost of a sentence."""
        return sum(v.cost for v in self.judged) / max(1, len(self.judged))

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """(right, all) by kind of sentence."""
        kinds = dict.fromkeys(v.sentence.kind for v in self.judged)
        return {
            kind: (sum(v.right for v in of), len(of))
            for kind in kinds
            for of in [[v for v in self.judged if v.sentence.kind == kind]]
        }

    def confused(self) -> Counter[tuple[str, str]]:
        """How often (wanted, taken) happened, wrong ones only."""
        return Counter((v.sentence.right[0], v.taken) for v in self.judged if not v.right)

    def calibration(self) -> list[tuple[float, float, int]]:
        """(mean confidence, share of right ones, sentences) by confidence, for what was taken as
        something."""
        bins: list[list[Judged]] = [[] for _ in range(_BINS)]
        for v in self.judged:
            if v.taken != UNCLEAR:
                bins[min(_BINS - 1, int(v.confidence * _BINS))].append(v)
        return [
            (sum(v.confidence for v in found) / len(found), _share(v.right for v in found),
             len(found))
            for found in bins if found
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        low, high = interval(self.accuracy, len(self.judged))
        return {
            "sentences": len(self.judged),
            "accuracy": round(self.accuracy, 4),
            "interval": [round(low, 4), round(high, 4)],
            "coverage": round(self.coverage, 4),
            "cost": round(self.cost, 4),
            "kinds": {k: {"right": r, "sentences": n} for k, (r, n) in self.by_kind().items()},
            "confused": [
                {"meant": meant, "taken": taken, "times": times}
                for (meant, taken), times in self.confused().most_common()
            ],
            "calibration": [
                {"confidence": round(c, 3), "right": round(r, 3), "sentences": n}
                for c, r, n in self.calibration()
            ],
            "harms": [
                {"text": v.sentence.text, "meant": v.sentence.right[0], "taken": v.taken}
                for v in self.judged if v.harms
            ],
        }  # fmt: skip


def evaluate(
    understand: Callable[[Sentence], Understanding], sentences: Iterable[Sentence]
) -> Scoreboard:
    """What is taken from each sentence."""
    judged = []
    for sentence in sentences:
        heard = understand(sentence)
        # An intent without a meaning is taken for none of those that the file names.
        taken = heard.meaning or heard.intent or UNCLEAR
        judged.append(Judged(sentence, taken, heard.confidence, heard.certain))
    return Scoreboard(tuple(judged))


def report(name: str, found: Scoreboard, *, every_error: bool = False) -> Iterator[str]:
    """The scoreboard in words, line by line."""
    total = len(found.judged)
    low, high = interval(found.accuracy, total)
    yield (
        f"{name}: {found.accuracy:.1%} of {total} sentences right (95 %: {low:.0%} to {high:.0%}), "
        f"{found.coverage:.1%} taken as something, cost {found.cost:.2f} a sentence"
    )
    for kind, (right, of) in found.by_kind().items():
        yield f"  {kind:<10} {right:>4} of {of}"
    for confidence, right_share, n in found.calibration():
        yield f"  confidence {confidence:.2f}: {right_share:.0%} right of {n}"
    for (meant, taken), times in found.confused().most_common(10):
        yield f"  {times:>3} times {meant} was taken for {taken}"
    for v in found.judged:
        if v.harms:
            yield f"  harm: {v.sentence.text} ({v.sentence.right[0]}) was taken for {v.taken}"
        elif every_error and not v.right:
            yield f"  {v.sentence.text} ({v.sentence.right[0]}) was taken for {v.taken}"


def interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `n` (Wilson, JASA 22, 1927)."""
    if not n:
        return 0.0, 1.0
    z = 1.96
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (middle - half) / scale, (middle + half) / scale


def _share(of: Iterable[bool]) -> float:
    found = list(of)
    return sum(found) / len(found) if found else 0.0
