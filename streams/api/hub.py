"""The API's view of the log: a board of current states, and waiting for its changes."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator

from ringlog.campaigns.aggregate import Campaigns
from ringlog.clock import now_ms
from ringlog.edges import Fleet
from ringlog.health import NotRebuilt
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, TopicReader
from ringlog.settings import Settings
from schemas.events import (
    CallEvent,
    Campaign,
    Lease,
    OptOut,
    Profile,
    RobotStatus,
    TaskEvent,
    TaskRequested,
)
from streams.api.standing import OptOuts
from streams.api.state import Board, TaskStatus

FOLD_MS = 24 * 3_600_000
"""How far back calls and tasks are folded at start; ClickHouse answers for older ones."""

STATUS_TOPICS = ("calls.events", "tasks.requested", "tasks.events")


MERGES = 16
"""Merges, one after another, by which a customer is looked for."""


class Hub:
    """Folds statuses, profiles, campaigns, robots and edges, and tells waiters about changes of a
    task, a call or a campaign."""

    def __init__(self, config: Settings, producer: EventProducer) -> None:
        self.board = Board()
        self.optouts = OptOuts()
        self.campaigns = Campaigns()
        self.robots: dict[str, RobotStatus] = {}
        self.fleet = Fleet()
        self._meanwhile: list[CallEvent | TaskRequested | TaskEvent] | None = None
        self.profiles: dict[str, Profile] = {}
        self.caught_up = asyncio.Event()
        self._config = config
        self._producer = producer
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._versions: dict[str, list[asyncio.Future[Campaign]]] = defaultdict(list)

    async def follow(self) -> None:
        """Reads for ever; run as a task."""
        async with contextlib.AsyncExitStack() as stack:
            readers = [
                TopicReader(self._config, self._producer, STATUS_TOPICS, back_ms=FOLD_MS),
                TopicReader(
                    self._config,
                    self._producer,
                    ("customers.profiles", "compliance.optouts", "campaigns", "robots.status"),
                    since_ms=BEGINNING,
                ),
                TopicReader(
                    self._config, self._producer, ("robots.leases",), since_ms=BEGINNING,
                    dead_letters=False,
                ),
            ]  # fmt: skip
            for reader in readers:
                await reader.start()
                stack.push_async_callback(reader.stop)
            work = [asyncio.create_task(self._drain(reader)) for reader in readers]
            try:
                await asyncio.gather(*(reader.caught_up.wait() for reader in readers))
                self.board.sort_calls()
                self.caught_up.set()
                await asyncio.gather(*work)
            finally:
                for task in work:
                    task.cancel()

    async def _drain(self, reader: TopicReader) -> None:
        async for batch in reader.batches():
            for received in batch:
                if isinstance(received.event, Lease):
                    # What was written before our start counts as heard when it was written.
                    at_ms = now_ms() if self.caught_up.is_set() else received.timestamp_ms
                    self.fleet.hear(received.event, received.offset, at_ms)
                else:
                    self._fold(received.event)

    def _fold(self, event: object) -> None:
        if isinstance(event, Profile):
            known = self.profiles.get(event.customer_id or "")
            if event.customer_id and (known is None or event.version >= known.version):
                self.profiles[event.customer_id] = event
        elif isinstance(event, OptOut):
            self._wake(self.optouts.evolve(event))
        elif isinstance(event, Campaign):
            self.campaigns.evolve(event)
            for waiter in self._versions.pop(event.event_id, ()):
                if not waiter.done():  # it may have given up just now
                    waiter.set_result(event)
        elif isinstance(event, RobotStatus):
            self.robots[event.robot_id or ""] = event
        elif isinstance(event, CallEvent | TaskRequested | TaskEvent):
            if self._meanwhile is not None:
                self._meanwhile.append(event)
            if self.board.apply(event):
                self._wake(event.call_id if isinstance(event, CallEvent) else event.task_id)

    def profile(self, customer_id: str) -> Profile | None:
        """The customer's newest profile; of one who was merged into another, that one's."""
        found = self.profiles.get(customer_id)
        for _ in range(MERGES):
            if found is None or found.merged_into is None:
                return found
            found = self.profiles.get(found.merged_into, found)
        return found

    def _wake(self, key: str | None) -> None:
        for waiter in self._waiting.get(key or "", ()):
            waiter.set()

    async def refold(self) -> dict[str, int]:
        """Folds the whole log into a new board and replaces the old one; returns its number of
        calls and tasks. Raises NotRebuilt while another rebuild is under way."""
        if self._meanwhile is not None:
            raise NotRebuilt("another rebuild of the status is under way")
        # What `follow` folds from here on may lie past the end that the reader below sees.
        self._meanwhile = []
        try:
            board = await self._folded_anew()
            for event in self._meanwhile:
                board.apply(event)
        finally:
            self._meanwhile = None
        board.keep(self.board)
        board.sort_calls()
        self.board = board
        return {"calls": len(board.calls), "tasks": len(board.tasks)}

    async def _folded_anew(self) -> Board:
        board = Board()
        reader = TopicReader(self._config, self._producer, STATUS_TOPICS, since_ms=BEGINNING)
        await reader.start()
        try:
            work = asyncio.create_task(_fill(reader, board))
            await asyncio.wait(
                {work, asyncio.create_task(reader.caught_up.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            await reader.stop()
        return board

    @contextlib.asynccontextmanager
    async def watching(self, key: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the task or call of that id changes."""
        changed = asyncio.Event()
        self._waiting[key].add(changed)
        try:
            yield changed
        finally:
            self._waiting[key].discard(changed)
            if not self._waiting[key]:
                del self._waiting[key]

    @contextlib.contextmanager
    def version_of(self, event_id: str) -> Iterator[asyncio.Future[Campaign]]:
        """The first record of a campaign's version, the one that counts, once it is folded; enter
        before that version is written."""
        found = asyncio.get_running_loop().create_future()
        self._versions[event_id].append(found)
        try:
            yield found
        finally:
            found.cancel()
            waiting = self._versions.get(event_id, [])
            if found in waiting:
                waiting.remove(found)
            if not waiting:
                self._versions.pop(event_id, None)

    def can_call(self, pool: str, playbook: str) -> bool:
        """Whether a robot of the pool, paused or not, has the playbook."""
        return any(
            robot.pool == pool and robot.state != "removed" and playbook in robot.playbooks
            for robot in self.robots.values()
        )

    async def wait_for_task(
        self, task_id: str, enough: Callable[[TaskStatus], bool], timeout_s: float
    ) -> TaskStatus | None:
        """The task's status once it suffices, or as it is on time-out."""
        async with self.watching(task_id) as changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while (s := self.board.tasks.get(task_id)) is None or not enough(s):
                        changed.clear()
                        await changed.wait()
        return self.board.tasks.get(task_id)


async def _fill(reader: TopicReader, board: Board) -> None:
    async for batch in reader.batches():
        for received in batch:
            if isinstance(received.event, CallEvent | TaskRequested | TaskEvent):
                board.apply(received.event)
