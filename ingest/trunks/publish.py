"""Publishes `trunks.yaml`: only what is new is written.

`python -m ingest.trunks.publish` does so with the site's file; the stack runs it at a start where
there is one.
"""

import sys
from pathlib import Path

from ingest.trunks.plan import SitePlan, load_plan, plan_file
from ingest.trunks.published import PRODUCER, PublishedPlan, changes
from ringlog.clock import now_ms
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import produce, producer_of, read
from ringlog.settings import Settings, settings
from ringlog.yaml_source import InvalidFile
from schemas.events import TrunkSetting, TrunkStatus
from schemas.wire import Poison


def publish_plan(config: Settings, plan: SitePlan) -> list[str]:
    """Makes the topic say what the plan says; returns the names of the parts that changed."""
    new = changes(published(config), plan, config.tenant_id, now_ms())
    if new:
        codec = codec_of(config)
        producer = producer_of(config, PRODUCER)
        try:
            for event in new:
                produce(producer, codec, "trunks", event)
            producer.flush()
        finally:
            producer.close()
    return [f"{event.kind} {event.trunk}".strip() for event in new]


def published(config: Settings) -> PublishedPlan:
    """What the topic says now."""
    fold, codec = PublishedPlan(), codec_of(config)
    for record in read(config, "trunks", client_id=PRODUCER):
        if record.value is None:
            continue
        try:
            event = codec.decode("trunks", record.value)
        except Poison:
            continue  # the edge sends it to dead_letters
        if isinstance(event, TrunkSetting):
            fold.evolve(event)
    return fold


def told(config: Settings) -> dict[str, TrunkStatus]:
    """The last status of each trunk, as an edge told it."""
    latest, codec = dict[str, TrunkStatus](), codec_of(config)
    for record in read(config, "trunks.status", client_id=PRODUCER):
        if record.value is None:
            continue
        try:
            event = codec.decode("trunks.status", record.value)
        except Poison:
            continue
        if isinstance(event, TrunkStatus):
            latest[event.trunk] = event
    return latest


def publish_file(config: Settings, path: Path) -> list[str]:
    """Publishes a file; returns the names of the parts that changed. Raises InvalidFile."""
    return publish_plan(config, load_plan(path))


def main() -> int:
    """Exit code 0: published; 1: the file is wrong, and the message says where."""
    config = settings()
    try:
        changed = publish_file(config, plan_file(config))
    except InvalidFile as error:
        print(error, file=sys.stderr)
        return 1
    print(f"trunks: {len(changed)} parts changed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
