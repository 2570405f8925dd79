"""Figures of earlier runs, part by part."""

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from bench.sound.cost import EdgeCost, LegCost
from bench.sound.run import ErrorRow, SoundFigures


class KeptPart(BaseModel):
    """One part's figures; `remark` says how, when and where they were measured."""

    remark: str
    rows: list[ErrorRow] = Field(default_factory=list)
    costs: list[LegCost] = Field(default_factory=list)
    edge: list[EdgeCost] = Field(default_factory=list)


class Kept(BaseModel):
    """The newest of every part, by name."""

    parts: dict[str, KeptPart] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Kept":
        """From a file; empty without a readable one."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls()

    def found(self) -> SoundFigures:
        """All figures together."""
        parts = self.parts.values()
        return SoundFigures(
            [row for part in parts for row in part.rows],
            [cost for part in parts for cost in part.costs],
            [cost for part in parts for cost in part.edge],
        )

    def remarks(self) -> list[str]:
        """How each part was measured, in words."""
        return [f"{name}: {part.remark}" for name, part in sorted(self.parts.items())]
