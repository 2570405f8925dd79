"""The host of the bridge: batches from RabbitMQ, events on `customers.changes`, then the
acknowledgement.

What goes to one partition goes there in whole batches one after the other, so that no failure can
turn a customer's changes round.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from aio_pika.abc import AbstractIncomingMessage
from aiokafka.errors import KafkaError

from ringlog import log
from ringlog.clock import now_ms
from ringlog.crm.mapping import Mapping
from ringlog.crm.translate import CrmMessage, Ignored, Rejected, translate
from ringlog.kafka.producer import EventProducer, Outgoing
from ringlog.lifecycle import Lifecycle
from ringlog.metrics import CRM_LATENCY, CRM_MESSAGES
from ringlog.stopping import Stopped
from schemas.events import CustomerChange
from schemas.wire import TooLarge
from streams.crm import rabbit

TOPIC = "customers.changes"
MAX_BATCH = 256
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)

_log = log.logger("streams.crm")

Made = tuple[Outgoing, CustomerChange]


class Bridge:
    """One bridge. `run` returns when told to stop; what it held goes back to the queue."""

    def __init__(self, life: Lifecycle, mapping: Mapping, producer: EventProducer) -> None:
        self._life = life
        self._config = life.settings
        self._mapping = mapping
        self._producer = producer
        self._told: set[str] = set()

    async def run(self) -> None:
        """Connects again, whenever the broker was away, until told to stop."""
        failures = 0
        while not self._life.stopping.is_set():
            try:
                async with rabbit.connected(self._config) as connection:
                    queues = await rabbit.declare(connection, self._config)
                    inflow = rabbit.Inflow(queues)
                    await inflow.start(connection)
                    self._life.health.set_ready()
                    _log.info("consuming", queue=self._config.crm_queue)
                    failures = 0
                    await self._consume(inflow, queues)
            except rabbit.LOST as error:
                # An error's text may hold the URL with its password.
                why = f"RabbitMQ: {type(error).__name__}"
                if failures == 0:
                    _log.warning("waiting", why=why)
                self._life.health.set_waiting(why)
                await self._pause(failures)
                failures += 1

    async def _consume(self, inflow: rabbit.Inflow, queues: rabbit.Queues) -> None:
        while batch := await inflow.batch(MAX_BATCH, self._life.stopping):
            await self._work(batch, queues)
            await batch[-1].ack(multiple=True)
        await inflow.stop()

    async def _work(self, batch: Sequence[AbstractIncomingMessage], queues: rabbit.Queues) -> None:
        counts: Counter[str] = Counter()
        changes: list[Made] = []
        for message in batch:
            made = self._made(message)
            if isinstance(made, Rejected):
                counts["rejected"] += 1
                await self._bury(message, made.reason, queues)
            else:
                counts["changed" if made else "ignored"] += 1
                changes += made
        await self._send(changes)
        for result, count in counts.items():
            CRM_MESSAGES.labels(result).inc(count)

    def _made(self, message: AbstractIncomingMessage) -> list[Made] | Rejected:
        try:
            result = translate(_received(message), self._mapping, self._config.tenant_id)
            if isinstance(result, Rejected):
                return result
            if isinstance(result, Ignored):
                self._tell(result.reason)
                return []
            return [(self._producer.outgoing(TOPIC, event), event) for event in result]
        except TooLarge as error:
            return Rejected(str(error))
        except Exception as error:  # one message must not stop those behind it
            _log.exception("a message could not be translated", error=type(error).__name__)
            return Rejected(f"the bridge failed: {type(error).__name__}")

    async def _send(self, changes: list[Made]) -> None:
        """Until the broker has all of it; raises Stopped."""
        failures = 0
        while True:
            try:
                await self._producer.send_in_order(record for record, _ in changes)
                break
            except KafkaError as error:
                if failures == 0:
                    _log.warning("waiting", why=f"kafka: {type(error).__name__}")
                self._life.health.set_waiting(f"kafka: {type(error).__name__}")
                await self._pause(failures)
                if self._life.stopping.is_set():
                    raise Stopped("while Kafka was away") from None
                failures += 1
        if failures:
            self._life.health.set_ready()
        now = now_ms()
        for _, event in changes:
            CRM_LATENCY.observe(max(0, now - event.occurred_at) / 1000)

    async def _bury(
        self, message: AbstractIncomingMessage, reason: str, queues: rabbit.Queues
    ) -> None:
        """Publishes it to the dead, confirmed. Raises one of LOST."""
        _log.warning("a message is dead", reason=reason, queue=rabbit.dead_queue(self._config))
        routing_key = message.routing_key or ""
        dead = rabbit.dead_message(message.body, reason, routing_key, message)
        await queues.dead.publish(dead, routing_key)

    def _tell(self, reason: str) -> None:
        if reason.startswith("table") and reason not in self._told and len(self._told) < 100:
            self._told.add(reason)
            _log.info("left out", what=reason)

    async def _pause(self, failures: int) -> None:
        try:
            await asyncio.wait_for(
                self._life.stopping.wait(), _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
            )
        except TimeoutError:
            pass  # the pause is over


def _received(message: AbstractIncomingMessage) -> CrmMessage:
    at = message.timestamp
    return CrmMessage(
        body=message.body,
        received_ms=now_ms(),
        message_id=message.message_id or None,
        timestamp_ms=round(at.timestamp() * 1000) if isinstance(at, datetime) else None,
    )
