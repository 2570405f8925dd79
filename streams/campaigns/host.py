"""Folds the log and asks for calls. Its whole state is a fold of the log's topics, of which a
checkpoint saves the reading; requests are acknowledged before they count as made, so a crash at any
point repeats at most some, with the same ids."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

from aiokafka import TopicPartition

from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import TopicReader
from ringlog.kafka.same_log import Seen, is_same_log
from ringlog.lifecycle import Lifecycle
from ringlog.log import logger
from schemas.events import TaskRequested
from streams.campaigns.callbacks import Callbacks
from streams.campaigns.checkpoint import ListCheckpoint
from streams.campaigns.goals import Goals
from streams.campaigns.release import PRODUCER, ListRelease

SERVICE = PRODUCER
CAMPAIGNS = ("campaigns",)
LISTS = ("campaigns.contacts",)
REQUESTS = ("tasks.requested",)
TASKS = ("tasks.events",)
CALLS = ("calls.events", "dialogue.turns")

ORDER = (CAMPAIGNS, LISTS, REQUESTS, TASKS, CALLS)
"""What is folded before what: whose task it is can be told only of a known contact, and whether
a call back is asked for already only with all requests. Versions of campaigns are few, and read
from the beginning each time."""

AT_ONCE = 500
"""Requests that are written before the log is looked at again."""

LOOK_S = 1.0
"""How often it looks for something to ask for when no record comes."""

CHECKPOINT_S = 2.0
"""How often what changed is saved."""

_log = logger("ringlog.campaigns")


class CampaignHost:
    """Runs until it is told to stop."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._producer = EventProducer(life.settings, SERVICE)
        self._release = ListRelease()
        self._callbacks = Callbacks(self._release)
        self._goals = Goals(self._release)
        self._news = asyncio.Event()
        self._readers: list[TopicReader] = []
        self._checkpoint: ListCheckpoint | None = None
        self._saved: dict[TopicPartition, Seen] = {}
        self._saving = asyncio.Lock()

    async def run(self) -> None:
        """Ready once the log is folded."""
        async with contextlib.AsyncExitStack() as stack:
            await self._life.learn(self._producer.codec)
            self._life.health.set_waiting("kafka")
            await stack.enter_async_context(self._producer)
            await self._producer.announce()
            self._life.health.set_waiting("folding campaigns and tasks")
            began = time.monotonic()
            await self._restore()
            stack.push_async_callback(self._leave)
            self._life.spawn(self._save(), "checkpoint")
            for topics in ORDER:
                reader = TopicReader(
                    self._life.settings, self._producer, topics, wants=self._wants,
                    resume={tp: at for tp, (at, _) in self._saved.items()}, dead_letters=False,
                )  # fmt: skip
                await reader.start()
                stack.push_async_callback(reader.stop)
                self._readers.append(reader)
                self._life.spawn(self._follow(reader), topics[0])
                await self._until_folded(reader)
                if self._life.stopping.is_set():
                    return
            self._life.spawn(self._ask(), "ask")
            self._life.health.set_ready()
            _log.info(
                "folded", s=round(time.monotonic() - began, 1), contacts=self._release.contacts
            )
            await self._life.until_stopped()

    async def _restore(self) -> None:
        """Takes up the newest checkpoint, if it is one of this log."""
        path = self._life.settings.home / SERVICE / "checkpoint.db"
        self._checkpoint = await asyncio.to_thread(_opened, path)
        if self._checkpoint is None:
            return
        saved = self._checkpoint.places()
        if saved and not await is_same_log(self._life.settings, SERVICE, saved):
            _log.warning("the checkpoint is of another log: all is folded anew")
            self._checkpoint.clear()
            return
        self._saved = saved
        self._release.restore(self._checkpoint.contacts())
        self._callbacks.restore(self._checkpoint.notes())
        self._goals.restore(self._checkpoint.notes())

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
            task = (key or b"").decode("utf-8", "replace")
            return self._release.is_ours(task) or self._callbacks.is_ours(task)
        return topic != "calls.events" or kind in ("dialing", "ended")

    async def _follow(self, reader: TopicReader) -> None:
        calls = any(tp.topic == CALLS[0] for tp in reader.places)
        async for batch in reader.batches():
            folding = bool(reader.behind)
            for received in batch:
                self._release.evolve(received.event)
                at = received.timestamp_ms if folding else now_ms()
                self._callbacks.evolve(received.event, at)
                self._goals.evolve(received.event)
            if folding and calls and reader.behind <= reader.done.keys():
                # Of calls before this time nothing else comes: what is judged is not kept.
                self._callbacks.settle(min(reader.done[tp][1] for tp in reader.behind))
            self._news.set()

    async def _ask(self) -> None:
        while True:
            now = now_ms()
            if completed := self._goals.decide(now):
                await self._producer.send_all([("campaigns", version) for version in completed])
                for version in completed:
                    _log.info("campaign complete", campaign=version.campaign_id, why=version.reason)
            requests: list[TaskRequested] = self._release.decide(now, AT_ONCE)
            callbacks = self._callbacks.decide(now)
            if requests or callbacks:
                requests += callbacks
                await self._producer.send_all([("tasks.requested", r) for r in requests])
                for request in requests:
                    self._release.evolve(request)
                    self._callbacks.evolve(request, now)
                _log.info("asked for calls", tasks=len(requests))
                if withdrawn := sum(r.kind == "cancel" for r in callbacks):
                    _log.warning("callbacks of stopped campaigns are cancelled", tasks=withdrawn)
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            await self._save_once()

    async def _save_once(self) -> None:
        """Saves what changed with the places in the log that it comes from: both are taken between
        two batches. Where that fails, what the file has stays good for the next start, and calls
        are asked for all the same."""
        async with self._saving:
            changes = self._release.changes()
            changes.notes = self._callbacks.changes() | self._goals.changes()
            places = {
                tp: seen
                for reader in self._readers
                for tp, seen in reader.done.items()
                if tp.topic not in CAMPAIGNS and self._saved.get(tp) != seen
            }
            if self._checkpoint is None or not (places or changes):
                return
            try:
                await asyncio.to_thread(self._checkpoint.save, changes, places)
                self._saved |= places
            except sqlite3.Error as error:
                _log.warning(
                    "no more checkpoints: the next start reads from the last", error=str(error)
                )
                self._checkpoint.close()
                self._checkpoint = None

    async def _leave(self) -> None:
        if self._checkpoint is not None:
            await self._save_once()
        if self._checkpoint is not None:
            self._checkpoint.close()


def _opened(path: Path) -> ListCheckpoint | None:
    """The checkpoint; one that cannot be read is made anew; None: it cannot be had."""
    try:
        return ListCheckpoint(path)
    except sqlite3.OperationalError as error:
        _log.warning("no checkpoint: the log is folded", error=str(error))
        return None
    except sqlite3.DatabaseError as error:
        _log.warning("the checkpoint cannot be read: it is made anew", error=str(error))
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    try:
        return ListCheckpoint(path)
    except (OSError, sqlite3.Error):
        return None
