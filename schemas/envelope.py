"""The fields of every event, and the field types that work in every tool.

Avro enums and timestamp-micros are refused by Flink, so kinds are strings that pydantic checks,
times are milliseconds, and finer clocks are plain longs named `_us` or `rtp_ts`.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class Logical:
    """Marks a field with an Avro logical type (Avro 1.12 specification, "Logical Types")."""

    name: str


Millis = Annotated[int, Field(ge=0, lt=253402300800000), Logical("timestamp-millis")]
"""Milliseconds since 1970-01-01 UTC, before the year 10000."""

EventId = Annotated[str, Field(min_length=36, max_length=36), Logical("uuid")]
"""A UUID as text."""


class Part(BaseModel):
    """A record nested in an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(BaseModel):
    """The envelope, flat, first in every record. Times are milliseconds since 1970 UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: EventId = Field(
        description="Derived from its cause; the first record of an id counts"
    )
    kind: str = Field(description="What it says, within its topic")
    occurred_at: Millis = Field(description="When it happened in the world")
    producer: str = Field(description="Service or program that wrote it")
    causation_id: str | None = Field(
        None, description="The event, or the thing in the world, that caused it"
    )
    tenant_id: str = Field("default", description="Whose it is")
    call_id: str | None = Field(None, description="The call")
    task_id: str | None = Field(None, description="The task that the call serves")
    customer_id: str | None = Field(None, description="Who is called")
    campaign_id: str | None = Field(None, description="The campaign")
    pool: str | None = Field(None, description="The pool of robots")
    robot_id: str | None = Field(None, description="The robot")
    epoch: int | None = Field(
        None, description="The term of the worker that speaks: offset of its winning claim"
    )
