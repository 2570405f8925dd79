"""What the bridge needs of RabbitMQ: exchanges, queues, and the connection.

One queue has all changes and one consumer at a time (`x-single-active-consumer`), so a customer's
changes stay in order and a second bridge waits to take over. What was not acknowledged goes back to
its place in the queue. Messages that nobody can use are published to `<exchange>.dead` with the
reason, and acknowledged then.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity

from ringlog.crm.addresses import amqp_url
from ringlog.settings import Settings

for _chatty in ("aio_pika", "aiormq"):
    logging.getLogger(_chatty).setLevel(logging.CRITICAL)  # we tell what failed ourselves

REASON_HEADER, ROUTING_HEADER = "x-ringlog-reason", "x-ringlog-routing-key"
"""Of a dead message: why it is dead, and how it was routed."""

HEARTBEAT_S = 10
_ANSWER_S = 10.0
_DELIVERIES = 1_000_000
"""RabbitMQ 4 buries a message after 20 deliveries unless told otherwise. A bridge that was killed
says nothing against the messages that it held, so the limit is as good as none."""

LOST = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)
"""What aio-pika raises when the broker is away or refuses."""


@dataclass(frozen=True, slots=True)
class Queues:
    """The bridge's end: its queue, and where the dead go."""

    queue: AbstractQueue
    dead: AbstractExchange


def dead_queue(config: Settings) -> str:
    """Name of the queue of messages that could not be used."""
    return f"{config.crm_queue}.dead"


def dead_message(
    body: bytes, reason: str, routing_key: str, like: AbstractIncomingMessage | None = None
) -> aio_pika.Message:
    """What is published to `Queues.dead`; `like` is the message that nobody can use."""
    headers = {} if like is None else like.headers
    return aio_pika.Message(
        body,
        headers={**headers, REASON_HEADER: reason[:1_000], ROUTING_HEADER: routing_key},
        content_type=like.content_type if like else None,
        message_id=like.message_id if like else None,
        timestamp=like.timestamp if like else None,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


@asynccontextmanager
async def connected(config: Settings) -> AsyncIterator[AbstractConnection]:
    """A connection that does not reconnect by itself: what it held has to be forgotten then.
    Raises one of LOST."""
    connection = await aio_pika.connect(
        amqp_url(config), timeout=_ANSWER_S, heartbeat=HEARTBEAT_S,
        client_properties={"connection_name": "ringlog"},
    )  # fmt: skip
    try:
        yield connection
    finally:
        try:
            await asyncio.wait_for(connection.close(), _ANSWER_S)
        except LOST:
            pass  # the broker is away: there is nothing left to close


async def declare(connection: AbstractConnection, config: Settings) -> Queues:
    """Makes exchanges and queues that are not there; a queue that is there stays as it is. Call it
    before `consume`."""
    channel = await connection.channel(on_return_raises=True)
    changes = await channel.declare_exchange(
        config.crm_exchange, aio_pika.ExchangeType.TOPIC, durable=True
    )
    dead = await channel.declare_exchange(
        f"{config.crm_exchange}.dead", aio_pika.ExchangeType.FANOUT, durable=True
    )
    if await _lacks(connection, dead_queue(config)):
        made = await channel.declare_queue(
            dead_queue(config), durable=True, arguments={"x-queue-type": "quorum"}
        )
        await made.bind(dead)
    if await _lacks(connection, config.crm_queue):
        made = await channel.declare_queue(
            config.crm_queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-single-active-consumer": True,
                "x-dead-letter-exchange": dead.name,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": _DELIVERIES,
            },
        )
        await made.bind(changes, "#")
    await channel.set_qos(prefetch_count=config.crm_prefetch)
    return Queues(await channel.get_queue(config.crm_queue, ensure=False), dead)


async def _lacks(connection: AbstractConnection, queue: str) -> bool:
    probe = await connection.channel()  # a no closes the channel
    try:
        await probe.declare_queue(queue, passive=True)
    except ChannelNotFoundEntity:
        return True
    await probe.close()
    return False


class Inflow:
    """Deliveries of one consumer, in order, by batches."""

    def __init__(self, queues: Queues) -> None:
        self._queue = queues.queue
        self._waiting: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._tag = ""

    async def start(self, connection: AbstractConnection) -> None:
        """Begins to consume."""
        connection.close_callbacks.add(self._lost)
        channel: AbstractChannel = self._queue.channel
        channel.close_callbacks.add(self._lost)
        self._tag = await self._queue.consume(self._waiting.put)

    async def batch(self, at_most: int, stopping: asyncio.Event) -> list[AbstractIncomingMessage]:
        """The next deliveries, as many as are there; none when told to stop. Raises ConnectionError
        when no more will come."""
        waits = [
            asyncio.ensure_future(w) for w in
            (self._waiting.get(), self._gone.wait(), stopping.wait())
        ]  # fmt: skip
        first, gone, stop = waits
        try:
            while True:
                await asyncio.wait(waits, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise ConnectionError("RabbitMQ closed the connection")
                if stop.done():
                    return []
                if first.done():
                    break
                await self._look()
        finally:
            for wait in waits:
                wait.cancel()
        found: list[AbstractIncomingMessage] = [first.result()]  # type: ignore[list-item] # the first of three kinds
        while len(found) < at_most and not self._waiting.empty():
            found.append(self._waiting.get_nowait())
        return found

    async def stop(self) -> None:
        """No more deliveries; those that are not acknowledged go back."""
        await self._queue.cancel(self._tag)

    async def _look(self) -> None:
        """A consumer that the broker cancelled, since its queue was deleted, is told to nobody."""
        channel = await self._queue.channel.get_underlay_channel()
        if self._tag not in channel.consumers:  # type: ignore[attr-defined] # of aiormq's Channel
            raise ConnectionError("RabbitMQ cancelled the consumer: is the queue gone?")

    def _lost(self, *_: object) -> None:
        self._gone.set()
