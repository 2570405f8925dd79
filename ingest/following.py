"""What the log tells an edge, from its process's start on: one fold, whoever serves.

The spare folds all the time, so that a takeover reads only what was written since its last look,
however long the log is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ingest.call.numbers import NumbersInCalls
from ingest.call.types import MAX_CALL_MS, Phase
from ingest.defaults import Defaults
from ingest.failover.running import RunningCalls, Survivor
from ingest.law import DialLaw
from ingest.ring_backs import RingBacks
from ingest.sound.prompt_lists import PromptLists
from ingest.trunks.plan import SitePlan
from ingest.trunks.published import PublishedPlan
from ingest.trunks.router import TrunkRouter
from ringlog import log
from ringlog.clock import now_ms
from ringlog.edges import SILENCE_MS, Fleet
from ringlog.kafka.ends import Ends
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, Received, TopicReader, Wants
from ringlog.law.site import NO_LAW, SiteLaw
from ringlog.lifecycle import Lifecycle
from schemas.acceptance import Acceptance
from schemas.catalogue import topic
from schemas.events import (
    CallEvent,
    Campaign,
    Directive,
    Lease,
    Playbook,
    PromptList,
    RobotStatus,
    TaskEvent,
    TrunkSetting,
)
from schemas.phone import Numbers

logger = log.logger("ringlog.ingest.following")

LONGEST_PERMIT_MS: Final = 600_000
"""How far back assignments are read at a start; none may be valid for longer."""

FORGET_EVERY_MS: Final = 1_000

_OF_ALL_CALLS: Final = frozenset(
    {
        "dialing", "tried", "refused", "ringing", "early_media", "answered", "withdrawn", "ended",
        "moved", "playout_ended", "transferred",
    }
)  # fmt: skip
"""Kinds that count whose call it may be: numbers in calls, what trunks carry, and what must be
known of a call to take it over."""


class Listener(Protocol):
    """The edge, once it serves."""

    def on_recorded(self, call_id: str, event: CallEvent, first: bool) -> None:
        """A record of one of our calls; `first` of its kind."""
        ...

    def on_directive(self, call_id: str, directive: Directive) -> bool:
        """A directive that counts. False when the call is not in our hands."""
        ...

    def on_assigned(self, task: TaskEvent) -> None:
        """A call that this edge has to make, and has not begun."""
        ...

    def on_plan(self) -> None:
        """The site's trunks have changed."""
        ...


