"""Whether the broker still has the log that a checkpoint was made of."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings

Seen = tuple[int, int]
"""The next offset, and Kafka's time (ms) of the record before it."""

PATIENCE_S = 30.0
"""Longest wait for the records."""


async def is_same_log(
    config: Settings, client_id: str, seen: Mapping[TopicPartition, Seen]
) -> bool:
    """Whether each partition has the last record that was seen, by its offset and time; topics
    that were made anew do not. Raises KafkaError, and TimeoutError where the broker gives none."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=config.kafka_bootstrap, client_id=client_id, group_id=None,
        enable_auto_commit=False, isolation_level=ISOLATION, request_timeout_ms=10_000,
        check_crcs=False,
    )  # fmt: skip
    await consumer.start()
    try:
        places = list(seen)
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        if not all(begins[tp] < at <= ends[tp] for tp, (at, _) in seen.items()):
            return False
        consumer.assign(places)
        for tp, (at, _) in seen.items():
            consumer.seek(tp, at - 1)
        left = set(places)
        async with asyncio.timeout(PATIENCE_S):
            while left:
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    at, time_ms = seen[tp]
                    if (records[0].offset, records[0].timestamp) != (at - 1, time_ms):
                        return False
                    left.discard(tp)
                    consumer.pause(tp)
        return True
    finally:
        await consumer.stop()
