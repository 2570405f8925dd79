"""What a site may set about dispatch (`RINGLOG_DISPATCH_*`). Times are milliseconds."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Span = Annotated[int, Field(gt=0, le=86_400_000)]
Weight = Annotated[int, Field(ge=1, le=1_000)]

MAX_POLICY_BYTES = 16_384
"""Longest JSON of a site's policy: its record must fit into dispatch's inbox."""


class Policy(BaseModel):
    """The parameters of the rules. The service tells its site's to every pool's inbox; they count
    from that record on, also in a rebuild. Before the first such record a pool has the defaults."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    permit_ms: Span = Field(15_000, description="How long an edge may begin to dial, ms")
    permit_grace_ms: Span = Field(
        5_000, description="How long after that a `dialing` may still arrive, ms"
    )
    lease_ms: Span = Field(
        20_000, description="How long a call holds its slot without a sign of life, ms"
    )
    retry_ms: Span = Field(600_000, description="Wait after no_answer or busy, ms")
    line_retry_ms: Span = Field(
        15_000,
        description="Wait where the edge put off a dial, such as to a number in another call, ms",
    )
    max_dials: Annotated[int, Field(ge=1)] = Field(3, description="Dials of one task, at most")
    max_attempts: Annotated[int, Field(ge=1)] = Field(
        10, description="Permits of one task, at most, dialled or not"
    )
    queue_limit: Annotated[int, Field(ge=0)] = Field(
        0, description="Open tasks of one pool, at most; 0: no limit"
    )
    concurrency: Annotated[int, Field(ge=0)] = Field(
        0, description="Calls of one pool at once, at most, beside its robots' slots; 0: no limit"
    )
    calls_per_s: Annotated[float, Field(ge=0, le=10_000)] = Field(
        0, description="Permits of one pool a second, at most; 0: no limit"
    )
    weights: tuple[Weight, Weight, Weight] = Field(
        (3, 2, 1), description="Shares of the priorities high, medium and low"
    )
    tag_weights: dict[str, float] = Field(
        {}, description="What a customer's or a request's tag adds to the score of its priority"
    )
    specialist_levels: tuple[str, ...] = Field(
        ("platinum", "diamond", "vip"),
        description="Customer levels that get the best robot of their industry",
    )
    specialist_tags: tuple[str, ...] = Field(
        ("value:high",), description="Tags of customers who get the best robot of their industry"
    )
    specialist_wait_ms: Annotated[int, Field(ge=0, le=3_600_000)] = Field(
        60_000, description="How long such a task waits at most for a better robot, ms"
    )
    boost_intent: float = Field(
        0.6, description="Purchase intention from which a task rises one priority"
    )
    boost_levels: tuple[str, ...] = Field(
        ("member", "silver", "gold", "platinum", "diamond", "vip", "会员"),
        description="Customer levels whose tasks rise one priority",
    )


class SitePolicy(Policy, BaseSettings):
    """The policy as the site's environment and `ringlog.env` have it."""

    model_config = SettingsConfigDict(
        env_prefix="RINGLOG_DISPATCH_", env_file="ringlog.env", extra="ignore", frozen=True
    )

    @model_validator(mode="after")
    def _size(self) -> Self:
        size = len(self.model_dump_json().encode())
        if size > MAX_POLICY_BYTES:
            raise ValueError(
                f"all of RINGLOG_DISPATCH_* together are {size:,} bytes, at most "
                f"{MAX_POLICY_BYTES:,}: give RINGLOG_DISPATCH_TAG_WEIGHTS fewer tags"
            )
        return self
