"""What Flink computes from the turns."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event, Millis


class IntentWindow(Event):
    """`analytics.intent_windows`: turns with one intent in one campaign and window.

    A later revision replaces an earlier one: late turns are corrections.
    """

    kind: Literal["window"] = "window"
    window_start: Millis
    window_end: Millis
    intent: str
    count: int
    calls: int = Field(description="Different calls among them")
    revision: int


class VariantWindow(Event):
    """`analytics.variant_windows`: how often a wording was said and how often it worked."""

    kind: Literal["window"] = "window"
    window_start: Millis
    window_end: Millis
    node: str
    variant: str
    plays: int
    successes: int
    revision: int


class Alert(Event):
    """`analytics.alerts`: a threshold crossed."""

    kind: Literal["raised", "cleared"]
    name: str
    value: float
    threshold: float
    text: str = ""


class Tick(Event):
    """`analytics.ticks`: keeps event time moving when traffic stops."""

    kind: Literal["tick"] = "tick"
