"""The interface of a check, its context and its result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ringlog.kafka.sync import Place
from verify.record import LogRecord, Unreadable

Stage = Literal["asr", "routes", "profiles", "dispatch", "history", "analytics"]
"""A part whose committed offsets tell how far it has come; see `verify.cut`."""

Rows = Sequence[Sequence[str]]
"""Rows of ClickHouse, every value as text."""

MOST_KEPT = 1_000
"""Violations of one check that are kept with their places; the others are counted."""

ROBOT_GRACE_MS = 60_000
"""How long an input may wait for its turn on a running system: a robot worker has no committed
offset, but a longer absence is noticed."""

RECOVERY_MS = 10_000
"""Within this time a dead part is replaced, and its unfinished work is done."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A violation. `rule` is a stable name; `where` are records to look at."""

    rule: str
    text: str
    where: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """What a check found. `looked_at` counts things of `unit`; `open` are those not decided yet;
    `repeats` are records that repeat an earlier one of their id."""

    check: str
    title: str
    unit: str
    looked_at: int = 0
    repeats: int = 0
    open: int = 0
    total: int = 0
    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def violate(self, rule: str, text: str, *where: str | None, **ids: object) -> None:
        """Notes a violation."""
        self.total += 1
        if len(self.violations) < MOST_KEPT:
            named = {name: str(value) for name, value in ids.items() if value is not None}
            places = tuple(place for place in where if place)
            self.violations.append(Violation(f"{self.check}.{rule}", text, places, named))


@dataclass(frozen=True, slots=True)
class Context:
    """The cut, as the checks need it. Offsets are ends: the first one that does not belong.

    `judged_ms` and `read_ms` are the times of day at which the two ends were taken. `kept` is what
    ClickHouse must hold: the judged ends, or less if the sink is not done yet.
    """

    judged_ms: int
    read_ms: int
    idle: bool = False
    reached: frozenset[str] = frozenset()
    begins: Mapping[Place, int] = field(default_factory=dict)
    judged: Mapping[Place, int] = field(default_factory=dict)
    kept: Mapping[Place, int] = field(default_factory=dict)
    answers: Mapping[str, Rows] = field(default_factory=dict)

    def due(self, stage: Stage) -> bool:
        """Whether a part's output for judged records must be there by now."""
        return self.idle or stage in self.reached

    def waited(self, since_ms: int, grace_ms: int) -> bool:
        """Whether an effect due `grace_ms` after a time must be there by now."""
        return self.idle or self.read_ms - since_ms > grace_ms

    def whole(self, topic: str) -> bool:
        """Whether the log still holds all of a topic, so that a missing record never existed."""
        return all(at == 0 for (name, _), at in self.begins.items() if name == topic)


class Check:
    """A pure fold over the records of some topics. Feed it in the order of each partition; topics
    may come in any order, one after another or mixed."""

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    topics: ClassVar[frozenset[str]]
    takes_all: ClassVar[bool] = False
    """Whether it also takes records that have a row, but that every reader refuses."""

    def __init__(self) -> None:
        self.result = Result(self.name, self.title, self.unit)

    def feed(self, record: LogRecord) -> None:
        """Takes a record of one of the topics."""
        raise NotImplementedError

    def refused(self, record: Unreadable) -> None:
        """Takes a record of one of the topics that readers refuse; most checks have no use."""

    def questions(self, context: Context) -> Mapping[str, str]:
        """Queries to ClickHouse by name. Called again with the answers until it returns none."""
        return {}

    def finish(self, context: Context) -> Result:
        """The check's result."""
        raise NotImplementedError
