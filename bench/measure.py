"""A benchmark's result: figures compared with a peer or a limit, and the budget of the ratio."""

from typing import Literal

from pydantic import BaseModel, Field


class Skipped(Exception):
    """The benchmark, or a peer of it, cannot run here; the text says why."""


class Measure(BaseModel):
    """One figure. `ratio` is ours divided by theirs; `budget` bounds it, where there is one.

    `spread` has the lowest and the highest ratio of single rounds, where there were several.
    """

    what: str
    unit: str
    ours: float
    against: str
    theirs: float
    budget: float | None = None
    bound: Literal["at least", "at most"] = "at least"
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """None where the other figure is zero."""
        return self.ours / self.theirs if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the ratio keeps its budget; None without one."""
        if self.budget is None:
            return None
        ratio = self.ratio
        if ratio is None:
            return False
        return ratio >= self.budget if self.bound == "at least" else ratio <= self.budget


class Outcome(BaseModel):
    """What a benchmark returns. `notes` say what was left out, and how to read the figures."""

    measures: list[Measure] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class Machine(BaseModel):
    """Where it ran."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str


class Result(BaseModel):
    """One benchmark's entry in `bench.json`. Load averages are of one minute, before and after."""

    name: str
    title: str
    state: Literal["measured", "skipped", "failed"]
    reason: str = ""
    outcome: Outcome
    quick: bool
    command: str
    at: str
    commit: str
    wall_s: float
    load_before: float
    load_after: float
    machine: Machine
    versions: dict[str, str]


class Results(BaseModel):
    """`bench.json`: the newest result of each benchmark, by name."""

    results: dict[str, Result] = Field(default_factory=dict)
