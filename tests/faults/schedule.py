"""Which fault happens when: a pure function of a seed."""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["kill", "stall", "restart", "replay", "upgrade"]

KILLED: Final = (
    "robots", "edge", "asr", "dispatch", "profiles", "history", "analytics", "api", "registry",
    "kafka", "clickhouse",
)  # fmt: skip
"""`robots`, `edge` and `asr` mean whoever serves at that moment."""

STALLED: Final[dict[str, tuple[float, float]]] = {
    "robots": (0.3, 3.0),
    "robots-follower": (1.0, 3.0),
    "asr": (0.3, 2.0),
    "dispatch": (1.0, 6.0),
    "profiles": (1.0, 6.0),
    "history": (5.0, 20.0),
    "kafka": (1.0, 5.0),
    "registry": (5.0, 15.0),
    "clickhouse": (10.0, 60.0),
}
"""Stopped for so long, s: a stall of the machine, a cut cable, a consumer that is slow."""

RESTARTED: Final = (
    "edge", "asr", "robots", "profiles", "dispatch", "history", "analytics", "api",
)  # fmt: skip
"""Asked to end, one after another: a new version is put in."""

_DECK: Final[tuple[tuple[Kind, str], ...]] = (
    *(("kill", t) for t in KILLED),
    *(("stall", t) for t in STALLED),
    ("restart", "all"),
    ("replay", "inputs"),
    ("upgrade", "schema"),
)

_GAP_S: Final = (6.0, 14.0)
"""Between faults: most are over by then, some overlap."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at_s` after the start; a stall lasts `for_s`."""

    at_s: float
    kind: Kind
    target: str
    for_s: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.kind} {self.target}{lasting}"


def mixed(minutes: float, seed: int, only: Collection[str] = ()) -> list[Fault]:
    """Faults of all kinds in random order, evenly chosen: every one before any comes again.

    `only` leaves those of some targets. Raises ValueError when there is none.
    """
    deck = [(k, t) for k, t in _DECK if not only or t in only]
    if not deck:
        raise ValueError(f"no fault of {', '.join(only)}")
    dice = random.Random(seed)
    faults: list[Fault] = []
    at_s = dice.uniform(*_GAP_S)
    for kind, target in _forever(deck, dice):
        if at_s >= minutes * 60:
            return faults
        for_s = round(dice.uniform(*STALLED[target]), 2) if kind == "stall" else 0.0
        faults.append(Fault(round(at_s, 2), kind, target, for_s))
        at_s += dice.uniform(*_GAP_S)
    raise AssertionError("the deck never ends")


def kills(times: int, seed: int, only: Collection[str] = ()) -> list[Fault]:
    """Every service killed so often, in random order; the next when the last one is ready again."""
    deck = [Fault(0.0, "kill", t) for t in KILLED if not only or t in only for _ in range(times)]
    if not deck:
        raise ValueError(f"no service {', '.join(only)}")
    random.Random(seed).shuffle(deck)
    return deck


def _forever(deck: list[tuple[Kind, str]], dice: random.Random) -> Iterator[tuple[Kind, str]]:
    while True:
        dice.shuffle(deck)
        yield from deck
