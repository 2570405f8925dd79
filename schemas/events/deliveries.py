"""What was told to the site's other systems."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event


class CrmDelivery(Event):
    """`crm.deliveries`: a result was brought to the CRM, or a try to do so failed.

    `delivered`: the other side has confirmed it. `failed`: this try failed, and it is tried again.
    `refused`: the other side will never take it, and it is passed over.
    """

    kind: Literal["delivered", "failed", "refused"]
    destination: str = Field(description="exchange or webhook")
    result_id: str = Field(description="The result's id, the same in every try")
    result: str = Field(description="What it was, such as call.ended")
    attempt: int = Field(description="Which try since the last start, from 1")
    status: int | None = Field(None, description="HTTP status of the answer")
    reason: str | None = Field(None, description="Why it failed")
    took_ms: int | None = Field(None, description="How long the try took, ms")
