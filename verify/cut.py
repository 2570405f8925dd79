"""The cut: what is judged, and what may be used as evidence, while the system goes on.

The ends of all topics are taken twice. Records below the first ends are *judged*; records up to the
second ends are *evidence*. Topics feed each other in circles (calls, turns, directives, calls), so
no order of asking fits all of them, and none is needed:

- **No cause is missed.** A record is written after its cause was acknowledged. Whatever is judged
  was there when the first ends were complete; its cause was there before it; and the second ends
  were asked after that. So the cause of everything judged is among the evidence, and its cause too.
- **No effect is missed that had to be there.** Between the two, verify waits (`--settle`) until the
  consumer groups have committed what is judged. A processor commits only behind its acknowledged
  outputs, so what it made of judged records lies below the second ends. The stages follow the flow:
  what the routers wrote is waited for in the inboxes, at ends taken when the routers were done. A
  stage that is late is reported, and its missing output counts as open (with `--idle` as missing).
  Parts without a group (robot workers, edges) have a time of grace. The ASR worker commits only
  behind its oldest open turn, so it is waited for with `--idle` alone.

On an idle system both cuts are the same and everything is settled at once.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from confluent_kafka import Consumer

from asr_worker.host import GROUP as ASR
from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.kafka.sync import Place
from ringlog.settings import Settings
from schemas.catalogue import TOPICS, topic
from streams.analytics.records import SOURCE, TICKS
from streams.analytics.statements import GROUP as ANALYTICS
from streams.dispatch.host import APP_ID as DISPATCH
from streams.history.columns import TOPICS_KEPT
from streams.history.sink import GROUP as HISTORY
from streams.profiles.host import APP_ID as PROFILES
from streams.profiles.router import KINDS
from verify.check import Context, Stage

_ASK_EVERY_S: Final = 0.25

Ends = dict[Place, int]


@dataclass(frozen=True, slots=True)
class GroupTopics:
    """Topics that a consumer group must have processed."""

    group: str
    topics: tuple[str, ...]


Stages = tuple[tuple[Stage, tuple[GroupTopics, ...]], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages, each of which processes the output of the one before."""

    stages: Stages

    def until(self, wanted: frozenset[str]) -> Stages:
        """The stages up to the last one that is wanted."""
        last = max((n for n, (name, _) in enumerate(self.stages) if name in wanted), default=-1)
        return self.stages[: last + 1]


CHAINS: Final = (
    Chain(
        (
            (
                "routes",
                (GroupTopics(PROFILES, tuple(KINDS)), GroupTopics(DISPATCH, ("calls.events",))),
            ),
            ("profiles", (GroupTopics(PROFILES, ("profiles.inbox",)),)),
            ("dispatch", (GroupTopics(DISPATCH, ("dispatch.inbox",)),)),
        )
    ),
    Chain((("history", (GroupTopics(HISTORY, tuple(t.name for t in TOPICS_KEPT)),)),)),
    Chain((("asr", (GroupTopics(ASR, ("media.audio",)),)),)),
    Chain((("analytics", (GroupTopics(ANALYTICS, (SOURCE, TICKS)),)),)),
)


