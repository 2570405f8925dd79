"""Folds the log and asks for calls. Its whole state is a fold of the log's topics, read at start;
requests are acknowledged before they count as made, so a crash at any point repeats at most some,
with the same ids."""

import asyncio
import contextlib

from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, TopicReader
from ringlog.lifecycle import Lifecycle
from ringlog.log import logger
from schemas.events import TaskRequested
from streams.campaigns.callbacks import Callbacks
from streams.campaigns.release import PRODUCER, ListRelease

SERVICE = PRODUCER
LISTS = ("campaigns", "campaigns.contacts")
TASKS = ("tasks.requested", "tasks.events")
CALLS = ("calls.events", "dialogue.turns")

CALLS_BACK_MS = 24 * 3_600_000
"""How far back calls are read at start: no call that has not been judged began before."""

AT_ONCE = 500
"""Requests that are written before the log is looked at again."""

LOOK_S = 1.0
"""How often it looks for something to ask for when no record comes."""

_log = logger("ringlog.campaigns")


class CampaignHost:
    """Runs until it is told to stop."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._producer = EventProducer(life.settings, SERVICE)
        self._release = ListRelease()
        self._callbacks = Callbacks(self._release.campaigns)
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Ready once the log is folded."""
        async with contextlib.AsyncExitStack() as stack:
            await self._life.learn(self._producer.codec)
            self._life.health.set_waiting("kafka")
            await stack.enter_async_context(self._producer)
            await self._producer.announce()
            self._life.health.set_waiting("folding campaigns and tasks")
            # Contacts first: whose task it is can be told only of a known one.
            for topics in (LISTS, TASKS, CALLS):
                reader = TopicReader(
                    self._life.settings, self._producer, topics, since_ms=BEGINNING,
                    back_ms=CALLS_BACK_MS if topics is CALLS else None, wants=self._wants,
                    dead_letters=False,
                )  # fmt: skip
                await reader.start()
                stack.push_async_callback(reader.stop)
                self._life.spawn(self._follow(reader), topics[0])
                await self._until_folded(reader)
                if self._life.stopping.is_set():
                    return
            self._life.spawn(self._ask(), "ask")
            self._life.health.set_ready()
            await self._life.until_stopped()

    async def _until_folded(self, reader: TopicReader) -> None:
        """Returns, too, when the service is to stop, or reading has failed."""
        waits = [
            asyncio.create_task(reader.caught_up.wait()),
            asyncio.create_task(self._life.until_stopped()),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _wants(self, topic: str, key: bytes | None, kind: str) -> bool:
        """Events of others' tasks, whose key is the task's id, and most steps of a call are not
        decoded."""
        if topic == "tasks.events":
            return self._release.is_ours((key or b"").decode("utf-8", "replace"))
        return topic != "calls.events" or kind in ("dialing", "ended")

    async def _follow(self, reader: TopicReader) -> None:
        async for batch in reader.batches():
            for received in batch:
                self._release.evolve(received.event)
                self._callbacks.evolve(received.event, now_ms())
            self._news.set()

    async def _ask(self) -> None:
        while True:
            now = now_ms()
            requests: list[TaskRequested] = self._release.decide(now, AT_ONCE)
            requests += self._callbacks.decide(now)
            if requests:
                await self._producer.send_all([("tasks.requested", r) for r in requests])
                for request in requests:
                    self._release.evolve(request)
                _log.info("asked for calls", tasks=len(requests))
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
