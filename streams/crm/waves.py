"""Order under failures: what belongs to one key goes out one after the other."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")


def waves(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """The items in groups to be sent one group after another, each with a key once at most.

    Who waits for one group to be acknowledged before the next can repeat a group that failed in
    part without turning round two items of a key.
    """
    found: list[list[T]] = []
    depth: Counter[Hashable] = Counter()
    for item in items:
        its = key(item)
        if depth[its] == len(found):
            found.append([])
        found[depth[its]].append(item)
        depth[its] += 1
    return found
