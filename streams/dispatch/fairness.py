"""Smooth weighted round robin over priorities, so that none starves.

At every turn each contender gains its weight as credit; the one with the most credit is served and
pays the sum of all weights. With weights 3, 2 and 1, a round of 6 turns serves 3, 2 and 1, spread
evenly.
"""

from collections.abc import Sequence


class Fairness:
    """`credits` is the state, by rank."""

    def __init__(self, credits: Sequence[int] = (0, 0, 0)) -> None:
        self.credits = list(credits)

    def pick(self, contenders: Sequence[int], weights: Sequence[int]) -> int:
        """The rank to serve among those that have something servable; never empty."""
        if len(contenders) == 1:
            return contenders[0]  # gains and pays the same weight
        total = 0
        for rank in contenders:
            self.credits[rank] += weights[rank]
            total += weights[rank]
        best = max(contenders, key=lambda rank: (self.credits[rank], -rank))
        self.credits[best] -= total
        return best
