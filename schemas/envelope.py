"""What every event carries, and the field types that cross every tool.

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

    event_id: EventId
    kind: str
    occurred_at: Millis
    producer: str
    causation_id: str | None = None
    tenant_id: str = "default"
    call_id: str | None = None
    task_id: str | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    robot_id: str | None = None
    epoch: int | None = None
