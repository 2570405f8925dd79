"""Reports the death of a killed robot worker, so that its follower claims the shard at once.

Without the report the follower notices after `robot_death_ms`, so this is faster, but never needed.
"""

import asyncio
import time

from ringlog.clock import now_ms
from ringlog.kafka.codec import codec_of
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas.events import Lease
from schemas.ids import root_id

SHARD = "robots/0"
WITHIN_S = 3.0
"""After this the follower has noticed by itself."""


def exited(service: str, pid: int, at_ms: int) -> Lease:
    """The record that ends whatever lease `service.pid.start` holds."""
    worker = f"{service}.{pid}"
    return Lease(
        event_id=root_id(worker, SHARD, "exited", at_ms),
        kind="exited",
        occurred_at=at_ms,
        producer="supervisor",
        shard=SHARD,
        worker=worker,
    )


def tell(settings: Settings, service: str, pid: int) -> None:
    """Writes `exited`; blocks, but not longer than `WITHIN_S` and a registry's time-out.

    Raises TimeoutError, KafkaError, RegistryError.
    """
    died_at = time.monotonic()
    record = exited(service, pid, now_ms())
    codec = codec_of(settings)
    codec.warm("robots.leases")

    async def write() -> None:
        async with (
            asyncio.timeout(WITHIN_S - (time.monotonic() - died_at)),
            EventProducer(settings, "supervisor", codec) as producer,
        ):
            await producer.send("robots.leases", record)

    asyncio.run(write())
