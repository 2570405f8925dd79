"""What Flink computes from the turns."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event, Millis


class IntentWindow(Event):
    """`analytics.intent_windows`: turns with one intent in one campaign and window.

    A later revision replaces an earlier one: late turns are corrections.
    """

    kind: Literal["window"] = "window"
    window_start: Millis = Field(description="First instant in it")
    window_end: Millis = Field(description="First instant after it")
    intent: str = Field(description="The intent")
    count: int = Field(description="Turns with it")
    calls: int = Field(description="Different calls among them")
    revision: int = Field(description="0 first; a higher one replaces it")


class VariantWindow(Event):
    """`analytics.variant_windows`: how often a wording was said and how often it worked."""

    kind: Literal["window"] = "window"
    window_start: Millis = Field(description="First instant in it")
    window_end: Millis = Field(description="First instant after it")
    node: str = Field(description="Node of the prompt")
    variant: str = Field(description="Wording")
    plays: int = Field(description="Times said")
    successes: int = Field(description="Times it worked")
    revision: int = Field(description="0 first; a higher one replaces it")


class Alert(Event):
    """`analytics.alerts`: a threshold crossed."""

    kind: Literal["raised", "cleared"]
    name: str = Field(description="Which threshold")
    value: float = Field(description="What was measured")
    threshold: float = Field(description="What it crossed")
    text: str = Field("", description="In words")


class Tick(Event):
    """`analytics.ticks`: keeps event time moving when traffic stops."""

    kind: Literal["tick"] = "tick"
