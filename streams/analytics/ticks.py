"""Ticks: real events that keep event time moving when nobody speaks."""

import asyncio

from aiokafka.errors import KafkaError

from ringlog import clock, log
from ringlog.kafka.producer import EventProducer
from schemas.catalogue import topic
from schemas.events import Tick
from schemas.ids import root_id
from streams.analytics.records import PRODUCER, TICKS

EVERY_MS = 1_000


def tick(partition: int, at_ms: int) -> Tick:
    """The tick of a partition and second; two hosts that write it write the same event."""
    return Tick(
        event_id=root_id(TICKS, partition, at_ms),
        kind="tick",
        occurred_at=at_ms,
        producer=PRODUCER,
    )


def due(now_ms: int) -> tuple[int, int]:
    """(time of the tick that is due, ms until the next is): ticks fall on whole seconds."""
    at_ms = now_ms - now_ms % EVERY_MS
    return at_ms, at_ms + EVERY_MS - now_ms


async def write_ticks(producer: EventProducer) -> None:
    """Writes a tick into every partition each second, for ever. Waits for a broker that is away;
    missed ticks need no repeat, since the next one replaces them."""
    logger = log.logger("streams.analytics.ticks")
    partitions = range(topic(TICKS).partitions)
    written_ms = None
    while True:
        at_ms, wait_ms = due(clock.now_ms())
        if at_ms != written_ms:  # sleep may end a millisecond early
            written_ms = at_ms
            try:
                await asyncio.gather(*(producer.send(TICKS, tick(p, at_ms), p) for p in partitions))
            except KafkaError as error:
                logger.warning("ticks not written", error=f"{type(error).__name__}: {error}")
        _, wait_ms = due(clock.now_ms())
        await asyncio.sleep(wait_ms / 1_000)
