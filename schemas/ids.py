"""Ids are derived, never random: processing the same input twice gives the same ids.

Every id is a UUID version 5 (RFC 9562 section 5.5) over one namespace, so that of two records with
one id the first can be kept and the other dropped, everywhere.
"""

import hashlib
import hmac
from uuid import NAMESPACE_URL, UUID, uuid5

NAMESPACE = uuid5(NAMESPACE_URL, "https://ringlog.dev/events")
_SALT = NAMESPACE.bytes


def uuid_of(name: str) -> str:
    """`uuid5(NAMESPACE, name)` as text, at a third of its cost: an edge names 10,000 chunks of
    sound a second."""
    h = hashlib.sha1(_SALT + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(h[16], 16) & 3]
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{variant}{h[17:20]}-{h[20:32]}"


def event_id(causation_id: str, kind: str, n: int = 0) -> str:
    """Id of the n-th event of a kind that one event caused; n counts from that event alone."""
    return uuid_of(f"{causation_id}/{kind}/{n}")


def root_id(*parts: str | int) -> str:
    """Id of an event with no cause among ours, from what names it in the world."""
    return uuid_of("|".join(map(str, parts)))


def task_id(tenant_id: str, route: str, idempotency_key: str) -> str:
    """Id of a task: one request key is one task."""
    return root_id(tenant_id, route, idempotency_key)


def contact_task_id(tenant_id: str, campaign_id: str, contact_id: str) -> str:
    """Id of the task that calls a contact of a campaign's list; `contact_id` is its request's
    idempotency key."""
    return task_id(tenant_id, f"campaigns/{campaign_id}", contact_id)


def call_id(task: str, attempt: int) -> str:
    """Id of the call that the n-th attempt of a task makes."""
    return root_id(task, attempt)


def media_chunk_id(call: str, leg: str, rtp_ts: int) -> str:
    """Id of an audio chunk, by the extended RTP timestamp of its first sample."""
    return root_id(call, leg, rtp_ts)


def utterance_id(call: str, leg: str, ssrc: int, start_sample: int) -> str:
    """Id of a customer's turn, by the leg's sample at which speech began."""
    return root_id(call, leg, ssrc, start_sample)


def call_once_id(call: str, kind: str) -> str:
    """Id of an `answered` or `ended` record, whoever writes it; the first one counts."""
    return root_id(call, kind)


def call_status_id(source: str, call: str, kind: str, occurred_at_ms: int, digits: str = "") -> str:
    """Id of any other call status that an outside system reports."""
    return root_id(source, call, kind, occurred_at_ms, digits)


def heartbeat_id(worker_instance: str, epoch: int, n: int) -> str:
    """Id of the n-th heartbeat of a worker process within an epoch."""
    return root_id(worker_instance, epoch, n)


def timer_id(setting_event_id: str, name: str, due_ms: int) -> str:
    """Id of a timer's firing."""
    return root_id(setting_event_id, name, due_ms)


def published_id(kind: str, name: str, sha256: str) -> str:
    """Id of a published playbook, robot or campaign, by its content."""
    return root_id(kind, name, sha256)


def dead_letter_id(topic: str, partition: int, offset: int) -> str:
    """Id of the dead letter of one record."""
    return root_id(topic, partition, offset)


def window_id(job: str, campaign: str, intent: str, size_s: int, start_ms: int, rev: int) -> str:
    """Id of a window's revision: an MD5 written as a UUID, since Flink SQL has to make it too."""
    text = f"{job}|{campaign}|{intent}|{size_s}|{start_ms}|{rev}"
    return str(UUID(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()))


def phone_hash(phone: str, site_key: bytes) -> str:
    """Keyed hash of a phone number (HMAC-SHA-256, RFC 2104): the do-not-call list's key."""
    digits = "".join(c for c in phone if c.isdigit() or c == "+")
    return hmac.new(site_key, digits.encode(), hashlib.sha256).hexdigest()
