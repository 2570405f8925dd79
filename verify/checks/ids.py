"""Every event once: of two records with one id the first counts, and the later one may only repeat
it. Also: a record lies under its own key on that key's partition."""

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from schemas.catalogue import TOPICS
from schemas.partition import partition_of
from verify.check import Check, Context, Result
from verify.record import LogRecord

_FACTS: dict[str, tuple[str, ...]] = {
    "calls.events": ("kind", "call_id", "directive_id", "prompt_id", "digits", "transfer_to"),
    "asr.transcripts": (
        "kind", "call_id", "utterance_id", "text", "start_ms", "end_ms", "mark", "ssrc",
    ),
    "dialogue.turns": ("call_id", "input_event_id"),
    "dialogue.directives": ("kind", "call_id", "directive_id"),
    "customers.changes": ("kind", "customer_id", "source", "table", "position"),
    "customers.profiles": (
        "customer_id", "version", "level", "name", "purchase_intent", "last_intent",
        "last_emotion", "opted_out", "purchases", "calls", "answered_calls", "phone_hash",
    ),
    "tasks.requested": ("kind", "task_id", "customer_id", "body_sha256"),
    "profiles.inbox": ("kind", "customer_id", "call_id", "causation_id"),
    "dispatch.inbox": ("kind", "pool", "call_id", "task_id", "causation_id", "timer", "due_at"),
    "tasks.events": (
        "kind", "task_id", "call_id", "reason", "attempt", "robot_id", "edge_id",
        "permit_expires_at", "profile_version", "retry_at",
    ),
    "compliance.optouts": ("kind", "phone_hash"),
    "analytics.intent_windows": (
        "campaign_id", "window_start", "window_end", "intent", "count", "revision",
    ),
    "robots.leases": ("kind", "shard", "worker"),
    "dead_letters": ("source_topic", "source_partition", "source_offset"),
}  # fmt: skip
"""The fields that a repeat must repeat. It leaves out what two writers may see differently: times,
producers and epochs everywhere; how a turn was understood, which the first decides; the bodies of
copies, whose source may itself be there twice."""

_KEYS: dict[str, str] = {
    **{t.name: "call_id" for t in TOPICS.values() if t.call_keyed},
    **dict.fromkeys(
        ("customers.changes", "customers.profiles", "tasks.requested", "profiles.inbox"),
        "customer_id",
    ),
    "tasks.events": "task_id",
    "dispatch.inbox": "pool",
}
"""Topics whose order per key decisions rely on, and the field that is the key."""

_TELLERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    name: itemgetter(*_FACTS.get(name, ("kind", "tenant_id"))) for name in TOPICS
}


class Ids(Check):
    """Tells first records from repeats; the reader asks it before it shows a record to others."""

    name = "ids"
    title = "every event once, on its own partition"
    unit = "records"
    topics = frozenset(TOPICS) - {"media.audio"}

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, dict[str, int]] = {}
        self._repeats: Counter[str] = Counter()

    def is_first(
        self, topic: str, partition: int, offset: int, key: bytes | None, event: dict[str, Any]
    ) -> bool:
        """Notes a record; False when an earlier one of its topic has its id."""
        result = self.result
        result.looked_at += 1
        self._check_key(topic, partition, offset, key, event)
        seen = self._seen.get(topic)
        if seen is None:
            seen = self._seen[topic] = {}
        event_id = event["event_id"]
        says = hash(_TELLERS[topic](event))
        before = seen.get(event_id)
        if before is None:
            seen[event_id] = says
            return True
        result.repeats += 1
        self._repeats[topic] += 1
        ends_call = topic == "calls.events" and event["kind"] in ("answered", "ended")
        if before != says and not ends_call:
            result.violate(
                "differs",
                "a record has the id of an earlier one but different content",
                f"{topic}/{partition}@{offset}",
                event_id=event_id,
            )
        return False

    def forget(self, topic: str) -> None:
        """The topic was read to its end."""
        self._seen.pop(topic, None)

    def feed(self, record: LogRecord) -> None:
        """Does nothing: `is_first` did the work."""

    def finish(self, context: Context) -> Result:
        self.result.notes += [
            f"{count} repeats in {topic}" for topic, count in self._repeats.most_common()
        ]
        return self.result

    def _check_key(
        self, topic: str, partition: int, offset: int, key: bytes | None, event: dict[str, Any]
    ) -> None:
        name = _KEYS.get(topic)
        if name is None or event["kind"] == "takeover":
            return
        expected = event[name] or ("default" if name == "pool" else "")
        right = partition_of(expected, TOPICS[topic].partitions)
        if key == expected.encode() and partition == right:
            return
        if not expected:
            return  # a record without a key; its readers refuse it
        self.result.violate(
            "misplaced",
            f"a record of {name} {expected} lies on partition {partition} under the key "
            f"{'none' if key is None else key.decode('utf-8', 'replace')!r}; "
            f"its partition is {right}",
            f"{topic}/{partition}@{offset}",
            event_id=event["event_id"],
        )
