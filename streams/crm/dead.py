"""Messages that the bridge could not use: looking at them, and trying them again."""

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from ringlog.settings import Settings
from streams.crm import rabbit


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """What is told of one: its content stays where it is, since it may hold numbers."""

    reason: str
    routing_key: str
    message_id: str | None
    bytes: int

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


async def look(config: Settings, at_most: int) -> list[DeadMessage]:
    """The oldest of them; they stay. Raises one of LOST."""
    async with rabbit.connected(config) as connection:
        await rabbit.declare(connection, config)
        # What is not acknowledged goes back when the connection closes.
        return [_told(message) async for message in _dead(connection, config, at_most)]


async def put_back(config: Settings, at_most: int) -> int:
    """Publishes the oldest to the queue of changes, confirmed; returns how many. Raises one of
    LOST."""
    count = 0
    async with rabbit.connected(config) as connection:
        queues = await rabbit.declare(connection, config)
        exchange = await queues.queue.channel.get_exchange(config.crm_exchange, ensure=False)
        async for message in _dead(connection, config, at_most):
            headers = {
                name: value for name, value in message.headers.items()
                if name not in (rabbit.ROUTING_HEADER, rabbit.REASON_HEADER)
            }  # fmt: skip
            await exchange.publish(
                aio_pika.Message(
                    message.body,
                    headers=headers,
                    content_type=message.content_type,
                    message_id=message.message_id,
                    timestamp=message.timestamp,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                str(message.headers.get(rabbit.ROUTING_HEADER, "")),
            )
            await message.ack()
            count += 1
    return count


async def _dead(
    connection: AbstractConnection, config: Settings, at_most: int
) -> AsyncIterator[AbstractIncomingMessage]:
    channel = await connection.channel()
    queue = await channel.declare_queue(rabbit.dead_queue(config), passive=True)
    # What is dead again while we put it back comes to the queue's end, and is not tried twice.
    there = queue.declaration_result.message_count or 0
    for _ in range(min(at_most, there)):
        message = await queue.get(fail=False)
        if message is None:
            return
        yield message


def _told(message: AbstractIncomingMessage) -> DeadMessage:
    return DeadMessage(
        reason=str(message.headers.get(rabbit.REASON_HEADER, "")),
        routing_key=str(message.headers.get(rabbit.ROUTING_HEADER, "")),
        message_id=message.message_id,
        bytes=len(message.body),
    )
