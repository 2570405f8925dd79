"""Robots, leases, scripts, campaigns, lines, and what operators and services report."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Event

_EMPTY_JSON = "{ }"
"""An empty JSON object. Apicurio refuses an Avro schema with the default `"{}"` as not Avro."""


class RobotStatus(Event):
    """`robots.status`: a robot as configured. Whether a worker runs it, the leases tell."""

    kind: Literal["robot"] = "robot"
    state: Literal["active", "paused", "removed"] = "active"
    persona: str = ""
    voice: str = ""
    slots: int = 1
    skills: dict[str, int] = Field(default_factory=dict)
    playbooks: list[str] = Field(default_factory=list)
    asr_profile: str = "demo"


class Lease(Event):
    """`robots.leases`: who speaks for a shard, who serves an edge's ports.

    A claim wins only if `after` is still the offset of the shard's last valid record.
    """

    kind: Literal["heartbeat", "claim", "release", "exited"]
    shard: str
    worker: str = Field(description="Name and process instance")
    n: int = 0
    after: int | None = None
    partitions: list[int] = Field(default_factory=list)


class Playbook(Event):
    """`playbooks`: a published script; `body` is its YAML text."""

    kind: Literal["published", "withdrawn"]
    playbook: str
    version: str
    sha256: str
    body: str


class Campaign(Event):
    """`campaigns`: a campaign's settings and state; `settings` is JSON text."""

    kind: Literal["campaign"] = "campaign"
    name: str
    state: Literal["draft", "running", "paused", "ended"] = "running"
    playbook: str | None = None
    settings: str = _EMPTY_JSON


class TrunkStatus(Event):
    """`trunks.status`: health of a line and its circuit breaker."""

    kind: Literal["status"] = "status"
    trunk: str
    state: Literal["closed", "open", "half_open"] = "closed"
    calls: int = 0
    failures: int = 0
    reason: str | None = None


class LogLine(Event):
    """`logs.app`: one structured log line; `fields` is JSON text, phone numbers masked."""

    kind: Literal["log"] = "log"
    level: str
    logger: str
    message: str
    fields: str = _EMPTY_JSON


class Audit(Event):
    """`audit`: what an operator did; `detail` is JSON text."""

    kind: Literal["action"] = "action"
    actor: str
    action: str
    target: str | None = None
    detail: str = _EMPTY_JSON


class DeadLetter(Event):
    """`dead_letters`: a record that could not be read: its bytes, where from, and why."""

    kind: Literal["dead_letter"] = "dead_letter"
    source_topic: str
    source_partition: int
    source_offset: int
    reason: Annotated[str, Field(max_length=2_000)]
    raw: bytes
