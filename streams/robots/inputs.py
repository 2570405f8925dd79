"""Inputs of a dialogue decision, and the decision itself before it becomes records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from streams.robots.emotions import NEUTRAL
from streams.robots.loading import Script
from streams.robots.state import CallFacts
from streams.robots.understanding import Understander
from streams.robots.wording import Counts, Posterior

InputKind = Literal["answered", "amd", "answerer", "final", "dtmf", "silence", "withdrawn"]
"""`amd`: the edge heard something of who answered; `answerer`: words that no person says;
`withdrawn`: the task was cancelled."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input that needs a turn. `event_id` is the record's, or the timer's derived id."""

    kind: InputKind
    event_id: str
    occurred_at: int
    text: str = ""
    utterance_id: str | None = None
    digits: str = ""
    cut: bool = False
    """A final that ends in the middle of what somebody says: they talk on."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a decision needs in addition to the state, all of it from the log."""

    script: Script
    understander: Understander
    voice: str
    counts: Counts
    producer: str
    epoch: int


@dataclass(slots=True)
class Plan:
    """A decision's outcome, before it becomes records."""

    node: str
    intent: str = ""
    confidence: float = 0.0
    emotion: str = NEUTRAL
    slots: Mapping[str, str] = field(default_factory=dict)
    meaning: str | None = None
    asked: str | None = None
    outcome: str | None = None
    reason: str = ""
    variant: str | None = None
    posterior: dict[str, Posterior] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)


def envelope_of(
    facts: CallFacts, cause: Input, producer: str, epoch: int, now_ms: int
) -> dict[str, Any]:
    """The fields that every record of a decision shares."""
    return {
        "occurred_at": now_ms, "producer": producer, "causation_id": cause.event_id,
        "tenant_id": facts.tenant_id, "call_id": facts.call_id, "task_id": facts.task_id,
        "customer_id": facts.customer_id, "campaign_id": facts.campaign_id, "pool": facts.pool,
        "robot_id": facts.robot_id, "epoch": epoch,
    }  # fmt: skip
