"""`send_in_order`: whatever part of a send fails and is sent again, nothing is turned round."""

import asyncio
import itertools
import random
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ringlog.kafka.producer import EventProducer, Outgoing
from ringlog.settings import Settings


class Broker:
    """Takes a batch whole or not at all, and does not always say so."""

    def __init__(self, chance: random.Random) -> None:
        self.log: dict[int, list[bytes]] = {}
        self.requests = 0
        self._chance = chance

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(300, 0)

    async def send_batch(
        self, batch: Any, topic: str, *, partition: int
    ) -> "asyncio.Future[object]":
        self.requests += 1
        answer = asyncio.get_running_loop().create_future()
        # Other partitions may be served first.
        asyncio.get_running_loop().call_later(
            self._chance.choice((0, 0, 0.0001)),
            self._serve,
            bytes(batch._build()),
            partition,
            answer,
        )
        return answer

    def _serve(self, batch: bytes, partition: int, answer: "asyncio.Future[object]") -> None:
        if self._chance.random() < 0.9:
            self.log.setdefault(partition, []).extend(r.value for r in DefaultRecordBatch(batch))
            if self._chance.random() < 0.9:
                answer.set_result(SimpleNamespace(timestamp=0, timestamp_type=0))
                return
        answer.set_exception(KafkaTimeoutError())


async def _all_sent(broker: Broker, records: list[Outgoing]) -> int:
    """Sends all again until nothing failed; how often it took."""
    producer = EventProducer(Settings(), "test")
    producer._producer = broker
    for tries in itertools.count(1):
        try:
            await producer.send_in_order(records)
            return tries
        except KafkaTimeoutError:
            continue
    raise AssertionError("unreachable")


@effort(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=12), st.integers(0, 10_000))
def test_first_records_are_in_order_however_sends_fail(partitions: list[int], seed: int) -> None:
    chance = random.Random(seed)
    records = [
        Outgoing("customers.changes", p, b"k", b"%d" % n + b" " * chance.randrange(400))
        for n, p in enumerate(partitions)
    ]
    broker = Broker(chance)
    asyncio.run(_all_sent(broker, records))
    for place in set(partitions):
        first = list(dict.fromkeys(broker.log[place]))
        assert first == [r.value for r in records if r.partition == place]


def test_a_batch_holds_many_records() -> None:
    broker = Broker(random.Random(1))
    records = [Outgoing("customers.changes", n % 2, b"k", b"%d" % n) for n in range(20)]
    tries = asyncio.run(_all_sent(broker, records))
    assert broker.requests <= 2 * tries
