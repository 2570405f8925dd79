"""Which fault happens when: a pure function of a seed."""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["kill", "stall", "clock", "restart", "replay", "upgrade"]

KILLED: Final = (
    "robots", "edge", "asr", "dispatch", "profiles", "campaigns", "history", "archive", "analytics",
    "api", "registry", "kafka", "clickhouse",
)  # fmt: skip
"""`robots`, `edge` and `asr` mean whoever serves at that moment."""

STALLED: Final[dict[str, tuple[float, float]]] = {
    "robots": (0.3, 3.0),
    "robots-follower": (1.0, 3.0),
    "asr": (0.3, 2.0),
    "edge": (0.3, 2.0),
    "dispatch": (1.0, 6.0),
    "profiles": (1.0, 6.0),
    "campaigns": (1.0, 6.0),
    "history": (5.0, 20.0),
    "kafka": (1.0, 5.0),
    "registry": (5.0, 15.0),
    "clickhouse": (10.0, 60.0),
}
"""Stopped for so long, s: a stall of the machine, a cut cable, a consumer that is slow."""

CLOCKED: Final = ("robots", "edge", "asr", "dispatch", "profiles", "campaigns", "api", "all")
CLOCKED_S: Final = (6.0, 16.0)
"""Their time of day is an hour wrong, forward or back, for so long. In the middle the process is
killed, so that another one starts with the wrong time; not so with all at once."""

RESTARTED: Final = (
    "edge", "asr", "robots", "profiles", "dispatch", "campaigns", "history", "archive", "analytics",
    "api", "registry", "clickhouse", "kafka",
)  # fmt: skip
"""Asked to end, one after another: a new version is put in."""

_DECK: Final[tuple[tuple[Kind, str], ...]] = (
    *(("kill", t) for t in KILLED),
    *(("stall", t) for t in STALLED),
    *(("clock", t) for t in CLOCKED),
    ("restart", "all"),
    ("replay", "inputs"),
    ("upgrade", "schema"),
)

_GAP_S: Final = (6.0, 14.0)
"""Between faults: most are over by then, some overlap."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at_s` after the start; a stall and a wrong clock last `for_s`."""

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
        faults.append(Fault(round(at_s, 2), kind, target, _length(kind, target, dice)))
        at_s += dice.uniform(*_GAP_S)
    raise AssertionError("the deck never ends")


def _length(kind: Kind, target: str, dice: random.Random) -> float:
    match kind:
        case "stall":
            return round(dice.uniform(*STALLED[target]), 2)
        case "clock":
            return round(dice.uniform(*CLOCKED_S), 2)
        case _:
            return 0.0


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
