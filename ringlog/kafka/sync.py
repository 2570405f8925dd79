"""Reading and producing without an event loop, with kafka-python: worker, sink, command line."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ringlog.settings import Settings
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.partition import partition_of
from schemas.wire import Codec


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it lies on the log. `timestamp_ms` is Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def consumer_of(config: Settings, client_id: str, **options: Any) -> KafkaConsumer:
    """A consumer that commits only when told to."""
    return KafkaConsumer(
        bootstrap_servers=config.kafka_bootstrap,
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **options,
    )


def producer_of(config: Settings, client_id: str, **options: Any) -> KafkaProducer:
    """An idempotent producer that waits for all acknowledgements."""
    return KafkaProducer(
        bootstrap_servers=config.kafka_bootstrap,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        max_request_size=2_097_152,
        **options,
    )


def produce(
    producer: KafkaProducer,
    codec: Codec,
    topic_name: str,
    event: Event,
    partition: int | None = None,
) -> Any:
    """Hands over one event, on its key's partition unless told otherwise; returns a future."""
    t = topic(topic_name)
    key = t.key(event)
    if partition is None:
        partition = partition_of(key, t.partitions)
    return producer.send(
        topic_name, value=codec.encode(topic_name, event), key=key.encode(), partition=partition
    )


def read(
    config: Settings,
    topic_name: str,
    *,
    partitions: Iterable[int] | None = None,
    from_beginning: bool = True,
    follow: bool = False,
    client_id: str = "ringlog-read",
) -> Iterator[RawRecord]:
    """Records of a topic, in the order of each partition.

    Without `follow` it ends where the log ended when it began.
    """
    wanted = range(topic(topic_name).partitions) if partitions is None else partitions
    tps = [TopicPartition(topic_name, p) for p in wanted]
    with closing(consumer_of(config, client_id, group_id=None)) as consumer:
        consumer.assign(tps)
        ends = consumer.end_offsets(tps)
        begins = consumer.beginning_offsets(tps) if from_beginning else ends
        for tp in tps:
            consumer.seek(tp, begins[tp])
        left = {tp for tp in tps if begins[tp] < ends[tp]}
        while left or follow:
            for tp, records in consumer.poll(timeout_ms=300).items():
                for r in records:
                    if not follow and r.offset >= ends[tp]:
                        break
                    yield RawRecord(tp.topic, tp.partition, r.offset, r.timestamp, r.key, r.value)
            left = {tp for tp in left if consumer.position(tp) < ends[tp]}