class Broker(Protocol):
    """What the cut needs to know from the broker."""

    def begins(self) -> Ends:
        """Offsets of the oldest records of all topics."""
        ...

    def ends(self) -> Ends:
        """Offsets behind the newest records of all topics."""
        ...

    def committed(self, group: str, topics: Iterable[str]) -> Ends:
        """A group's offsets; 0 where it has committed none."""
        ...

    def holds_records(self, place: Place, begin: int, end: int) -> bool:
        """Whether a stretch has a readable record; transaction markers do not count."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """Offsets by place, each the first that does not belong. `behind` counts, by late stage, the
    records that its groups still had to process."""

    begins: Mapping[Place, int]
    judged: Mapping[Place, int]
    ends: Mapping[Place, int]
    kept: Mapping[Place, int]
    judged_ms: int
    read_ms: int
    reached: frozenset[str]
    behind: Mapping[str, int] = field(default_factory=dict)

    def context(self, idle: bool) -> Context:
        """The checks' context, still without ClickHouse's answers."""
        return Context(
            judged_ms=self.judged_ms, read_ms=self.read_ms, idle=idle, reached=self.reached,
            begins=self.begins, judged=self.judged, kept=self.judged if idle else self.kept,
        )  # fmt: skip


def take_cut(
    broker: Broker,
    settle_s: float,
    wanted: Iterable[str] = ("routes", "profiles", "dispatch", "history", "analytics"),
    *,
    tell: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Cut:
    """Takes the first ends, waits for the stages that are `wanted`, takes the second ends.

    Raises KafkaException.
    """
    begins = broker.begins()
    judged, judged_ms = broker.ends(), now_ms()
    deadline = clock() + settle_s
    needed = frozenset(wanted)
    walks = [_Walk(stages, judged) for chain in CHAINS if (stages := chain.until(needed))]
    while True:
        waiting = [walk for walk in walks if not walk.step(broker)]
        if not waiting or clock() >= deadline:
            break
        tell(", ".join(f"{walk.stage}: {walk.behind} behind" for walk in waiting))
        sleep(_ASK_EVERY_S)
    reached = frozenset(name for walk in walks for name in walk.reached)
    behind = {walk.stage: walk.behind for walk in waiting}
    kept = judged
    if "history" in needed - reached:
        done = broker.committed(HISTORY, [t.name for t in TOPICS_KEPT])
        kept = {place: min(end, done.get(place, 0)) for place, end in judged.items()}
    # Only now, behind every committed offset that was read.
    return Cut(begins, judged, broker.ends(), kept, judged_ms, now_ms(), reached, behind)


class _Walk:
    """Progress through the stages: the awaited stage, and the ends that it must reach."""

    def __init__(self, stages: Stages, judged: Ends) -> None:
        self._stages = stages
        self._goal = judged
        self._stood: dict[tuple[str, Place], int] = {}
        self.reached: list[Stage] = []
        self.behind = 0

    @property
    def stage(self) -> str:
        """The awaited stage."""
        at = len(self.reached)
        return self._stages[at][0] if at < len(self._stages) else ""

    def step(self, broker: Broker) -> bool:
        """Advances as far as the groups have committed; True at the chain's end."""
        while len(self.reached) < len(self._stages):
            name, parts = self._stages[len(self.reached)]
            self.behind = sum(self._missing(broker, part) for part in parts)
            if self.behind:
                return False
            self.reached.append(name)
            # The next stage works what this one wrote, also since the first ends were taken.
            self._goal = broker.ends()
        return True

    def _missing(self, broker: Broker, part: GroupTopics) -> int:
        done = broker.committed(part.group, part.topics)
        missing = 0
        for place, end in self._goal.items():
            if place[0] not in part.topics:
                continue
            at = done.get(place, 0)
            # A group that stops before the end may have done everything.
            stands = self._stood.get((part.group, place)) == at
            self._stood[part.group, place] = at
            if at < end and not (stands and not broker.holds_records(place, at, end)):
                missing += end - at
        return missing


class KafkaBroker:
    """The broker of the settings. All methods raise KafkaException."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._places = [(t.name, n) for t in TOPICS.values() for n in range(t.partitions)]
        self._consumers: dict[str | None, Consumer] = {}

    def close(self) -> None:
        """Disconnects."""
        for consumer in self._consumers.values():
            consumer.close()

    def begins(self) -> Ends:
        """Offsets of the oldest records of all topics."""
        return sync.begins_of(self._consumer(None), self._places)

    def ends(self) -> Ends:
        """Offsets behind the newest records of all topics."""
        return sync.ends_of(self._consumer(None), self._places)

    def committed(self, group: str, topics: Iterable[str]) -> Ends:
        """A group's offsets; 0 where it has committed none. Asks without joining the group."""
        places = [(name, n) for name in topics for n in range(topic(name).partitions)]
        found = sync.committed(self._consumer(group), places)
        return {place: max(0, tp.offset) for place, tp in found.items()}

    def holds_records(self, place: Place, begin: int, end: int) -> bool:
        """Whether a stretch has a readable record."""
        return sync.first_between(self._consumer(None), place, begin, end) is not None

    def _consumer(self, group: str | None) -> Consumer:
        found = self._consumers.get(group)
        if found is None:
            found = self._consumers[group] = sync.consumer_of(
                self._config, "ringlog-verify", group, **sync.TO_THE_END
            )
        return found
