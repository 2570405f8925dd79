"""All topics: model, key, partitions, retention. The one source for broker, registry and sinks."""

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas import events as e
from schemas.donotcall import entry_of
from schemas.envelope import Event

CALL_PARTITIONS = 8
"""Partitions of every topic keyed by call, task or customer. Part of the contract: records of one
call stay together across topics, so it is never changed in place."""

MAX_RECORD_BYTES = 1_048_576
"""Longest record value that we write and that we read. Producers and the broker allow for a key and
Kafka's framing on top (`KAFKA_MESSAGE_BYTES`)."""

KAFKA_MESSAGE_BYTES = 2 * MAX_RECORD_BYTES
"""What our producers and our broker take as one message. More than a record of ours ever has, so
that only `Codec.encode` decides, where the record's source is still known."""

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """One topic. `key` takes an event to its record key; `retention_ms` -1 keeps for ever."""

    name: str
    model: type[Event]
    key: Callable[[Event], str]
    partitions: int = CALL_PARTITIONS
    retention_ms: int = -1
    compacted: bool = False
    in_clickhouse: bool = True
    config: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Registry subject of the value schema."""
        return f"{self.name}-value"

    @property
    def table(self) -> str:
        """ClickHouse table that keeps every record."""
        return "raw_" + self.name.replace(".", "_")

    @property
    def call_keyed(self) -> bool:
        """Whether the key is the call's id, so that the partition is part of the contract."""
        return self.key is _by_call

    def broker_config(self) -> dict[str, str]:
        """The topic's settings as Kafka names them."""
        out = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            # One clock for all records: the broker's. A producer's may be wrong, and what lies in
            # the future by it would be refused.
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(KAFKA_MESSAGE_BYTES),
        }
        return out | self.config


def _by_call(event: Event) -> str:
    return event.call_id or ""


def _by_customer(event: Event) -> str:
    return event.customer_id or ""


def _by_task(event: Event) -> str:
    return event.task_id or ""


def _by_pool(event: Event) -> str:
    return event.pool or "default"


def _by_robot(event: Event) -> str:
    return event.robot_id or ""


def _by_campaign(event: Event) -> str:
    return event.campaign_id or ""


def _by(attribute: str) -> Callable[[Event], str]:
    return lambda event: str(getattr(event, attribute))


def _lease_key(event: Event) -> str:
    # Claims have their own key, or compaction could keep the loser's record.
    shard = str(getattr(event, "shard", ""))
    return f"{shard}#claim" if event.kind == "claim" else shard


def _optout_key(event: Event) -> str:
    return entry_of(event) if isinstance(event, e.OptOut) else ""


def _trunk_key(event: Event) -> str:
    # The routing rules have no name of their own; names of different parts may be the same.
    return f"{event.kind}/{getattr(event, 'trunk', '')}"


def _playbook_key(event: Event) -> str:
    return f"{getattr(event, 'playbook', '')}@{getattr(event, 'version', '')}"


def _prompts_key(event: Event) -> str:
    return f"{_playbook_key(event)}/{getattr(event, 'voice', '')}"


def _sound_key(event: Event) -> str:
    return f"{getattr(event, 'sha256', '')}/{getattr(event, 'part', 0)}"


_SHORT_SEGMENTS = {"segment.ms": "600000"}

TOPICS: dict[str, Topic] = {
    t.name: t
    for t in (
        Topic("calls.events", e.CallEvent, _by_call),
        Topic("media.audio", e.MediaChunk, _by_call, retention_ms=DAY_MS, in_clickhouse=False),
        Topic("asr.transcripts", e.Transcript, _by_call),
        Topic("dialogue.turns", e.Turn, _by_call),
        Topic("dialogue.directives", e.Directive, _by_call),
        Topic("customers.changes", e.CustomerChange, _by_customer),
        Topic("customers.profiles", e.Profile, _by_customer, compacted=True),
        Topic("tasks.requested", e.TaskRequested, _by_customer),
        Topic("profiles.inbox", e.ProfileInbox, _by_customer),
        Topic("dispatch.inbox", e.DispatchInbox, _by_pool),
        Topic("tasks.events", e.TaskEvent, _by_task),
        Topic("robots.status", e.RobotStatus, _by_robot, 1, compacted=True),
        Topic("robots.leases", e.Lease, _lease_key, 1, compacted=True, config=_SHORT_SEGMENTS),
        Topic("playbooks", e.Playbook, _playbook_key, 1, compacted=True),
        Topic("prompts", e.PromptList, _prompts_key, 1, compacted=True, in_clickhouse=False),
        Topic("prompts.audio", e.PromptSound, _sound_key, 1, compacted=True, in_clickhouse=False),
        Topic("campaigns", e.Campaign, _by_campaign, 1),
        Topic("campaigns.contacts", e.CampaignContact, _by_campaign),
        Topic("compliance.optouts", e.OptOut, _optout_key, 1, compacted=True),
        Topic("analytics.intent_windows", e.IntentWindow, _by_campaign, 4, 90 * DAY_MS),
        Topic("analytics.variant_windows", e.VariantWindow, _by_campaign, 4, 90 * DAY_MS),
        Topic("analytics.alerts", e.Alert, _by_campaign, 4, 90 * DAY_MS),
        Topic("analytics.ticks", e.Tick, _by_campaign, CALL_PARTITIONS, 90 * DAY_MS),
        Topic("trunks", e.TrunkSetting, _trunk_key, 1, compacted=True),
        Topic("trunks.status", e.TrunkStatus, _by("trunk"), 1, compacted=True),
        Topic("outreach.messages", e.Message, _by_customer),
        Topic("crm.deliveries", e.CrmDelivery, _by("result_id"), retention_ms=90 * DAY_MS),
        Topic("logs.app", e.LogLine, _by("producer"), 4, 3 * DAY_MS),
        Topic("audit", e.Audit, _by("actor"), 1),
        Topic("dead_letters", e.DeadLetter, _by("source_topic"), 1, 30 * DAY_MS),
    )
}


def topic(name: str) -> Topic:
    """The topic of that name; raises KeyError naming the known ones."""
    try:
        return TOPICS[name]
    except KeyError:
        raise KeyError(f"unknown topic {name!r}; known: {', '.join(sorted(TOPICS))}") from None
