"""Robots, leases, scripts, campaigns, lines, and what operators and services report."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Event, Part

_EMPTY_JSON = "{ }"
"""An empty JSON object. Apicurio refuses an Avro schema with the default `"{}"` as not Avro."""


class RobotStatus(Event):
    """`robots.status`: a robot as configured. Whether a worker runs it, the leases tell."""

    kind: Literal["robot"] = "robot"
    state: Literal["active", "paused", "removed"] = Field(
        "active", description="Whether it takes calls"
    )
    persona: str = Field("", description="Who it is")
    voice: str = Field("", description="Voice of its prompts")
    slots: int = Field(1, description="Calls at once")
    skills: dict[str, int] = Field(default_factory=dict, description="Levels it has")
    playbooks: list[str] = Field(default_factory=list, description="Scripts it knows")
    asr_profile: str = Field("", description="Recogniser of its calls; empty: the site's default")


class Lease(Event):
    """`robots.leases`: who speaks for a shard, who serves an edge's ports, which services started.

    A claim wins only if `after` is still the offset of the shard's last valid record.
    """

    kind: Literal["heartbeat", "claim", "release", "exited", "started"]
    shard: str = Field(description="robots/<n>, edge/<id> or service/<name>")
    worker: str = Field(description="Name and process instance")
    n: int = Field(0, description="Count of heartbeats")
    after: int | None = Field(None, description="claim: offset of the shard's last valid record")
    partitions: list[int] = Field(default_factory=list, description="Call partitions of the shard")
    rtp_host: str | None = Field(None, description="edge: host that far ends send RTP to")
    media_url: str | None = Field(None, description="edge: URL below which media WebSockets open")
    control_url: str | None = Field(None, description="edge: URL at which the API asks it")
    capacity: int | None = Field(None, description="edge: calls that it takes at once")
    calls: int | None = Field(None, description="edge: calls in progress")
    draining: bool = Field(False, description="edge: it takes no new calls")


class Playbook(Event):
    """`playbooks`: a published script; `body` is its YAML text."""

    kind: Literal["published", "withdrawn"]
    playbook: str = Field(description="Name")
    version: str = Field(description="Version")
    sha256: str = Field(description="Digest of the body")
    body: str = Field(description="YAML text")


class PromptRef(Part):
    """One prompt's sound in the store: its name in directives, the digest and size of its WAV file,
    and the offsets of its parts on `prompts.audio`."""

    name: str
    sha256: str
    size: int
    offsets: list[int]


class PromptList(Event):
    """`prompts`: every prompt that a version of a playbook can play in one voice, and where its
    sound lies. Written before the playbook, so that whoever plays it can have the sound first."""

    kind: Literal["list"] = "list"
    playbook: str = Field(description="Name")
    version: str = Field(description="Version")
    voice: str = Field(description="The robot's voice; empty: the playbook's own")
    prompts: list[PromptRef] = Field(default_factory=list, description="The prompts, by name")


class PromptSound(Event):
    """`prompts.audio`: a part of a prompt's WAV file. The lists on `prompts` name its offset."""

    kind: Literal["sound"] = "sound"
    sha256: str = Field(description="Digest of the whole file")
    part: int = Field(description="Which part, from 0")
    parts: int = Field(description="How many there are")
    payload: Annotated[bytes, Field(max_length=786_432)] = Field(description="The part's bytes")


class Campaign(Event):
    """`campaigns`: one version of a campaign, after one change; `settings` is JSON text.

    Two versions of one number have the same id, so that of two changes at once the first counts.
    """

    kind: Literal["campaign"] = "campaign"
    name: str = Field(description="Name")
    state: Literal["draft", "running", "paused", "ended"] = Field(
        "running", description="Whether it calls"
    )
    playbook: str | None = Field(None, description="Script")
    settings: str = Field(_EMPTY_JSON, description="JSON text")
    version: int = Field(0, description="Counts the changes, from 1")
    action: str | None = Field(
        None, description="created, changed, started, paused, resumed, stopped or completed"
    )
    actor: str | None = Field(None, description="Who did it")
    reason: str | None = Field(None, description="Why, in words")


class CampaignContact(Event):
    """`campaigns.contacts`: somebody whom a campaign is to call, as a list named them."""

    kind: Literal["added"] = "added"
    contact_id: str = Field(description="Derived from campaign and customer")
    import_id: str = Field(description="The list: digest of the file")
    row: int = Field(description="Where in the list, from 1, headings not counted")
    phone: str = Field(description="Number to call, E.164")
    priority: Literal["high", "medium", "low"] = Field("medium", description="How urgent")
    skills: dict[str, int] = Field(default_factory=dict, description="Levels that the robot needs")
    tags: list[str] = Field(default_factory=list, description="Labels")
    name: str | None = Field(None, description="The customer's name")
    attributes: dict[str, str] = Field(
        default_factory=dict, description="The other columns; zone, region and consent among them"
    )
    actor: str | None = Field(None, description="Who loaded the list")


class TrunkSetting(Event):
    """`trunks`: a part of the site's `trunks.yaml`; `settings` is JSON text without secrets."""

    kind: Literal["switch", "trunk", "caller_ids", "routing"]
    trunk: str = Field(description="Name of the part")
    state: Literal["active", "removed"] = Field("active", description="Whether the file has it")
    settings: str = Field(_EMPTY_JSON, description="JSON text")


class TrunkStatus(Event):
    """`trunks.status`: health of a line and its circuit breaker."""

    kind: Literal["status"] = "status"
    trunk: str = Field(description="Name of the line")
    state: Literal["closed", "open", "half_open"] = Field("closed", description="Circuit breaker")
    calls: int = Field(0, description="Tries counted, at most the last 100")
    failures: int = Field(0, description="Carrier faults among them")
    reason: str | None = Field(None, description="Why the breaker opened")
    running: int = Field(0, description="Calls on it now, of all edges")
    answer_ratio: float | None = Field(
        None, description="Share of the counted tries that was answered (ITU-T E.411)"
    )
    pdd_ms: int | None = Field(None, description="Post-dial delay (ITU-T E.431), a moving mean, ms")
    edge_id: str | None = Field(None, description="Edge that tells")


class LogLine(Event):
    """`logs.app`: one structured log line; `fields` is JSON text, phone numbers masked."""

    kind: Literal["log"] = "log"
    level: str = Field(description="Severity")
    logger: str = Field(description="Where in the code")
    message: str = Field(description="What happened")
    fields: str = Field(_EMPTY_JSON, description="JSON text, numbers masked")


class Audit(Event):
    """`audit`: what an operator did; `detail` is JSON text."""

    kind: Literal["action"] = "action"
    actor: str = Field(description="Who")
    action: str = Field(description="What")
    target: str | None = Field(None, description="To what")
    detail: str = Field(_EMPTY_JSON, description="JSON text")


class DeadLetter(Event):
    """`dead_letters`: a record that could not be read: its bytes, where from, and why."""

    kind: Literal["dead_letter"] = "dead_letter"
    source_topic: str = Field(description="Where it lay")
    source_partition: int = Field(description="Its partition")
    source_offset: int = Field(description="Its offset")
    reason: Annotated[str, Field(max_length=2_000)] = Field(description="Why it could not be read")
    raw: bytes = Field(description="Its bytes")
