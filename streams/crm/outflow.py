"""The host that brings results to the CRM: read, deliver, record the delivery, commit.

Each destination has a consumer group of its own, and the log is its queue: while one is away, its
results wait on Kafka and hold up nothing else. A crash can repeat the last ones, with the
same ids.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import aio_pika
import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from ringlog import log
from ringlog.clock import now_ms
from ringlog.kafka.codec import decode
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.sync import ISOLATION
from ringlog.lifecycle import Lifecycle
from ringlog.metrics import CRM_DELIVERIES
from ringlog.settings import Settings
from ringlog.webhooks import headers_of, keys_of
from schemas.catalogue import topic
from schemas.wire import Poison
from streams.crm import rabbit
from streams.crm.results import (
    TOPICS,
    CrmResult,
    Tried,
    delivery_of,
    outcome_of_status,
    pause_s,
    result_of,
)
from streams.crm.told import ToldResults, told_before
from streams.crm.waves import waves

AT_ONCE = 64
"""Results in flight."""

_ANSWER_S = 10.0
_RECONNECT_S = 1.0
_JOINED_S = 0.1

_log = log.logger("streams.crm.results")

Deliver = Callable[[CrmResult], Awaitable[Tried]]


class Outflow:
    """One destination's results, as they come on the log."""

    def __init__(
        self, life: Lifecycle, producer: EventProducer, destination: str, deliver: Deliver
    ) -> None:
        self._life, self._producer = life, producer
        self._destination, self._deliver = destination, deliver
        self._told = ToldResults()

    async def run(self) -> None:
        """Until cancelled; starts over when the broker was away."""
        while True:
            try:
                self._told = await asyncio.to_thread(
                    told_before, self._life.settings, self._producer.codec, self._destination
                )
                await self._read()
            except* (KafkaError, KafkaException) as errors:
                why = f"kafka: {type(errors.exceptions[0]).__name__}"
                _log.warning("waiting", why=why, destination=self._destination)
                await asyncio.sleep(_RECONNECT_S)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            *TOPICS,
            bootstrap_servers=self._life.settings.kafka_bootstrap,
            client_id=self._life.service,
            group_id=f"ringlog-crm-results-{self._destination}",
            enable_auto_commit=False,
            auto_offset_reset="latest",  # a CRM that is connected today is told of today's calls
            isolation_level=ISOLATION,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            max_poll_interval_ms=24 * 3_600_000,  # a destination may be away for long
        )
        await consumer.start()
        try:
            await _hold_places(consumer)
            while True:
                polled = await consumer.getmany(timeout_ms=500, max_records=AT_ONCE)
                found = [
                    await self._result(place.topic, record.value)
                    for place, records in polled.items()
                    for record in records
                ]
                results = [result for result in found if result is not None]
                for wave in waves(results, lambda result: result.order):
                    async with asyncio.TaskGroup() as tries:
                        for result in wave:
                            tries.create_task(self._bring(result))
                if polled:
                    await consumer.commit()
        finally:
            with contextlib.suppress(KafkaError):
                await consumer.stop()

    async def _result(self, topic_name: str, value: bytes | None) -> CrmResult | None:
        if value is None and topic(topic_name).compacted:
            return None
        try:
            return result_of(await decode(self._producer.codec, topic_name, value))
        except Poison:
            return None  # those who serve the topic bury it

    async def _bring(self, result: CrmResult) -> None:
        attempt = 0
        while result.result_id not in self._told:
            attempt += 1
            begun_s = time.monotonic()
            outcome = await self._deliver(result)
            took_ms = round((time.monotonic() - begun_s) * 1000)
            record = delivery_of(result, self._destination, outcome, attempt, now_ms(), took_ms)
            await self._producer.send("crm.deliveries", record)
            CRM_DELIVERIES.labels(self._destination, outcome.kind).inc()
            if outcome.kind != "failed":
                self._told.add(result.result_id)
                return
            if attempt == 1:
                _log.warning("a result waits", destination=self._destination,
                             result=result.kind, why=outcome.reason)  # fmt: skip
            await asyncio.sleep(pause_s(attempt - 1))


async def _hold_places(consumer: AIOKafkaConsumer) -> None:
    """Commits where a new group begins, or a crash before its first result would skip some."""
    while not consumer.assignment():  # noqa: ASYNC110 # aiokafka has no event for it
        await asyncio.sleep(_JOINED_S)  # the group is joined in the background
    fresh: dict[TopicPartition, int] = {}
    for place in consumer.assignment():
        if await consumer.committed(place) is None:
            fresh[place] = await consumer.position(place)
    if fresh:
        await consumer.commit(fresh)


class Webhook:
    """Posts results, signed as Standard Webhooks has it. Redirects are not followed."""

    def __init__(self, config: Settings) -> None:
        assert config.crm_results_secret is not None, "checked at the start"
        self._url = config.crm_results_url
        self._key = keys_of(config.crm_results_secret.get_secret_value())[0]
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S))

    async def deliver(self, result: CrmResult) -> Tried:
        """One try."""
        headers = headers_of(self._key, result.result_id, int(time.time()), result.body)
        headers["Content-Type"] = "application/json"
        try:
            async with self._session.post(
                self._url, data=result.body, headers=headers, allow_redirects=False
            ) as answer:
                return outcome_of_status(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Tried("failed", reason=type(error).__name__)

    async def close(self) -> None:
        """Closes its connections."""
        await self._session.close()


class Exchange:
    """Publishes results with confirms, by their kind; connects again when it has to."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._open = contextlib.AsyncExitStack()
        self._exchange: aio_pika.abc.AbstractExchange | None = None
        self._lock = asyncio.Lock()

    async def deliver(self, result: CrmResult) -> Tried:
        """One try."""
        try:
            exchange = await self._ready()
            await exchange.publish(
                aio_pika.Message(
                    result.body,
                    content_type="application/json",
                    message_id=result.result_id,
                    type=result.kind,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                result.kind,
                mandatory=False,  # who has bound no queue wants none
                timeout=_ANSWER_S,
            )
        except rabbit.LOST as error:
            self._exchange = None
            return Tried("failed", reason=type(error).__name__)
        return Tried("delivered")

    async def _ready(self) -> aio_pika.abc.AbstractExchange:
        async with self._lock:
            if self._exchange is None:
                await self.close()
                connection = await self._open.enter_async_context(rabbit.connected(self._config))
                channel = await connection.channel()
                self._exchange = await channel.declare_exchange(
                    self._config.crm_results_exchange, aio_pika.ExchangeType.TOPIC, durable=True
                )
            return self._exchange

    async def close(self) -> None:
        """Closes its connection."""
        await self._open.aclose()
