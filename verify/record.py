"""A record of the log as the checks see it."""

from typing import Any, NamedTuple


class LogRecord(NamedTuple):
    """One record that every reader of its topic understands.

    `judged`: it is below the cut, so its effects are required; one above the cut is evidence only.
    `first`: no earlier record of its topic has its id. `timestamp_ms` is Kafka's.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    event: dict[str, Any]
    judged: bool = True
    first: bool = True

    @property
    def where(self) -> str:
        """`topic/partition@offset`, as the report names it."""
        return f"{self.topic}/{self.partition}@{self.offset}"


class Unreadable(NamedTuple):
    """A record that readers refuse, and why."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    judged: bool = True

    @property
    def where(self) -> str:
        """`topic/partition@offset`, as the report names it."""
        return f"{self.topic}/{self.partition}@{self.offset}"
