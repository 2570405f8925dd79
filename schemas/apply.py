"""Applies the contract to a broker and a registry: topics, their settings, schemas. Idempotent.

`python -m schemas.apply [--kafka HOST:PORT] [--registry URL] [--replicas N]`
"""

import argparse
import os
import sys
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.catalogue import TOPICS, Topic
from schemas.registry import Registry, RegistryError
from schemas.wire import schema_text

COMPATIBILITY = "BACKWARD_TRANSITIVE"
_ANSWER_S = 60.0


class ContractError(Exception):
    """The broker's topics are not those of the contract; the text says which and why."""


def apply_topics(bootstrap: str, topics: Iterable[Topic], replicas: int = 1) -> list[str]:
    """Creates what is missing and returns its names.

    Raises ContractError for a topic that cannot be made or has another number of partitions, and
    KafkaException when the broker does not answer.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "client.id": "ringlog-apply"})
    wanted = {t.name: t for t in topics}
    existing = admin.list_topics(timeout=_ANSWER_S).topics
    missing = [
        NewTopic(
            t.name,
            num_partitions=t.partitions,
            replication_factor=replicas,
            config=t.broker_config(),
        )
        for t in wanted.values()
        if t.name not in existing
    ]
    if missing:
        for name, made in admin.create_topics(missing, request_timeout=_ANSWER_S).items():
            try:
                made.result()
            except KafkaException as error:
                cause = error.args[0]
                if cause.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise ContractError(f"{name}: {cause.str()}") from None
                # Another process applies the same contract.
    found = admin.list_topics(timeout=_ANSWER_S).topics
    wrong = [
        f"{t.name} has {len(found[t.name].partitions)} partitions, the contract says {t.partitions}"
        for t in wanted.values()
        if t.name in found and len(found[t.name].partitions) not in (0, t.partitions)
    ]
    if wrong:
        raise ContractError("; ".join(wrong))
    return [topic.topic for topic in missing]


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
    except (ContractError, KafkaException, RegistryError) as error:
        print(f"the contract could not be applied: {error}", file=sys.stderr)
        return 1
    print(f"{len(created)} topics created, {len(ids)} schemas in force")
    return 0


if __name__ == "__main__":
    sys.exit(main())
