"""Which fault happens when: a pure function of a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["kill", "stall", "restart", "replay", "upgrade", "clock"]

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

CLOCK_WRONG_S: Final = 20.0
"""How long every clock of the machine is an hour wrong."""

_GAP_S: Final = (6.0, 14.0)
"""Between faults: most are over by then, some overlap."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at_s` after the start; a stall or a wrong clock lasts `for_s`."""

    at_s: float
    kind: Kind
    target: str
    for_s: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.kind} {self.target}{lasting}"


def mixed(minutes: float, seed: int) -> list[Fault]:
    """Faults of all kinds in random order, evenly chosen: every one before any comes again."""
    dice = random.Random(seed)
    faults: list[Fault] = []
    at_s = dice.uniform(*_GAP_S)
    for kind, target in _forever(dice):
        if at_s >= minutes * 60:
            return faults
        for_s = {"clock": CLOCK_WRONG_S}.get(kind, 0.0)
        if kind == "stall":
            for_s = round(dice.uniform(*STALLED[target]), 2)
        faults.append(Fault(round(at_s, 2), kind, target, for_s))
        at_s += dice.uniform(*_GAP_S)
    raise AssertionError("the deck never ends")


def kills(times: int, seed: int) -> list[Fault]:
    """Every service killed so often, in random order; the next when the last one is ready again."""
    deck = [Fault(0.0, "kill", target) for target in KILLED for _ in range(times)]
    random.Random(seed).shuffle(deck)
    return deck


def _deck() -> list[tuple[Kind, str]]:
    return [
        *(("kill", t) for t in KILLED),
        *(("stall", t) for t in STALLED),
        ("restart", "all"),
        ("replay", "inputs"),
        ("upgrade", "schema"),
        ("clock", "forward"),
        ("clock", "back"),
    ]


def _forever(dice: random.Random) -> Iterator[tuple[Kind, str]]:
    while True:
        deck = _deck()
        dice.shuffle(deck)
        yield from deck
