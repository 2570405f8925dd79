"""`python -m streams.crm.capture`: row changes of the CRM's database, onto RabbitMQ.

A batch is published with confirms and only then marked as read. While RabbitMQ is away the batch
waits, and the database keeps its log.
"""

import asyncio
import sys
import time
from functools import partial

import aio_pika
from aio_pika.abc import AbstractExchange
from jpype import JException

from ringlog import log
from ringlog.crm.mapping import load_mapping
from ringlog.crm.translate import MAX_BODY_BYTES
from ringlog.lifecycle import Lifecycle, run
from ringlog.settings import settings
from ringlog.stopping import Stopped
from ringlog.yaml_source import InvalidFile
from streams.crm import rabbit
from streams.crm.engine import (
    Captured,
    CaptureEngine,
    properties,
    run_in_thread,
    site_properties,
    start_java,
)
from streams.crm.tables import NoTables, choice, found
from streams.crm.waves import waves

SERVICE = "debezium"
DATABASE = "the database"
_PAUSE_S = 0.5
_STOP_S = 8.0
_LOOK_S = 2.0
_LONG_S = 30.0
_KEPT_BYTES = 4_096

_log = log.logger("streams.crm.capture")


_Batch = tuple[list[Captured], "asyncio.Future[None]"]


class CaptureFailed(RuntimeError):
    """The engine ended by itself."""


class Publisher:
    """Publishes batches, connecting again whenever RabbitMQ was away."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._batches: asyncio.Queue[_Batch] = asyncio.Queue()
        self._held: _Batch | None = None
        self._held_s = 0.0
        self._stopped = False

    async def put(self, batch: list[Captured]) -> None:
        """Returns once the broker has the batch; raises Stopped."""
        if self._stopped:
            raise Stopped("the batch is read again")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._batches.put((batch, done))
        await done

    def stop(self) -> None:
        """Nobody waits any longer for what is not published yet."""
        self._stopped = True
        waiting = [self._held] if self._held is not None else []
        while not self._batches.empty():
            waiting.append(self._batches.get_nowait())
        for _, done in waiting:
            if not done.done():
                done.set_exception(Stopped("the batch is read again"))

    def blocked(self) -> str:
        """Why nothing goes on: a broker short of memory or disk takes nothing and says no more."""
        waits = self._held is not None and time.monotonic() - self._held_s > _LONG_S
        return "RabbitMQ: it takes nothing; is its memory or disk full?" if waits else ""

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                async with rabbit.connected(self._life.settings) as connection:
                    queues = await rabbit.declare(connection, self._life.settings)
                    exchange = await queues.queue.channel.get_exchange(
                        self._life.settings.crm_exchange, ensure=False
                    )
                    self._life.health.blocked = self.blocked
                    while True:
                        self._held = self._held or await self._batches.get()
                        self._held_s = time.monotonic()
                        batch, done = self._held
                        await _publish(exchange, queues.dead, batch)
                        self._held = None
                        if not done.done():
                            done.set_result(None)
            except rabbit.LOST as error:
                why = f"RabbitMQ: {type(error).__name__}"
                _log.warning("waiting", why=why)
                self._life.health.blocked = partial(str, why)
                await asyncio.sleep(_PAUSE_S)


async def _publish(
    exchange: AbstractExchange, dead: AbstractExchange, batch: list[Captured]
) -> None:
    for wave in waves(batch, lambda record: (record.destination, record.key)):
        await asyncio.gather(*[_publish_one(exchange, dead, record) for record in wave])


async def _publish_one(
    exchange: AbstractExchange, dead: AbstractExchange, record: Captured
) -> None:
    body = record.value.encode()
    if len(body) > MAX_BODY_BYTES:  # brokers close the channel over what is longer than their limit
        reason = f"row longer than {MAX_BODY_BYTES} bytes; only its key is kept"
        _log.warning("a row is dead", reason=reason, table=record.destination)
        key = record.key.encode()[:_KEPT_BYTES]
        await dead.publish(rabbit.dead_message(key, reason, record.destination), record.destination)
        return
    await exchange.publish(
        aio_pika.Message(
            body,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        ),
        record.destination,
    )


async def _lists(life: Lifecycle) -> dict[str, str] | None:
    """What is captured, once it is known; None when told to stop."""
    if "table.include.list" in site_properties(life.settings):
        return {}
    mapping = load_mapping(life.settings)
    said: list[str] = []
    while True:
        try:
            lists, complaints = choice(mapping, await asyncio.to_thread(found, life.settings))
            for complaint in complaints:
                _log.error("a table is left out", why=complaint)
            return lists
        except (NoTables, JException) as error:
            # What Java says may quote the address.
            why = str(error) if isinstance(error, NoTables) else type(error).__name__
        if why not in said:
            said.append(why)
            _log.warning("waiting", why=f"{DATABASE}: {why}")
        life.health.set_waiting(f"{DATABASE}: {why}")
        try:
            await asyncio.wait_for(life.until_stopped(), _LOOK_S)
            return None
        except TimeoutError:
            continue


async def main(life: Lifecycle) -> None:
    """Runs until told to stop; raises CaptureFailed."""
    config = life.settings
    loop = asyncio.get_running_loop()
    publisher = Publisher(life)
    life.spawn(publisher.run(), "publisher")
    ended = asyncio.Event()

    def handle(batch: list[Captured]) -> None:
        asyncio.run_coroutine_threadsafe(publisher.put(batch), loop).result()

    def runs(yes: bool) -> None:
        tell = life.health.set_ready if yes else partial(life.health.set_waiting, DATABASE)
        loop.call_soon_threadsafe(tell)

    life.health.set_waiting(DATABASE)
    await asyncio.to_thread(start_java, config)
    lists = await _lists(life)
    if lists is None:
        return
    engine = await asyncio.to_thread(CaptureEngine, properties(config, lists), handle, runs)
    thread = run_in_thread(engine, lambda: loop.call_soon_threadsafe(ended.set))
    waits = [asyncio.ensure_future(w) for w in (life.until_stopped(), ended.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if ended.is_set():
        raise CaptureFailed(f"Debezium ended: {engine.failure or 'without a reason'}")
    waits[1].cancel()
    publisher.stop()
    await asyncio.wait_for(asyncio.to_thread(engine.close), _STOP_S)
    await asyncio.to_thread(thread.join, _STOP_S)


if __name__ == "__main__":
    try:
        load_mapping(settings())
    except InvalidFile as error:
        log.configure(SERVICE, settings().log_level)
        log.logger("streams.crm").error("the mapping is not valid", error=str(error))
        sys.exit(1)
    run(SERVICE, main)