class Following:
    """The fold of one edge."""

    def __init__(
        self, edge_id: str, numbers: Numbers, plan: SitePlan, asr_profile: str,
        law: SiteLaw = NO_LAW,
    ) -> None:  # fmt: skip
        """`plan` holds until one is published; `asr_profile` is for records that name none, `law`
        for calls of no campaign."""
        self.law = DialLaw(law, numbers)
        self.router = TrunkRouter(plan)
        self.published = PublishedPlan()
        self.fleet = Fleet()
        self.defaults = Defaults()
        self.prompts = PromptLists()
        self.numbers_in_calls = NumbersInCalls()
        self.running = RunningCalls(asr_profile)
        self.ring_backs = RingBacks()
        self._edge_id = edge_id
        self._numbers = numbers
        self._acceptance = Acceptance()
        self._listener: Listener | None = None
        self._seen: dict[str, set[str]] = {}  # our calls -> kinds recorded, to count each once
        self._ended: deque[tuple[int, str]] = deque()  # when calls ended, to forget them
        self._assigned: dict[str, TaskEvent] | None = {}  # not begun; None once they are taken
        self._forgot_ms = 0

    def wants(self, topic_name: str, key: bytes | None, kind: str) -> bool:
        """Whether a record is worth decoding. Of another edge's call only some are: nobody gets two
        calls at once, trunks have caps, and we may have to take the call over. Directives all are,
        since each may raise the epoch of its partition."""
        if topic_name == "tasks.events":
            return kind == "assigned"
        if topic_name != "calls.events" or kind in _OF_ALL_CALLS or key is None:
            return True
        edge_id = self.running.edge_of(key.decode("utf-8", "replace"))
        return edge_id is None or edge_id == self._edge_id

    def take(self, received: Received) -> None:
        """The next record of a topic."""
        match received.event:
            case CallEvent(call_id=str(call_id)) as event:
                self._on_call_event(call_id, event, received.timestamp_ms)
            case Directive() as directive:
                self._on_directive(received.partition, directive)
            case TaskEvent() as task:
                self._on_task(task)
            case PromptList() as event:
                self.prompts.evolve(event)
            case RobotStatus() | Playbook() as event:
                self.defaults.evolve(event)
            case Campaign() as event:
                self.law.take_campaign(event)
            case TrunkSetting() as setting:
                self.published.evolve(setting)
                if self._listener is not None:
                    self._listener.on_plan()
            case Lease() as lease:
                self.fleet.hear(lease, received.offset, received.timestamp_ms)
            case _:
                pass
        if received.timestamp_ms - self._forgot_ms > FORGET_EVERY_MS:
            self._forgot_ms = received.timestamp_ms
            self._forget(received.timestamp_ms)

    def take_past(self, received: Received) -> None:
        """A record of a call that began long before the process did."""
        if isinstance(received.event, CallEvent):
            self._note_ring_back(received.event)

    def _note_ring_back(self, event: CallEvent) -> None:
        hashed = self._numbers.hash(event.phone) if event.phone else None
        self.ring_backs.evolve(event, hashed)

    def serve(self, listener: Listener) -> list[Survivor]:
        """Gives our running calls, as one that takes them up finds them. From now on the listener
        is told of their records."""
        self._listener = listener
        return self.running.survivors(self._edge_id)

    def take_up(self, call_id: str) -> Survivor | None:
        """A call that has moved to us, as we find it; None when it is another's, or over. From now
        on the listener is told of its records."""
        found = self.running.take_up(call_id, self._edge_id)
        if found is not None:
            kinds = {"dialing"} | ({"answered"} if found.call.phase >= Phase.ANSWERED else set())
            self._seen.setdefault(call_id, kinds)
        return found

    def dial(self) -> None:
        """From now on the listener is given assignments; first those that wait."""
        waiting, self._assigned = self._assigned or {}, None
        for task in waiting.values():
            self._assign(task)

    def began(self, call_id: str) -> None:
        """A call of ours begins: it is never begun again."""
        self._seen.setdefault(call_id, set())

    def unknown(self, call_id: str) -> None:
        """The call did not begin after all."""
        self._seen.pop(call_id, None)

    def knows(self, call_id: str) -> bool:
        """Whether a call of ours with this id runs, or ended recently."""
        return call_id in self._seen

    def over(self, call_id: str) -> None:
        """A call of ours is over, whatever the log has of it so far."""
        self.numbers_in_calls.ended(call_id)
        self._acceptance.forget(call_id)

    def _on_call_event(self, call_id: str, event: CallEvent, at_ms: int) -> None:
        if event.kind == "ended":
            self.numbers_in_calls.ended(call_id)
        elif event.kind in ("dialing", "answered") and event.phone:
            hashed = self._numbers.hash(event.phone)
            self.numbers_in_calls.began(hashed, call_id, event.occurred_at)
        self.law.take_call(call_id, event, at_ms)
        if event.kind in ("dialing", "tried"):
            self._note_ring_back(event)
        self.running.take_event(call_id, event)
        self.router.evolve(event)
        if event.edge_id == self._edge_id or call_id in self._seen:
            kinds = self._seen.setdefault(call_id, set())
            first = event.kind not in kinds
            kinds.add(event.kind)
            if first and event.kind == "ended":
                self._ended.append((at_ms, call_id))
            if self._listener is not None:
                self._listener.on_recorded(call_id, event, first)
        if event.kind == "ended":
            self._acceptance.forget(call_id)

    def _on_directive(self, partition: int, directive: Directive) -> None:
        call_id = directive.call_id
        if self._acceptance.evolve(partition, directive) != "accepted" or call_id is None:
            return
        if self._listener is None or not self._listener.on_directive(call_id, directive):
            self.running.take_directive(call_id, directive)  # whoever takes the call up does it

    def _on_task(self, task: TaskEvent) -> None:
        if task.kind != "assigned" or task.edge_id != self._edge_id or task.call_id is None:
            return
        if self._assigned is None:
            self._assign(task)
        else:
            self._assigned.setdefault(task.call_id, task)

    def _assign(self, task: TaskEvent) -> None:
        # An attempt that began is never dialled again.
        if self._listener is not None and task.call_id is not None and not self.knows(task.call_id):
            self._listener.on_assigned(task)

    def _forget(self, at_ms: int) -> None:
        before = at_ms - 2 * LONGEST_PERMIT_MS
        while self._ended and self._ended[0][0] < before:
            self._seen.pop(self._ended.popleft()[1], None)
        for call_id, task in list((self._assigned or {}).items()):
            if call_id in self._seen or (task.permit_expires_at or 0) < before:
                assert self._assigned is not None
                del self._assigned[call_id]
        for call_id in self.running.forget(at_ms):
            self._acceptance.forget(call_id)
            self._seen.pop(call_id, None)


