"""Applies the contract to a broker and a registry: topics, their settings, schemas. Idempotent.

`python -m schemas.apply [--kafka HOST:PORT] [--registry URL] [--replicas N]`
"""

import argparse
import os
import sys
from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.catalogue import TOPICS, Topic
from schemas.registry import Registry, RegistryError
from schemas.wire import schema_text

COMPATIBILITY = "BACKWARD_TRANSITIVE"


class ContractError(Exception):
    """The broker holds topics that do not fit the contract; the text names them."""


def apply_topics(bootstrap: str, topics: Iterable[Topic], replicas: int = 1) -> list[str]:
    """Creates what is missing and returns its names; raises ContractError where a topic has
    another number of partitions than the contract."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, client_id="ringlog-apply")
    try:
        wanted = {t.name: t for t in topics}
        existing = set(admin.list_topics())
        missing = [
            NewTopic(
                t.name,
                num_partitions=t.partitions,
                replication_factor=replicas,
                topic_configs=t.broker_config(),
            )
            for t in wanted.values()
            if t.name not in existing
        ]
        if missing:
            try:
                admin.create_topics(missing)
            except TopicAlreadyExistsError:
                pass  # another process applies the same contract
        found = {d["name"]: d for d in admin.describe_topics(sorted(wanted))}
        wrong = [
            f"{name} has {len(found[name]['partitions'])} partitions, the contract says {n}"
            for name, n in ((t.name, t.partitions) for t in wanted.values())
            if name in found and found[name].get("partitions")
            and len(found[name]["partitions"]) != n
        ]  # fmt: skip
        if wrong:
            raise ContractError("; ".join(wrong))
        return [t.name for t in missing]
    finally:
        admin.close()


def apply_schemas(registry: Registry, topics: Iterable[Topic]) -> dict[str, int]:
    """Registers every value schema and sets its compatibility; returns ids by subject."""
    known = set(registry.subjects())
    ids = {}
    for t in topics:
        ids[t.subject] = registry.register(t.subject, schema_text(t))
        if t.subject not in known:
            registry.set_compatibility(t.subject, COMPATIBILITY)
    return ids


def main() -> int:
    """Exit code 0: the contract is in force; 1: it is not, and the message says why."""
    env = os.environ.get
    parser = argparse.ArgumentParser(description="Create topics and register schemas.")
    parser.add_argument("--kafka", default=env("RINGLOG_KAFKA") or "127.0.0.1:19092")
    parser.add_argument(
        "--registry",
        default=env("RINGLOG_REGISTRY") or "http://127.0.0.1:18081/apis/ccompat/v7",
    )
    parser.add_argument("--replicas", type=int, default=1)
    args = parser.parse_args()
    try:
        created = apply_topics(args.kafka, TOPICS.values(), args.replicas)
        ids = apply_schemas(Registry(args.registry), TOPICS.values())
    except (ContractError, KafkaError, RegistryError) as error:
        print(f"the contract could not be applied: {error}", file=sys.stderr)
        return 1
    print(f"{len(created)} topics created, {len(ids)} schemas in force")
    return 0


if __name__ == "__main__":
    sys.exit(main())