class Follower:
    """Reads the fold's topics in the background."""

    TOPICS: Final = (
        (("prompts", "playbooks", "robots.status", "trunks", "campaigns"), None),
        (("robots.leases",), SILENCE_MS),
        (("calls.events", "dialogue.directives"), MAX_CALL_MS),
        (("tasks.events",), LONGEST_PERMIT_MS),
    )
    """Topics that are read together, and how far back, ms; None: from the beginning."""

    def __init__(
        self,
        life: Lifecycle,
        producer: EventProducer,
        take: Callable[[Received], None],
        wants: Wants,
    ) -> None:
        self._life = life
        self._producer = producer
        self._take = take
        self._wants = wants
        self._readers: list[TopicReader] = []
        self._ends = Ends(life.settings, "edge-ends", _places(self.TOPICS))

    async def start(self, bury: bool) -> None:
        """Reads everything up to the present end, then goes on; `bury` as by the method. Raises
        KafkaError."""
        await self._ends.start()
        at_ms = now_ms()
        for topics, back_ms in self.TOPICS:
            since_ms = BEGINNING if back_ms is None else at_ms - back_ms
            reader = TopicReader(
                self._life.settings, self._producer, topics, since_ms=since_ms, dead_letters=bury,
                wants=self._wants,
            )  # fmt: skip
            await reader.start()
            self._readers.append(reader)
            task = self._life.spawn(self._follow(reader), "+".join(topics))
            await _first(task, reader.caught_up.wait())

    async def to_the_end(self) -> None:
        """Everything that the log holds now has been taken. Raises KafkaError."""
        ends = await self._ends.now()
        for reader in self._readers:
            await reader.reach({tp: ends[tp] for tp in reader.places})

    async def reaches_the_end(self, within_s: float) -> bool:
        """`to_the_end` in that time; False where the log cannot be read."""
        try:
            async with asyncio.timeout(within_s):
                await self.to_the_end()
        except (TimeoutError, KafkaError) as error:
            logger.error("the log is not readable", error=f"{type(error).__name__}: {error}")
            return False
        return True

    def bury(self) -> None:
        """From now on poison goes to `dead_letters`: the edge that serves buries it, not its
        spare."""
        for reader in self._readers:
            reader.dead_letters = True

    async def stop(self) -> None:
        """Disconnects."""
        await self._ends.stop()

    async def _follow(self, reader: TopicReader) -> None:
        try:
            async for batch in reader.batches():
                self._take_all(batch)
        finally:
            await reader.stop()

    def _take_all(self, batch: Iterable[Received]) -> None:
        for received in batch:
            self._take(received)


async def _first(work: "asyncio.Task[Any]", reached: Coroutine[Any, Any, Any]) -> None:
    """Waits for a point that `work` reaches; raises why `work` ended first."""
    point = asyncio.create_task(reached)
    await asyncio.wait((work, point), return_when=asyncio.FIRST_COMPLETED)
    point.cancel()
    if work.done():
        await work


def _places(groups: Iterable[tuple[tuple[str, ...], int | None]]) -> list[TopicPartition]:
    return [
        TopicPartition(name, partition)
        for names, _ in groups
        for name in names
        for partition in range(topic(name).partitions)
    ]
